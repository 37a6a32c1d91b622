"""The graph of a part, by torch.onnx with our translations."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from selfloop.exporting.onnx import onnx_translations
from selfloop.exporting.onnx.tasks.calls import RANDOM
from selfloop.exporting.onnx.tasks.parts import Part


def program(part: Part) -> Any:
    """A part as an `onnx_ir.Model`, whose named axes are free."""
    draw = np.random.default_rng(0)
    tensors = tuple(torch.from_numpy(port.random(draw, RANDOM[0])) for port in part.inputs.values())
    axes: dict[str, Any] = {}
    shapes = tuple(
        {k: axes.setdefault(axis, torch.export.Dim(axis)) for k, axis in enumerate(port.shape) if isinstance(axis, str)}
        for port in part.inputs.values()
    )
    with _quiet(), torch.no_grad():
        traced = torch.export.export(part.eval(), tensors, dynamic_shapes=(shapes,), strict=False)
        made: Any = torch.onnx.export(
            traced,
            dynamo=True,
            dynamic_shapes=(shapes,),
            verbose=False,
            input_names=[*part.inputs],
            output_names=[*part.outputs],
            custom_translation_table=onnx_translations(),
        )
    return _plain(made.model)


def _plain(model: Any) -> Any:
    """The model without where in torch each node is from, which takes more room than small weights do."""
    for node in model.graph.all_nodes():
        for one in (node, *node.outputs):
            one.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.initializers.values(), *model.graph.inputs):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and onnxscript say to those who work on them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
