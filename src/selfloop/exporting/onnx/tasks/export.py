"""A run as a folder of ONNX files: written, tried on the run's data, and then put in place.

What is made of what, by which module:

    run ─ weights ─ parts ─ program ─> model.onnx, step.onnx …
        └ manifest ──────────────────> export.json, labels.json, tokenizer.json …
          calls ─ proof                nothing is put in place that does not give selfloop's numbers
"""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from selfloop.data import Tokenizer
from selfloop.errors import ConfigError, SelfloopError, together
from selfloop.exporting.exported import UNKNOWN_COST, Cost, Exported, check_folder, made_whole
from selfloop.exporting.onnx.tasks.calls import random_calls, real_calls
from selfloop.exporting.onnx.tasks.parts import Opened, Part, copied, parts_of
from selfloop.exporting.onnx.tasks.program import program
from selfloop.exporting.onnx.tasks.proof import prove
from selfloop.exporting.onnx.tasks.weights import round_weights, shorten
from selfloop.exporting.validation_data import some_of
from selfloop.tasks.caption.captioner import Captioner
from selfloop.tasks.caption.speaker import Speaker
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.label.labeller import Labeller
from selfloop.tasks.lm.text_model import TextModel
from selfloop.tasks.loading import kind_of_model
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.table import TASKS
from selfloop.tasks.translate.translator import Translator
from selfloop.version import __version__

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

SCORED = 20_000
"""Validation targets, about, that tell what shorter weights cost."""

RUNNER = Path(__file__).with_name("run.py")
"""The file that runs what is exported: it needs neither torch nor selfloop."""


def export_run(opened: Opened, folder: Path, weights: str = "f32") -> Exported:
    """Write a trained model as ONNX files, beside what is needed to run them.

    Args:
        opened: the model, as `selfloop.load` gives it.
        folder: new or empty.
        weights: of matrices: ``"f32"``, ``"bf16"`` (half the size) or ``"int8"`` with a scale for each row (a quarter).

    Raises:
        ArgumentError: the folder is not empty, or cannot be written.
        ConfigError: a package is missing.
        BackendError: what was made does not give selfloop's numbers.
    """
    check_folder(folder)
    check_packages()
    kind = kind_of_model(opened)
    task = next(name for name, one in TASKS.items() if one is kind)
    opened = copied(opened, torch.float32, "auto")
    data, part, without_data = None, None, None
    try:
        part = opened.parts()["valid"]
        data = some_of(opened, part)
    except SelfloopError as error:
        without_data = str(error)
    run, cost = digest(opened.model), None
    if weights != "f32":
        before = None if part is None else opened.score(part, sample=SCORED)
        round_weights(opened.model, weights)
        if before is not None:
            after = opened.score(part, sample=SCORED)
            cost = Cost(weights, before.count, before.metrics(), after.metrics())
    parts = parts_of(opened)
    calls = [*random_calls(parts), *(real_calls(parts, data) if data is not None else [])]
    with made_whole(folder) as made:
        facts = {"task": task, "selfloop": __version__, "run": run, **_manifest(opened, made)}
        for one in parts:
            _write(one, made / one.file, facts, weights)
        (made / "export.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        shutil.copyfile(RUNNER, made / RUNNER.name)
        tried = prove(opened, made, calls)
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
    return Exported(
        files=tuple(folder / name for name in sizes),
        tried=tuple(tried),
        not_tried=() if without_data is None else (f"with the run's data. {without_data}",),
        cost=cost,
        notes=() if weights == "f32" or cost is not None else (UNKNOWN_COST.format(form=weights),),
        sizes={name: size for name, size in sizes.items() if name.endswith(".onnx")},
    )


def check_packages() -> None:
    """Raise ConfigError where a package is missing that export to ONNX needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Export to ONNX needs {together(missing)}, which is not here: pip install 'selfloop[export]'."
        )


def digest(model: torch.nn.Module) -> str:
    """A hash of the numbers of a network."""
    whole = hashlib.blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        whole.update(f"{name} {tuple(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _write(part: Part, file: Path, facts: Mapping[str, Any], weights: str) -> None:
    """The ONNX file of a part, with its sizes and states as metadata."""
    import onnx_ir  # noqa: PLC0415  (an extra)

    model = program(part)
    shorten(model, weights)
    states = {name: port.shape[1:] for name, port in part.inputs.items() if name.startswith("state.")}
    model.metadata_props.update(
        {
            **{name: str(facts[name]) for name in ("task", "selfloop", "run")},
            "states": json.dumps(states),
            "parameters": str(sum(p.numel() for p in part.parameters())),
        }
    )
    onnx_ir.save(model, file)


def _manifest(opened: TrainedModel, folder: Path) -> dict[str, Any]:
    """What the runner needs to know, and the files that it reads beside those of ONNX."""
    facts: dict[str, Any] = next(write(opened, folder) for kind, write in MANIFESTS.items() if isinstance(opened, kind))
    return facts


def _of_text(opened: TextModel, folder: Path) -> dict[str, Any]:
    return {**_tokenizer(opened.tokenizer, folder / "tokenizer.json")}


def _of_examples(opened: Classifier | Labeller, folder: Path) -> dict[str, Any]:
    inputs, data = opened.inputs, dict(opened.config.data)
    _write_json(folder / "labels.json", inputs.classes)
    facts: dict[str, Any] = {"kind": inputs.kind, "shape": inputs.shape, "spans": inputs.spans}
    if inputs.image is not None:
        facts |= {"image": inputs.image, "scan": data["scan"]}
    if inputs.vocabulary is not None:
        _write_json(folder / "words.json", inputs.vocabulary.words)
    if inputs.tokenizer is not None:
        facts |= _tokenizer(inputs.tokenizer, folder / "tokenizer.json")
    return facts


def _of_translator(opened: Translator, folder: Path) -> dict[str, Any]:
    inputs, decoding = opened.inputs, opened.config.decoding
    source = _tokenizer(inputs.source, folder / ("tokenizer.json" if inputs.shared else "source.json"))
    target = source if inputs.shared else _tokenizer(inputs.target, folder / "target.json")
    facts = {"source": source, "target": target, "lowercase": inputs.lowercase}
    return {
        **facts,
        "beam": decoding.beam,
        "length_penalty": decoding.length_penalty,
        "max_tokens": opened.config.data.max_length,
    }


def _of_captioner(opened: Captioner, folder: Path) -> dict[str, Any]:
    tokenizer = _tokenizer(opened.tokenizer, folder / "tokenizer.json")
    never = Speaker(opened.model, opened.tokenizer).never
    return {"target": tokenizer, "never": never, "size": opened.vision.size, **opened.config.decoding.model_dump()}


MANIFESTS: dict[type[TrainedModel], Callable[[Any, Path], dict[str, Any]]] = {
    TextModel: _of_text,
    Classifier: _of_examples,
    Labeller: _of_examples,
    Translator: _of_translator,
    Captioner: _of_captioner,
}


def _tokenizer(tokenizer: Tokenizer, file: Path) -> dict[str, Any]:
    tokenizer.save(file)
    return {"tokenizer": file.name, "token": tokenizer.kind, "start": tokenizer.start_id}


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
