"""From modules of torch to what native code is written of: a `Model`, and its weights by name."""

from dataclasses import dataclass, replace
from typing import TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from selfloop.compiler.native import MOST_BUCKETS, Layer, Linear, Model, Pass, Spelling
from selfloop.data.text.vocabulary import LONGEST
from selfloop.errors import ArgumentError
from selfloop.exporting.exported import check_forward
from selfloop.kernels.interpret import made_once
from selfloop.layers import Recurrent
from selfloop.models import LanguageModel, ManyToMany, ManyToOne, NumberEncoder, WordEncoder

Trained: TypeAlias = Recurrent | LanguageModel | ManyToOne | ManyToMany
"""What there is native code for."""


@dataclass(frozen=True, eq=False)
class Described:
    """A model, and its weights; those that the module holds as they are share its memory."""

    model: Model
    weights: dict[str, Tensor]


def stack_of(module: Trained) -> Recurrent:
    """The recurrent stack of a model."""
    return module if isinstance(module, Recurrent) else module.rnn


def checked(module: object) -> Trained:
    """The module, if there is native code for its kind; else ArgumentError."""
    if not isinstance(module, get_args(Trained)):
        raise ArgumentError(
            f"There is no native code for {type(module).__name__}; there is for a Recurrent, LSTM, GRU or RNN, and for "
            "models of lm, classify and label."
        )
    check_forward(module)
    return cast(Trained, module)


@torch.no_grad()
def described(module: Trained, name: str, form: str) -> Described:
    """What to write of a model.

    Args:
        module: the model.
        name: what all names begin with.
        form: of the weights.

    Raises:
        ArgumentError: there is no native code for a part of it.
    """
    stack = _stack(stack_of(module), name, form)
    if isinstance(module, Recurrent):
        return stack
    model, weights = stack.model, dict(stack.weights)
    encoder = module.embedding if isinstance(module, LanguageModel) else module.encoder
    tables = [part for part in encoder.modules() if isinstance(part, nn.Embedding)]
    buckets = encoder.grams.num_embeddings - 1 if isinstance(encoder, WordEncoder) else 0
    if isinstance(encoder, NumberEncoder):
        model = replace(model, is_standardised=True)
        weights |= {"front.mean": encoder.mean, "front.rate": 1 / encoder.deviation}
    elif isinstance(encoder, WordEncoder) and buckets <= MOST_BUCKETS:
        spelling = Spelling(encoder.embedding.num_embeddings, buckets, LONGEST, encoder.LONGEST, encoder.BASE)
        model = replace(model, spelling=spelling)
        weights |= {"front.words": encoder.embedding.weight.detach(), "front.grams": encoder.grams.weight.detach()}
    elif len(tables) == 1 and not isinstance(encoder, WordEncoder):
        model = replace(model, vocabulary=tables[0].num_embeddings)
        weights["front.table"] = tables[0].weight.detach()
    else:
        raise ArgumentError(f"There is no native code for a {type(encoder).__name__}.")
    readouts = []
    for title in ("projection", "readout"):
        linear = module._modules.get(title)
        if isinstance(linear, nn.Linear):
            readouts.append(Linear(title, linear.in_features, linear.out_features))
            weights |= _of_linear(title, linear)
    if isinstance(module, ManyToOne):
        model = replace(model, pooling=module.pooling.kind)
        if module.pooling.kind == "attention":
            first, _, last = cast(tuple[nn.Linear, nn.Tanh, nn.Linear], tuple(module.pooling.score))
            weights |= {**_of_linear("score", first), "attention": last.weight.detach()[0]}
    return Described(replace(model, readouts=tuple(readouts), samples=isinstance(module, LanguageModel)), weights)


def _of_linear(title: str, linear: nn.Linear) -> dict[str, Tensor]:
    bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
    return {f"{title}.weight": linear.weight.detach(), f"{title}.bias": bias}


def _stack(rnn: Recurrent, name: str, form: str) -> Described:
    graph = rnn.cell.graph.expected
    multiply = {node.args[0] for node in rnn.cell.graph.nodes if node.op == "matmul"}
    if form != "f32" and multiply & {*rnn.cell.graph.matrices.values()}:
        raise ArgumentError(
            f"'{rnn.cell.name}' makes a matrix of its parameters before the first step, and such weights are exported "
            f"as f32 alone. Got weights='{form}' instead."
        )
    layers: list[Layer] = []
    weights: dict[str, Tensor] = {}
    for number, passes in enumerate(rnn._passes):
        own = []
        for one in passes:
            title = one.suffix.removeprefix("_")
            own.append(Pass(title, graph, dict(one.sizes)))
            made = made_once(rnn.cell.graph, rnn._cell_weights(one.suffix), rnn.sizes)
            weights |= {f"{title}.{n}": w.detach() for n, w in made.items()}
            if rnn.learn_state:
                weights |= {f"start.{title}.{s}": rnn._tensor(s + one.suffix).detach() for s in graph.states}
        norm = None
        if rnn.layer_norm and number < rnn.num_layers - 1:
            own_norm = cast(nn.LayerNorm, rnn.get_submodule(f"norm_l{number}"))
            norm = own_norm.eps
            weights |= {f"norm_l{number}.{n}": w.detach() for n, w in own_norm.named_parameters()}
        layers.append(Layer(tuple(own), adds_input=rnn.residual and number > 0, norm=norm))
    model = Model(
        name=name,
        layers=tuple(layers),
        input_size=rnn.input_size,
        further=rnn._joint_size - rnn.input_size,
        starts_learnt=rnn.learn_state,
        form=form,
    )
    return Described(model, weights)
