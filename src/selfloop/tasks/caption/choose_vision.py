"""An image encoder by name."""

from pathlib import Path

from torch import nn

from selfloop.errors import ConfigError, nearest
from selfloop.models.vision import EFFICIENTNETS, SmallVision, Vision, pretrained
from selfloop.options.caption import is_own_encoder
from selfloop.tasks.own_code import code_digest, run_file

NAMES = ("small", *EFFICIENTNETS)
OWN_SIZE = (224, 224)
"""Of the images for an encoder of the user's own, where none is given."""


def choose_vision(name: str, size: tuple[int, int] | None = None) -> Vision:
    """``small``, which is trained; a pretrained encoder, one of `EFFICIENTNETS` or ``timm:NAME``; or the user's own.

    Of ``FILE.py:NAME`` the name is a torch module, or what makes one without arguments. It takes floats from 0 to 1,
    (B, 3, H, W), and gives a grid, (B, F, h, w), or a vector, (B, F). Where a parameter of it requires a gradient it is
    trained; else it is frozen, and what it sees is computed once. It is computed again when its parameters change, its
    file, or a module of the user's that it imports; not when another file changes that it reads while it runs.

    Args:
        name: of the encoder.
        size: height and width of the images; None for what suits it.

    Raises:
        ConfigError: there is no such encoder, or a package that it needs is not installed.
    """
    if is_own_encoder(name):
        network = _own(name)
        code = code_digest(Path(name.rpartition(":")[0]))  # of a frozen one, what it sees changes with it
        return Vision(name, network, size or OWN_SIZE, code)
    if name == "small":
        return Vision(name, SmallVision(), size or (64, 64))
    if name in EFFICIENTNETS or name.startswith("timm:"):
        network, suits = pretrained(name)
        return Vision(name, network, size or suits)
    hint = nearest(name, NAMES) or f"; known are {', '.join(NAMES)}, timm:NAME, and FILE.py:NAME for one's own."
    raise ConfigError(f"There is no encoder '{name}'{hint}")


def _own(name: str) -> nn.Module:
    module = run_file("encoder", name)
    own = name.rpartition(":")[2]
    found = getattr(module, own, None)
    if callable(found) and not isinstance(found, nn.Module):
        try:
            found = found()
        except Exception as error:  # it is the user's
            raise ConfigError(f"The encoder '{name}' cannot be made: {type(error).__name__}: {error}.") from error
    if not isinstance(found, nn.Module):
        got = "nothing of that name" if found is None else type(found).__name__
        raise ConfigError(f"The encoder '{name}' must be a torch module, or make one. Got {got} instead.")
    return found
