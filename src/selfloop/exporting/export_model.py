"""``selfloop.export``: a model as C, or as an object file."""

import re
from pathlib import Path

from torch import nn

from selfloop.compiler import named_target
from selfloop.compiler.native import FORMS
from selfloop.errors import ArgumentError, nearest
from selfloop.exporting.exported import Exported, check_folder
from selfloop.exporting.native.describe import checked
from selfloop.exporting.native.export import export_native

KINDS = ("c", "object")


def export(
    model: nn.Module,
    out: str | Path,
    *,
    to: str = "c",
    name: str = "model",
    target: str | None = None,
    weights: str = "f32",
) -> Exported:
    """Write a model as C99 or as an object file: no allocation, no library, all memory the caller's.

    The folder gets ``NAME.h`` with the interface, the code and the weights (source, or object files for a linker),
    ``NAME.weights`` with the same weights as a file to map, ``check.c`` with inputs and outputs to try them on, and a
    Makefile: ``make check``. Several sessions share the weights, each with a state of its own::

        model_state state;
        model_reset(&model_trained, &state);
        for (;;) { model_step(&model_trained, &state, x, y); }

    Args:
        model: a `Recurrent` of any cell that the compiler takes, of any depth and direction, or a model of `lm`,
            `classify` or `label`; in evaluation, in float32.
        out: a folder, new or empty.
        to: ``c`` for source, ``object`` for machine code.
        name: of the files, and what all names in them begin with.
        target: of an object file, see `selfloop export --target list`; this processor's if None.
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
        ['model.h', 'model.c', 'model_weights.c', 'check.c', 'Makefile', 'model.weights']
        >>> made.sizes["state"]
        64
    """
    folder = Path(out)
    for title, given, known in (("to", to, KINDS), ("weights", weights, tuple(FORMS))):
        if given not in known:
            hint = nearest(str(given), known) or "."
            raise ArgumentError(
                f"The '{title}' of export must be one of {', '.join(known)}. Got {given!r} instead{hint}"
            )
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise ArgumentError(
            f"The 'name' of export must be a name of C in lower case, such as 'model'. Got {name!r} instead."
        )
    if target is not None and to == "c":
        raise ArgumentError("C source is for any processor: a 'target' is that of to='object'.")
    module = checked(model)
    check_folder(folder)
    targets = () if target is None else (named_target(target),)
    return export_native(module, folder, to=to, name=name, form=weights, targets=targets)
