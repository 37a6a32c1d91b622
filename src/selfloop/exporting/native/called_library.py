"""A model that selfloop has exported, called from Python. It needs NumPy, and the shared library that `make` builds.

model = Model()
y = model.step(x)      # of a model in one direction: a step, which moves the state on
y = model.run(xs)      # a sequence
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

# The model.
NAME = "model"
ABOUT = "a model"
READS = "numbers"
INPUT = 1
OUTPUT = 1
VOCABULARY = 0
STATE = 1
ROOM = 0
HEAD = 16
WEIGHTS = 0
IS_POOLED = False
CAN_SAMPLE = False
CAN_READ = False
WORDS: Any = None

# What follows is the same for every model.
TYPES = {"numbers": np.float32, "token": np.int32, "word": np.uint32}
FOLDER = Path(__file__).resolve().parent


class Model:
    """A session: weights that all sessions share, and a state of its own.

    Args:
        library: the shared library; that beside this file if None.
        weights: a file of weights for this model, which is mapped into memory; those in the library if None.

    Attributes:
        state: what the session remembers, an array of float32; None of a model in two directions.
        words: the labels or tokens, in the order of their numbers; of tokens bytes, which may be a part of a character.

    Raises:
        FileNotFoundError: the library or the file is not there.
        ValueError: the file holds weights of another model.
    """

    def __init__(self, library: "str | Path | None" = None, weights: "str | Path | None" = None) -> None:
        self._library = _loaded(FOLDER / f"lib{NAME}.so" if library is None else Path(library).resolve())
        self._weights = self._mapped(weights)
        self.state = np.zeros(STATE, np.float32) if STATE else None
        self.words = self._words()
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        if self.state is not None:
            self._call("reset", self._weights, self.state)

    def step(self, x: Any) -> Any:
        """One step: a number of a token, or an array (INPUT,); gives (OUTPUT,).

        Raises:
            ValueError: the shape is another, or the model reads in two directions.
        """
        if self.state is None:
            raise ValueError(f"{NAME} reads in two directions, and cannot step: give run the whole sequence.")
        y = np.zeros(OUTPUT, np.float32)
        if READS == "token":
            self._call("step", self._weights, self.state, _token(x), y)
        else:
            self._call("step", self._weights, self.state, _array("step", x, (INPUT,)), y)
        return y

    def run(self, x: Any) -> Any:
        """A sequence: tokens (T,), or an array (T, INPUT); gives (T, OUTPUT), or (OUTPUT,) of a model with one answer.

        A model in one direction goes on from its state.

        Raises:
            ValueError: the shape is another.
        """
        x = _array("run", x, (None,) if READS == "token" else (None, INPUT))
        y = np.zeros(OUTPUT if IS_POOLED else (len(x), OUTPUT), np.float32)
        memory = np.zeros(len(x) * ROOM + 1, np.float32) if self.state is None else self.state
        self._call("run", self._weights, memory, x, y, ctypes.c_int32(len(x)))
        return y

    def save(self) -> bytes:
        """The state, with a hash of the model."""
        saved = np.zeros(HEAD + STATE, np.uint32)
        if self.state is None:
            raise ValueError(f"{NAME} reads in two directions, and has no state to save.")
        self._call("save", self._weights, self.state, saved)
        return saved.tobytes()

    def load(self, saved: bytes) -> None:
        """Go on from a state that `save` gave.

        Raises:
            ValueError: it belongs to another model; the state stays as it was.
        """
        if self.state is None or len(saved) != 4 * (HEAD + STATE):
            raise ValueError(f"A saved state of {NAME} has {4 * (HEAD + STATE)} bytes. Got {len(saved)} instead.")
        if self._call("load", self._weights, self.state, np.frombuffer(saved, np.uint32)):
            raise ValueError(f"The saved state belongs to other weights than these of {NAME}.")

    def sample(self, logits: Any, seed: Any, temperature: float = 1.0, top_k: int = 0) -> int:
        """A token, drawn with the softmax of logits / temperature; the likeliest at 0.

        Args:
            logits: (OUTPUT,).
            seed: an array of one uint32, which changes with each draw.
            temperature: at least 0.
            top_k: only so many of the likeliest can be drawn; all of them with 0.

        Raises:
            ValueError: an argument is out of its range, or the model writes nothing.
        """
        if not CAN_SAMPLE:
            raise ValueError(f"{NAME} draws no tokens.")
        if not (isinstance(seed, np.ndarray) and seed.dtype == np.uint32 and seed.size == 1):
            raise ValueError("The seed must be an array of one uint32, such as numpy.array([1], numpy.uint32).")
        if not (temperature >= 0 and top_k >= 0):
            raise ValueError("The temperature and top_k must be at least 0.")
        given = np.ascontiguousarray(logits, np.float32)
        if given.shape != (OUTPUT,):
            raise ValueError(f"The logits must have the shape ({OUTPUT},). Got {given.shape} instead.")
        return int(self._call("sample", given, ctypes.c_float(temperature), ctypes.c_int32(min(top_k, OUTPUT)), seed))

    def read(self, text: str) -> Any:
        """A text as what `run` takes: tokens (T,), or words (T, INPUT).

        Raises:
            ValueError: the model reads no text, or has no code for it, or the text holds the character 0.
        """
        if not CAN_READ:
            raise ValueError(f"{NAME} has no code that reads text.")
        if "\0" in text:
            raise ValueError("A text must not hold the character 0, where it ends in C.")
        given = ctypes.c_char_p(text.encode())
        count = self._call("read", given, None, ctypes.c_int32(0))
        x = np.zeros(count if READS == "token" else (count, INPUT), TYPES[READS])
        self._call("read", given, x, ctypes.c_int32(count))
        return x

    def _call(self, verb: str, *arguments: Any) -> Any:
        """A function of the library; arrays are passed by their address."""
        function = getattr(self._library, f"{NAME}_{verb}")
        function.restype = ctypes.c_int32 if verb in ("load", "check", "sample", "read") else None
        return function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments))

    def _mapped(self, weights: "str | Path | None") -> Any:
        if weights is None:
            return ctypes.byref(ctypes.c_char.in_dll(self._library, f"{NAME}_trained"))
        is_empty = Path(weights).stat().st_size == 0  # no memory can be mapped to it
        mapped = np.zeros(0, np.uint8) if is_empty else np.memmap(weights, np.uint8, mode="r")
        said = self._call("check", mapped, ctypes.c_uint32(len(mapped)))
        if said or len(mapped) != WEIGHTS:
            what = {2: "is too short", 3: "has changed since it was written"}.get(
                said, "holds weights of another model"
            )
            raise ValueError(f"{weights} {what}: give a file {NAME}.weights of this model.")
        return mapped

    def _words(self) -> Any:
        if WORDS is None:
            return ()
        title, count = WORDS
        if title == "labels":
            return tuple(text.decode() for text in (ctypes.c_char_p * count).in_dll(self._library, f"{NAME}_labels"))
        texts = (ctypes.c_void_p * count).in_dll(self._library, f"{NAME}_tokens")
        sizes = (ctypes.c_uint32 * count).in_dll(self._library, f"{NAME}_token_bytes")
        return tuple(map(ctypes.string_at, texts, sizes))


LOADED: Any = {}
"""Libraries, by path: sessions share them."""


def _loaded(path: Path) -> Any:
    if path not in LOADED:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there. Run make {path.name} in {FOLDER}.")
        LOADED[path] = ctypes.CDLL(str(path))
    return LOADED[path]


def _token(x: Any) -> Any:
    if isinstance(x, bool) or not isinstance(x, int | np.integer) or not 0 <= x < VOCABULARY:
        raise ValueError(f"A token of {NAME} must be a whole number from 0 to {VOCABULARY - 1}. Got {x!r} instead.")
    return ctypes.c_int32(int(x))


def _array(verb: str, x: Any, shape: Any) -> Any:
    """An array of the model's type in this shape, in which None is any size."""
    given = np.asarray(x)
    kinds = "fiu" if READS == "numbers" else "iu"
    is_shaped = given.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, given.shape, strict=True))
    if not is_shaped or given.dtype.kind not in kinds:
        wanted = ", ".join("T" if n is None else str(n) for n in shape)
        what = "numbers" if READS == "numbers" else "whole numbers"
        raise ValueError(
            f"{verb} of {NAME} takes an array ({wanted}) of {what}. Got one of {given.dtype}, {given.shape} instead."
        )
    if READS == "token" and given.size and not (given.min() >= 0 and given.max() < VOCABULARY):
        raise ValueError(f"Tokens of {NAME} must be from 0 to {VOCABULARY - 1}.")
    return np.ascontiguousarray(given, TYPES[READS])
