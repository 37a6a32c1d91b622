"""A trained network as functions from named tensors to named tensors: what becomes an ONNX file each.

A part asks the network itself, so the same part gives a file's graph and, of a network in float64, the truth that the
file is compared with.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfloop.data.text.vocabulary import LONGEST
from selfloop.exporting.validation_data import Array
from selfloop.layers import Recurrent, State
from selfloop.layers.attention import Memory
from selfloop.layers.frozen import evaluated
from selfloop.layers.recurrent import stacked
from selfloop.models import NumberEncoder
from selfloop.models.decoder import Decoder, DecoderState
from selfloop.tasks.caption.captioner import Captioner
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label.labeller import Labeller
from selfloop.tasks.lm.text_model import TextModel
from selfloop.tasks.predictor import Predictor, TrainedModel
from selfloop.tasks.translate.translator import Translator

Opened = Predictor[Any, Any, Any, Any]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Port:
    """An input of a part.

    Attributes:
        shape: its axes; those with a name may have any size, and those of one name have one size.
        draw: random numbers of a shape that the network could be given.
    """

    shape: tuple[str | int, ...]
    draw: "Draw"

    def random(self, generator: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Numbers for axes of these sizes."""
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.shape)
        return self.draw(generator, shape, sizes["time"])


Draw = Callable[[np.random.Generator, tuple[int, ...], int], Array]
"""Random numbers of a shape, for sequences of so many steps."""


class Part(nn.Module, ABC):
    """A function of the network.

    Attributes:
        file: the name of its ONNX file.
        inputs: what it takes, by name, in the order of the graph.
        outputs: the names of what it gives.
    """

    file = "model.onnx"
    inputs: dict[str, Port]
    outputs: Sequence[str]

    @abstractmethod
    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """What the network says of these inputs, in the order of `outputs`."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The same, by position."""
        found = self.compute(dict(zip(self.inputs, tensors, strict=True)))
        return tuple(found[name] for name in self.outputs)


class Text(Part):
    """A language model over whole texts, from a state to a state."""

    def __init__(self, opened: TextModel) -> None:
        super().__init__()
        self.model = opened.model
        states = _state_ports(self.model.rnn)
        self.inputs = {"tokens": _tokens(("time", "batch"), self.model.vocab_size), "lengths": _LENGTHS, **states}
        self.outputs = ["logits", *_renewed(states)]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The logits of the token after each step."""
        logits, state = self.model(given["tokens"], _joined(self.model.rnn, given), given["lengths"])
        return {"logits": logits, **_split(self.model.rnn, state, "new_state")}


class TextStep(Part):
    """One token of a language model."""

    file = "step.onnx"

    def __init__(self, opened: TextModel) -> None:
        super().__init__()
        self.model = opened.model
        states = _state_ports(self.model.rnn)
        self.inputs = {"tokens": _tokens(("batch",), self.model.vocab_size), **states}
        self.outputs = ["logits", *_renewed(states)]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The logits of the next token."""
        logits, state = self.model.step(given["tokens"], _joined(self.model.rnn, given))
        return {"logits": logits, **_split(self.model.rnn, state, "new_state")}


class Examples(Part):
    """A classifier or a labeller over whole sequences."""

    def __init__(self, opened: Classifier | Labeller) -> None:
        super().__init__()
        self.model = opened.model
        self.inputs = {"inputs": _port_of(opened.inputs, self.model.encoder, ("time", "batch")), "lengths": _LENGTHS}
        self.outputs = ["logits"]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The logits of each sequence, or of each of its steps."""
        found = self.model(given["inputs"], lengths=given["lengths"])
        return {"logits": found if isinstance(found, Tensor) else found[0]}


class ExamplesStep(Part):
    """One step of a labeller that reads in one direction."""

    file = "step.onnx"

    def __init__(self, opened: Labeller) -> None:
        super().__init__()
        self.model = opened.model
        states = _state_ports(self.model.rnn)
        self.inputs = {"inputs": _port_of(opened.inputs, self.model.encoder, ("batch",)), **states}
        self.outputs = ["logits", *_renewed(states)]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The logits of a step."""
        logits, state = self.model.step(given["inputs"], _joined(self.model.rnn, given))
        return {"logits": logits, **_split(self.model.rnn, state, "new_state")}


class Encoder(Part):
    """What reads a source or sees an image: from there to what the decoder starts from.

    Args:
        decoder: that starts.
        ends: whether what is read may end before its batch does.
    """

    file = "encoder.onnx"

    def __init__(self, decoder: Decoder, ends: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.outputs = [*_state_ports(decoder.rnn), *_memory_ports(decoder, ends)]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The decoder's first state, and what it attends to."""
        state = self.encode(given)
        found = _split(self.decoder.rnn, state.recurrent)
        if state.memory is not None:
            found |= {"memory.values": state.memory.values, "memory.keys": state.memory.keys}
            if state.memory.valid is not None:
                found["memory.valid"] = state.memory.valid
        return {name: found[name] for name in self.outputs}

    @abstractmethod
    def encode(self, given: Tensors) -> DecoderState:
        """What the decoder starts from."""


class Reader(Encoder):
    """What reads a source text."""

    def __init__(self, opened: Translator) -> None:
        super().__init__(opened.model.decoder, ends=True)
        self.model = opened.model
        self.inputs = {"source": _tokens(("time", "batch"), opened.inputs.source.vocab_size), "lengths": _LENGTHS}

    def encode(self, given: Tensors) -> DecoderState:
        """What was read."""
        return self.model.encode(given["source"], given["lengths"])


class Viewer(Encoder):
    """What sees an image, of bytes."""

    def __init__(self, opened: Captioner) -> None:
        super().__init__(opened.model.decoder, ends=False)
        self.model, self._vision = opened.model, opened.vision
        self.network = opened.vision.network  # also a frozen one, which is no part of the model
        self.inputs = {"images": Port(("batch", *opened.vision.size, 3), _bytes)}

    def encode(self, given: Tensors) -> DecoderState:
        """What was seen."""
        images = given["images"]
        return self.model.encode(self._vision.grid(images) if self._vision.frozen else images)


class DecoderStep(Part):
    """One token of a decoder.

    Args:
        decoder: that writes.
        ends: whether what it attends to may end before its batch does.
    """

    file = "decoder_step.onnx"

    def __init__(self, decoder: Decoder, ends: bool) -> None:
        super().__init__()
        self.decoder = decoder
        states = _state_ports(decoder.rnn)
        fed = {"attentional": Port(("batch", decoder.attentional_size), _numbers)} if decoder.input_feeding else {}
        self.inputs = {
            "tokens": _tokens(("batch",), decoder.vocab_size),
            **states,
            **fed,
            **_memory_ports(decoder, ends),
        }
        self.outputs = ["logits", *_renewed({**states, **fed})]

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """The logits of the next token."""
        values, memory = given.get("memory.values"), None
        if values is not None:
            memory = Memory(values, given.get("memory.keys", values), given.get("memory.valid"))
        state = DecoderState(_joined(self.decoder.rnn, given), memory, given.get("attentional"))
        logits, after = self.decoder.step(given["tokens"], state)
        found = {"logits": logits, **_split(self.decoder.rnn, after.recurrent, "new_state")}
        return found if after.attentional is None else {**found, "new_attentional": after.attentional}


def parts_of(opened: TrainedModel) -> list[Part]:
    """The files that a model of any task is exported as."""
    found: list[Part] = next(parts(opened) for kind, parts in PARTS.items() if isinstance(opened, kind))
    return found


def copied(opened: Opened, dtype: torch.dtype, backend: str) -> Opened:
    """A copy of a model with numbers of this dtype, whose recurrent stacks this backend runs, on the CPU."""
    model, inputs = evaluated(opened.model).cpu().to(dtype), opened.inputs
    for module in model.modules():
        if isinstance(module, Recurrent):
            module.backend = backend
    if isinstance(opened, Captioner):
        inputs = replace(inputs, vision=model._vision)
        inputs.vision.network.cpu().to(dtype)  # of a frozen one the model has no parameters
    return type(opened)(model, inputs, opened.config)


PARTS: dict[type[TrainedModel], Callable[[Any], list[Part]]] = {
    TextModel: lambda opened: [Text(opened), TextStep(opened)],
    Classifier: lambda opened: [Examples(opened)],
    Labeller: lambda opened: [Examples(opened), *([] if opened.model.rnn.bidirectional else [ExamplesStep(opened)])],
    Translator: lambda opened: [Reader(opened), DecoderStep(opened.model.decoder, ends=True)],
    Captioner: lambda opened: [Viewer(opened), DecoderStep(opened.model.decoder, ends=False)],
}


def _state_ports(rnn: Recurrent) -> dict[str, Port]:
    """The states of a stack in one direction, one for each layer: ``state.h.0``."""
    return {name: Port(("batch", *zero.shape[1:]), _states) for name, zero in _split(rnn, rnn.zero_state(1)).items()}


def _split(rnn: Recurrent, state: State, begin: str = "state") -> dict[str, Tensor]:
    """The state of each layer by its name, (B, ·)."""
    tensors = [*state.tensors.values()]
    return {
        f"{begin}.{name}.{layer}": tensors[k][row]
        for layer, (one,) in enumerate(rnn._passes)
        for name, (k, row) in zip(rnn.cell.graph.states, one.rows, strict=True)
    }


def _joined(rnn: Recurrent, given: Tensors) -> State:
    """The State of these."""
    rows: list[list[Tensor]] = [[] for _ in rnn._state_names]
    for layer, (one,) in enumerate(rnn._passes):
        for name, (k, _) in zip(rnn.cell.graph.states, one.rows, strict=True):
            rows[k].append(given[f"state.{name}.{layer}"])
    return State(**{name: stacked(own) for name, own in zip(rnn._state_names, rows, strict=True)})


def _renewed(states: Mapping[str, Port]) -> list[str]:
    return [f"new_{name}" for name in states]


def _memory_ports(decoder: Decoder, ends: bool) -> dict[str, Port]:
    """What a decoder attends to; keys are given where they are others than the values."""
    if decoder.attention is None:
        return {}
    attention = decoder.attention
    keys = {"dot": None, "general": attention.query_size, "additive": attention.query_size}[attention.kind]
    ports = {"memory.values": Port(("time", "batch", attention.memory_size), _numbers)}
    if keys is not None:
        ports["memory.keys"] = Port(("time", "batch", keys), _numbers)
    if ends:
        ports["memory.valid"] = Port(("batch", "time"), _valid)
    return ports


def _port_of(inputs: Inputs, encoder: nn.Module, axes: tuple[str, ...]) -> Port:
    """What an encoder of examples takes at each step."""
    if isinstance(encoder, NumberEncoder):
        mean, deviation = encoder.mean.float().cpu().numpy(), encoder.deviation.float().cpu().numpy()
        return Port((*axes, *inputs.shape), lambda *drawn: mean + deviation * _numbers(*drawn))
    if inputs.kind == "frames":
        return Port((*axes, *inputs.shape), _bytes)
    if inputs.vocabulary is not None:
        return Port((*axes, 1 + 2 * LONGEST), _words(len(inputs.vocabulary.words)))
    assert inputs.tokenizer is not None
    return _tokens(axes, inputs.tokenizer.vocab_size)


def _tokens(axes: tuple[str, ...], vocab_size: int) -> Port:
    return Port(axes, lambda draw, shape, _: draw.integers(0, vocab_size, shape))


def _words(count: int) -> Draw:
    """Rows as `Vocabulary.encode` writes them, of words of random characters."""

    def draw_words(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
        *axes, _ = shape
        number = draw.integers(0, count, (*axes, 1))
        spelt = draw.integers(32, 0x250, (*axes, 2, LONGEST))
        spelt[np.arange(LONGEST) >= draw.integers(0, LONGEST + 1, (*axes, 1, 1)).repeat(2, -2)] = 0
        return np.concatenate([number, spelt.reshape(*axes, 2 * LONGEST)], axis=-1)

    return draw_words


def _numbers(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
    return draw.standard_normal(shape, np.float32)


def _states(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
    """Numbers that any cell may have in its states, of which some must not be negative."""
    return draw.random(shape, np.float32)


def _bytes(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
    return draw.integers(0, 256, shape, np.uint8)


def _valid(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
    """Which steps of a memory there are."""
    return np.arange(steps) < draw.integers(1, steps + 1, (shape[0], 1))


def _lengths(draw: np.random.Generator, shape: tuple[int, ...], steps: int) -> Array:
    lengths = draw.integers(1, steps + 1, shape)
    lengths[0] = steps
    return lengths


_LENGTHS = Port(("batch",), _lengths)
