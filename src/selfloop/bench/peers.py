"""Who takes part: our layers and their peers, with the same weights and the same input.

A run is a call without arguments that answers by name: ``y``, and in training the gradients of ``x`` and the weights.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfloop.bench.cases import Case
from selfloop.cells import ZOO
from selfloop.layers import GRU, LSTM, RNN, Recurrent, Stepper
from selfloop.onnx_runtime import import_onnxruntime

Answers = Mapping[str, Any]
Run = Callable[[], Answers]
Array = np.ndarray[Any, np.dtype[np.float32]]


TOLERANCE, ROUNDED = 1e-3, 3e-2
"""For float32: most answers are within 1e-5, but over 96 steps a layer-norm LSTM makes 3e-4 of torch's own rounding.
For products of numbers that are rounded to bfloat16, which has 8 bits."""


@dataclass(frozen=True)
class Contest:
    """Two that are timed.

    Attributes:
        ours, peer: what is timed.
        backend: how ours runs, one of `dispatch.BACKENDS`.
        checks: pairs that must give the same answers first.
        tolerance: how far these may be apart: the norm of the difference, relative to the norm.
    """

    ours: Run
    peer: Run
    backend: str
    checks: tuple[tuple[Run, Run], ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Peer:
    """Someone to be compared with.

    Attributes:
        enter: makes the contest of a case.
        modules: what must be installed.
    """

    enter: Callable[[Case], Contest]
    modules: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.modules if find_spec(module) is None]


def same(ours: Run, peer: Run, backend: str) -> Contest:
    """A contest of two that must agree."""
    return Contest(ours, peer, backend, ((ours, peer),))


# torch


DROP_INS: Mapping[str, tuple[Callable[..., Recurrent], Callable[..., nn.RNNBase]]] = {
    "lstm": (LSTM, nn.LSTM),
    "projected_lstm": (LSTM, nn.LSTM),
    "gru": (GRU, nn.GRU),
    "vanilla": (RNN, nn.RNN),
}


def _pair(case: Case) -> tuple[Recurrent, nn.RNNBase]:
    """Our layer and torch's."""
    torch.manual_seed(0)
    own, theirs = DROP_INS[case.cell]
    options = {"proj_size": case.sizes["p"]} if "p" in case.sizes else {}
    peer = theirs(case.I, case.H, **options)
    layer = own(case.I, case.H, **options)
    layer.load_state_dict(peer.state_dict())
    return layer, peer


def _against_torch(case: Case) -> Contest:
    layer, peer = _pair(case)
    return same(_torch_run(case, layer), _torch_run(case, peer), layer.runs_as)


def _against_packed(case: Case) -> Contest:
    """A padded batch in and out on both sides; what torch packs for, it packs within its time."""
    layer, peer = _pair(case)
    lengths = torch.tensor(case.lengths)

    def packed(x: Tensor) -> tuple[Tensor]:
        y, _ = peer(nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
        return (nn.utils.rnn.pad_packed_sequence(y, total_length=case.T)[0],)

    ours = _torch_run(case, layer, lambda x: layer(x, lengths=lengths))
    return same(ours, _torch_run(case, peer, packed), layer.runs_as)


def _against_loop(case: Case) -> Contest:
    layer, loop = _recurrent(case), _recurrent(case, backend="interpret")
    sizes = {"": 1, "x": case.I, **case.sizes}
    generator = torch.Generator().manual_seed(2)
    further = {
        name: torch.rand(case.T, case.B, size.value(sizes), generator=generator)
        for name, size in [*ZOO[case.cell].inputs.items()][1:]
    }
    ours, peer = (_torch_run(case, own, partial(own, **further)) for own in (layer, loop))
    return same(ours, peer, layer.runs_as)


def _against_plain(case: Case) -> Contest:
    layer, loop = _recurrent(case), _recurrent(case, backend="interpret")
    plain, theirs = _pair(Case(case.group, "lstm", "torch.nn", case.T, case.B, case.I, case.H, case.mode))
    ours, peer = _torch_run(case, layer), _torch_run(case, plain)
    return Contest(ours, peer, layer.runs_as, ((ours, _torch_run(case, loop)), (peer, _torch_run(case, theirs))))


def _against_float32(case: Case) -> Contest:
    layer, _ = _pair(case)

    def rounded(x: Tensor) -> tuple[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return (layer(x)[0].float(),)

    with torch.autocast("cpu", torch.bfloat16):
        backend = layer.runs_as
    ours, peer = _torch_run(case, layer, rounded), _torch_run(case, layer)
    return Contest(ours, peer, backend, ((ours, peer),), ROUNDED)


def _recurrent(case: Case, backend: str = "auto") -> Recurrent:
    """A cell of the zoo; what starts at 0 or 1 is moved a little, where an error might hide."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = case.sizes
    layer = Recurrent(ZOO[case.cell], case.I, case.H, backend=backend, **sizes)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.01)
    return layer


def _data(case: Case, width: int) -> tuple[Tensor, Tensor]:
    """The input, and the gradient of a loss with respect to an output of this width."""
    generator = torch.Generator().manual_seed(1)
    x, gradient = (torch.randn(case.T, case.B, size, generator=generator) for size in (case.I, width))
    return x, gradient


def _width(case: Case) -> int:
    graph = ZOO[case.cell].graph
    return graph.shape(graph.states[0])[0].value({"x": case.I, "h": case.H, **case.sizes})


def _torch_run(case: Case, module: nn.Module, call: Callable[[Tensor], Any] | None = None) -> Run:
    """The module, called as said or on x alone."""
    call = call or module
    x, gradient = _data(case, _width(case))
    names, inputs = ("x", *dict(module.named_parameters())), (x, *module.parameters())

    def train() -> Answers:
        y = call(x)[0]
        gradients = torch.autograd.grad(y, inputs, gradient)
        return {"y": y.detach(), **dict(zip(names, gradients, strict=True))}

    @torch.inference_mode()
    def infer() -> Answers:
        return {"y": call(x)[0]}

    if case.mode == "train":
        x.requires_grad_()
        return train
    module.eval()
    return infer


# ONNX Runtime


def _against_ort(case: Case) -> Contest:
    layer, peer = _pair(case)
    threads = 1 if case.peer.endswith("on 1 thread") else torch.get_num_threads()
    session = _session(case, peer, threads)
    x = _data(case, case.H)[0].numpy()
    if case.mode == "step":
        return same(_stepper_run(layer, x[0, 0]), _ort_step(session, x, case.H), layer.runs_as)
    return same(_torch_run(case, layer), lambda: {"y": session.run(["y"], {"x": x})[0].squeeze(1)}, layer.runs_as)


def _stepper_run(layer: Recurrent, x: Array) -> Run:
    stepper = Stepper(layer)
    return lambda: {"y": stepper(x)}


def _ort_step(session: Any, x: Array, size: int) -> Run:
    feed = {"x": x, "h": np.zeros((1, 1, size), np.float32), "c": np.zeros((1, 1, size), np.float32)}

    def step() -> Answers:
        feed["h"], feed["c"] = session.run(["new_h", "new_c"], feed)
        return {"y": feed["h"].reshape(-1)}

    return step


def _session(case: Case, module: nn.RNNBase, threads: int) -> Any:
    """ONNX Runtime's own LSTM; its gates stand in the order i, o, f, c. A single step takes and gives the state."""
    onnx, runtime = import_module("onnx"), import_onnxruntime()
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    order = np.concatenate([np.arange(case.H) + gate * case.H for gate in (0, 3, 1, 2)])
    given = {name: weight.detach().numpy()[order] for name, weight in module.named_parameters()}
    weights = {
        "W": given["weight_ih_l0"][None],
        "R": given["weight_hh_l0"][None],
        "b": np.concatenate([given["bias_ih_l0"], given["bias_hh_l0"]])[None],
    }
    states = ["h", "c"] if case.mode == "step" else []
    outputs = ["y", *(f"new_{name}" for name in states)]
    node = helper.make_node("LSTM", ["x", *weights, *([""] if states else []), *states], outputs, hidden_size=case.H)
    values = [("x", [case.T, case.B, case.I]), *((name, [1, case.B, case.H]) for name in states)]
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in values],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


# JAX


def _against_jax(case: Case) -> Contest:
    layer, peer = _pair(case)
    return same(_torch_run(case, layer), _jax_run(case, peer), layer.runs_as)


def _jax_run(case: Case, module: nn.RNNBase) -> Run:
    """``jax.lax.scan`` over the steps of an LSTM, whose input is multiplied for all steps before."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("PJRT_NPROC", str(torch.get_num_threads()))
    jax = import_module("jax")
    jnp = jax.numpy
    x, gradient = (jnp.asarray(tensor.numpy()) for tensor in _data(case, case.H))
    weights = {name: jnp.asarray(weight.detach().numpy()) for name, weight in module.named_parameters()}
    zeros = jnp.zeros((case.B, case.H), jnp.float32)

    def forward(w: dict[str, Any], x: Any) -> Any:
        def step(state: Any, given: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(given + h @ w["weight_hh_l0"].T, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(step, (zeros, zeros), x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + w["bias_hh_l0"])[1]

    def train(w: dict[str, Any], x: Any) -> Any:
        y, back = jax.vjp(forward, w, x)
        of_weights, of_x = back(gradient)
        return {"y": y, "x": of_x, **of_weights}

    answer = jax.jit(train if case.mode == "train" else lambda w, x: {"y": forward(w, x)})
    return lambda: jax.block_until_ready(answer(weights, x))


PEERS: Mapping[str, Peer] = {
    "torch.nn": Peer(_against_torch),
    "torch.nn, packed": Peer(_against_packed),
    "our plain LSTM": Peer(_against_plain),
    "our float32": Peer(_against_float32),
    "a Python loop": Peer(_against_loop),
    "ONNX Runtime": Peer(_against_ort, ("onnx", "onnxruntime")),
    "ONNX Runtime on 1 thread": Peer(_against_ort, ("onnx", "onnxruntime")),
    "JAX": Peer(_against_jax, ("jax",)),
}
"""Every peer by its name."""
