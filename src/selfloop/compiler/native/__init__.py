"""Code that runs without Python: a model's Program as C99 and as object files, by one Writer."""

from selfloop.compiler.lower.step import Submatrix
from selfloop.compiler.native.c99 import C99
from selfloop.compiler.native.model import HEAD, MAGIC, SUM, Layer, Linear, Model, Pass, form, structs
from selfloop.compiler.native.objects import data_object, loaded, native_object, object_stack
from selfloop.compiler.native.saved import checksum
from selfloop.compiler.native.spelling import MOST_BUCKETS, Spelling
from selfloop.compiler.native.targets import (
    OBJECT_TARGETS,
    host_object_target,
    is_of_host,
    object_target,
    target_table,
)
from selfloop.compiler.native.wasm import PAGE, WASM_TARGETS, linked, wasm_module, wasm_target
from selfloop.compiler.native.weights import Vector, WeightLayout
from selfloop.compiler.native.write_model import ModelWriter
from selfloop.compiler.native.writer import FORMS, Panel

__all__ = [
    "C99",
    "FORMS",
    "HEAD",
    "MAGIC",
    "MOST_BUCKETS",
    "OBJECT_TARGETS",
    "PAGE",
    "SUM",
    "WASM_TARGETS",
    "Layer",
    "Linear",
    "Model",
    "ModelWriter",
    "Panel",
    "Pass",
    "Spelling",
    "Submatrix",
    "Vector",
    "WeightLayout",
    "checksum",
    "data_object",
    "form",
    "host_object_target",
    "is_of_host",
    "linked",
    "loaded",
    "native_object",
    "object_stack",
    "object_target",
    "structs",
    "target_table",
    "wasm_module",
    "wasm_target",
]
