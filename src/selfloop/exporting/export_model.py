"""``selfloop.export``: a model, or a run, as files that run without selfloop."""

from pathlib import Path

from torch import nn

from selfloop.errors import ArgumentError, check_one_of
from selfloop.exporting.exported import Exported, check_folder
from selfloop.exporting.forms import FORMS, WEIGHTS, check_takes
from selfloop.exporting.native.describe import checked
from selfloop.exporting.native.export import check_name, export_native, target_of
from selfloop.exporting.onnx import export_onnx
from selfloop.layers import Recurrent
from selfloop.tasks.loading import load
from selfloop.tasks.predictor import TrainedModel


def export(
    model: nn.Module | TrainedModel | str | Path,
    out: str | Path,
    *,
    to: str = "c",
    name: str | None = None,
    target: str | None = None,
    weights: str = "f32",
) -> Exported:
    """Write a model as C99, an object file, WebAssembly or ONNX, and try it before it is handed over.

    Native code allocates nothing and calls nothing; all memory is the caller's. The folder gets ``NAME.h`` with the
    interface, the code and the weights (source, or object files for a linker), ``NAME.weights`` with the same weights
    as a file to map, ``check.c`` with inputs and outputs to try them on, ``example.c``, ``NAME.py`` to call it from
    Python, and a Makefile. Of a run there is ``NAME_text.c``, too: labels or tokens, and what reads a text. Several
    sessions share the weights, each with a state of its own::

        model_state state;
        model_reset(&model_trained, &state);
        for (;;) { model_step(&model_trained, &state, x, y); }

    Of WebAssembly it gets ``NAME.wasm`` and ``NAME.weights``, ``NAME.mjs``, which runs them in browsers, Node and Deno,
    its types in ``NAME.d.mts``, ``index.html``, a page that does, and ``check.mjs``. Browsers take them from a web
    server alone, such as ``python -m http.server``.

    Args:
        model: a `Recurrent` of any cell that the compiler takes, of any depth and direction, or a model of `lm`,
            `classify` or `label`; in evaluation, in float32. Or a run: what `selfloop.load` gives, or its folder. Only
            runs know their labels, tokens and validation data.
        out: a folder, new or empty.
        to: ``c`` for source, ``object`` for machine code, ``wasm`` for WebAssembly, ``onnx``.
        name: of the files, and what all names in native code begin with; ``model`` if None. A run as ONNX has none.
        target: of an object file, such as ``cortex-m7``, see `selfloop export --target list`; None for this processor
            and those of its family. Of WebAssembly ``simd``, which is what None means, ``relaxed-simd`` for new
            engines, or ``plain`` for old ones.
        weights: of matrices: ``f32``, ``bf16`` (half the size) or ``int8`` with a scale for each row (a quarter).

    Returns:
        The files, their sizes, and how far what was made is from selfloop.

    Raises:
        ArgumentError: the model cannot be exported, a name is none, or the folder is not empty.
        BackendError: what was made does not give selfloop's numbers; there is no such target.

    Example:
        >>> import tempfile
        >>> from selfloop import LSTM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = export(LSTM(3, 8), f"{folder}/lstm")
        >>> [path.name for path in made.files]
        ['model.h', 'model.c', 'model_weights.c', 'model.weights', 'check.c', 'example.c', 'Makefile', 'model.py']
        >>> made.sizes["state"]
        64
    """
    check_one_of(to, FORMS, "The 'to' of export")
    check_one_of(weights, WEIGHTS, "The 'weights' of export")
    given = {title: value for title, value in (("name", name), ("target", target)) if value is not None}
    for title, value in (("out", out), *given.items()):
        if not isinstance(value, str | Path):
            raise ArgumentError(f"The '{title}' of export must be a text. Got {value!r} instead.")
    folder = Path(out)
    if isinstance(model, str | Path):
        model = load(model)
    is_run = isinstance(model, TrainedModel)
    check_takes(to, given if is_run else given.keys() - {"name"}, "A '{}'", "{}")
    if is_run:
        return FORMS[to].export(model, folder, weights, **given)
    if isinstance(model, nn.Module) and any(weight.is_meta for weight in model.state_dict().values()):
        raise ArgumentError("The model is on the device 'meta', where weights have no numbers. Load its weights first.")
    if to == "onnx":
        if not isinstance(model, Recurrent) or weights != "f32":
            raise ArgumentError(
                f"A run is exported to ONNX in any form, and a Recurrent as f32. Got a {type(model).__name__} and "
                f"weights='{weights}' instead."
            )
        return export_onnx(model, folder, **given)
    aimed, name = target_of(target, to), check_name("model" if name is None else name)
    module = checked(model)
    check_folder(folder)
    return export_native(module, folder, to=to, name=name, form=weights, target=aimed)
