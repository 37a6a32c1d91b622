"""Run the model of this folder: `python run.py --help`.

It needs onnxruntime and numpy, tokenizers where the model reads or writes text, and Pillow where it sees images.
"""

import argparse
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # which it reads when it is imported; else it reports to Microsoft
import onnxruntime

HERE = Path(__file__).resolve().parent
ABOUT = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
"""What selfloop has told of the model."""

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


@functools.cache
def model_of(file: str) -> "Model":
    """A file, opened once."""
    return Model(file)


class Model:
    """An ONNX file, called with arrays by name."""

    def __init__(self, file: str) -> None:
        self.session = onnxruntime.InferenceSession(HERE / file, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: one.shape for one in self.session.get_inputs()}
        self.outputs = [one.name for one in self.session.get_outputs()]

    def __call__(self, given: Arrays) -> Arrays:
        """Its outputs by name; inputs that it does not take are left out."""
        taken = {name: given[name] for name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, taken), strict=True))

    def start(self, batch: int) -> Arrays:
        """The states before the first step: zeros."""
        names = [name for name in self.inputs if name.startswith(("state.", "attentional"))]
        return {name: np.zeros((batch, *self.inputs[name][1:]), np.float32) for name in names}

    def step(self, given: Arrays, state: Arrays) -> tuple[Array, Arrays]:
        """The logits after one more step, and the new states: `new_state.h.0` is the next `state.h.0`."""
        found = self({**state, **given})
        renewed = {name.removeprefix("new_"): array for name, array in found.items() if name.startswith("new_")}
        return found["logits"], {**state, **renewed}


@functools.cache
def tokens_of(side: str | None = None) -> "Tokens":
    """The tokenizer of the model, or of one of its sides."""
    return Tokens(ABOUT if side is None else ABOUT[side])


class Tokens:
    """Between text and numbers.

    Args:
        about: the tokenizer's file, the kind of its tokens, and the one that stands before a text.
    """

    def __init__(self, about: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.start: int = about["start"]
        self.kind: str = about["token"]
        self._tokenizer = Tokenizer.from_file(str(HERE / about["tokenizer"]))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def stream(self, prompt: str, tokens: Iterable[int]) -> Iterator[str]:
        """The text of tokens after a prompt, as it comes; bytes wait until they are a whole character."""
        shown, held = self.encode(prompt)[-1:], list[int]()
        spaced = prompt.endswith(" ") and not self.decode(shown).endswith(" ")
        for token in tokens:
            held.append(token)
            text = self._after(shown, held)
            if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text.removeprefix(" ") if spaced else text
                shown, held, spaced = held, [], False
        yield self._after(shown, held)

    def _after(self, shown: list[int], held: list[int]) -> str:
        return self.decode(shown + held)[len(self.decode(shown)) :]


# A language model writes.


def write(prompt: str, max_tokens: int, temperature: float, top_k: int | None, seed: int | None) -> Iterator[str]:
    """The continuation of a prompt, as it comes."""
    model, tokenizer = model_of("step.onnx"), tokens_of()
    draw = np.random.default_rng(seed)

    def tokens() -> Iterator[int]:
        state = model.start(1)
        for token in (tokenizer.start, *tokenizer.encode(prompt)):
            logits, state = model.step({"tokens": np.array([token])}, state)
        for left in reversed(range(max_tokens)):
            token = drawn(logits[0], temperature, top_k, draw)
            yield token
            if left:
                logits, state = model.step({"tokens": np.array([token])}, state)

    return tokenizer.stream(prompt, tokens())


def drawn(logits: Array, temperature: float, top_k: int | None, draw: np.random.Generator) -> int:
    """A token by its probability; temperature 0 takes the likeliest."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()).astype(np.float64) / temperature
    if top_k is not None:
        scaled[np.argsort(-scaled, kind="stable")[top_k:]] = -np.inf
    weights = np.exp(scaled)
    return int(draw.choice(len(weights), p=weights / weights.sum()))


# A classifier tells what a sequence is, a labeller what each of its steps is.


def classify(steps: Array) -> dict[str, Any]:
    """The class of a sequence, and the probability of each class."""
    logits = whole(steps)[0]
    found = dict(zip(labels(), softmax(logits).tolist(), strict=True))
    return {"label": max(found, key=found.__getitem__), "probabilities": found}


def label(steps: Array) -> dict[str, Any]:
    """The label of each step, and its probability."""
    logits, names = whole(steps)[:, 0], labels()
    best = best_tags(logits, names) if ABOUT["spans"] else logits.argmax(-1)
    shares = np.take_along_axis(softmax(logits), best[:, None], -1)[:, 0]
    return {"labels": [names[k] for k in best], "probabilities": [round(p, 4) for p in shares.tolist()]}


def label_stream(lines: Iterable[str]) -> Iterator[str]:
    """The label of each step when it has come, a word or a row of numbers a line."""
    if not (HERE / "step.onnx").exists():
        fail("this labeller reads in both directions, so it must see the end first: leave out --stream")
    if ABOUT["kind"] == "frames":
        fail("frames do not come as lines: leave out --stream")
    model = model_of("step.onnx")
    state, names = model.start(1), labels()
    for line in filter(str.strip, lines):
        if ABOUT["kind"] == "words":
            steps = rows_of_words([line.strip()])
        else:
            try:
                steps = as_series(np.array([line.replace(",", " ").split()], np.float32), f"the line {line.strip()!r}")
            except ValueError:
                fail(f"a line must hold numbers. Got {line.strip()!r}")
        logits, state = model.step({"inputs": steps}, state)
        yield names[int(logits[0].argmax())]


def whole(steps: Array) -> Array:
    """The logits of one sequence, (T, …)."""
    return model_of("model.onnx")({"inputs": steps[:, None], "lengths": np.array([len(steps)])})["logits"]


def labels() -> list[str]:
    """The names of the classes, in the order of the logits."""
    return read_json("labels.json")


@functools.cache
def read_json(file: str) -> list[str]:
    """A list of names."""
    return list(json.loads((HERE / file).read_text(encoding="utf-8")))


def best_tags(logits: Array, tags: list[str]) -> Array:
    """The likeliest tags whose spans all begin before they continue (Viterbi): I-x and E-x follow B-x or I-x."""

    def may_follow(before: str, tag: str) -> bool:
        return tag[:2] not in ("I-", "E-") or before in (f"B-{tag[2:]}", f"I-{tag[2:]}")

    cost = np.array([[0 if may_follow(before, tag) else -np.inf for tag in tags] for before in ("O", *tags)])
    log_p = log_softmax(logits)
    score, came_from = log_p[0] + cost[0], []
    for step in log_p[1:]:
        paths = score[:, None] + cost[1:]
        came_from.append(paths.argmax(0))
        score = paths.max(0) + step
    best = [int(score.argmax())]
    for before in reversed(came_from):
        best.append(int(before[best[-1]]))
    return np.array(best[::-1])


# What the network reads.


def steps_of(source: str) -> Array:
    """A text, or what a file holds, as an array whose first axis is time."""
    if ABOUT["kind"] == "words":
        return rows_of_words(source.split())
    if ABOUT["kind"] == "text" and "tokenizer" not in ABOUT:
        return rows_of_words(WORD.findall(source) or [""])
    if ABOUT["kind"] == "text":
        tokenizer = tokens_of()
        return np.array(tokenizer.encode(source) or [tokenizer.start])
    file = Path(source)
    if not file.is_file():
        fail(f"this model reads files of numbers, and {source} is not a file")
    if file.suffix == ".npy":
        steps = np.load(file, allow_pickle=False)
    elif file.suffix in (".csv", ".tsv"):
        steps = read_table(file)
    elif "image" in ABOUT and file.suffix.lower() in IMAGES:
        steps = scanned(pixels(file, ABOUT["image"][:2], colour=len(ABOUT["image"]) == 3))
    else:
        fail(f"this model reads .npy, .csv and .tsv{' and images' if 'image' in ABOUT else ''}. Got {source}")
    if ABOUT["kind"] == "series":
        if "image" in ABOUT and list(steps.shape) == ABOUT["image"]:
            steps = scanned(steps)
        return as_series(steps, source)
    if steps.dtype != np.uint8 or list(steps.shape[1:]) != ABOUT["shape"] or not len(steps):
        fail(f"{source} must hold frames, bytes (T, {', '.join(map(str, ABOUT['shape']))}). It holds {steps.shape}")
    return np.asarray(steps)


IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}

WORD = re.compile(r"\w+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+|[^\w\s]", re.IGNORECASE)
"""A word of a sentence, or a mark."""


@functools.cache
def numbers_of_words() -> dict[str, int]:
    """The number of each word that the model knows."""
    return {word: number for number, word in enumerate(read_json("words.json"))}


def rows_of_words(words: list[str], longest: int = 20) -> Array:
    """A row a word: its number, the code points of its characters in lower case, and of its shape."""
    number = numbers_of_words()
    rows = np.zeros((len(words), 1 + 2 * longest), np.int64)
    for row, word in zip(rows, words, strict=True):
        row[0] = number.get(word.lower(), 0)
        shape = "".join("X" if c.isupper() else "D" if c.isdigit() else "L" if c.isalpha() else c for c in word)
        for start, spelt in ((1, word.lower()), (1 + longest, shape)):
            read = spelt if len(spelt) <= longest else spelt[: longest // 2] + spelt[-longest // 2 :]
            row[start : start + len(read)] = [*map(ord, read)]
    return rows


def read_table(file: Path) -> Array:
    """Numbers, a step a line and a channel a column; line 1 may name the columns."""
    lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    separator = "\t" if file.suffix == ".tsv" else ","

    def is_number(cell: str) -> bool:
        try:
            float(cell)
        except ValueError:
            return False
        return True

    if lines and not any(map(is_number, lines[0].split(separator))):
        del lines[0]
    try:
        return np.array([[float(cell) for cell in line.split(separator)] for line in lines])
    except ValueError as error:
        fail(f"{file} is no table of numbers ({error})")


def as_series(steps: Array, source: str) -> Array:
    """Numbers as the network reads them, (T, C)."""
    found = steps.reshape(len(steps), -1).astype(np.float32)
    if not len(found) or list(found.shape[1:]) != ABOUT["shape"]:
        fail(f"{source} must hold steps of {ABOUT['shape'][0]} numbers. It holds an array {steps.shape}")
    if not np.isfinite(found).all():
        fail(f"{source} holds NaN or infinity")
    return found


def scanned(image: Array) -> Array:
    """An image as a sequence: a pixel a step, or a row of pixels."""
    height, width, *colours = image.shape
    channels = colours[0] if colours else 1
    return image.reshape((height * width, channels) if ABOUT["scan"] == "pixels" else (height, width * channels))


def pixels(file: Path, size: Sequence[int], colour: bool) -> Array:
    """An image at that height and width, (H, W) or (H, W, 3), turned as its camera says; transparent is white."""
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(Image.open(file))
    except OSError as error:
        fail(f"{file} cannot be read as an image ({error})")
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    if (image.height, image.width) != tuple(size):
        image = image.resize((size[1], size[0]))
    return np.asarray(image.convert("RGB" if colour else "L"))


# A translator and a captioner write about what they have read or seen, by beam search.


def translate(text: str, beam: int, length_penalty: float) -> dict[str, Any]:
    """The translation of a text, and its log-probability."""
    text = " ".join(text.split())
    if not text:
        return {"source": text, "translation": "", "log_probability": 0.0}
    source, target = tokens_of("source"), tokens_of("target")
    read = text.lower() if ABOUT["lowercase"] else text
    ids = [*source.encode(f" {read}" if source.kind == "bpe" else read), source.start]
    about = model_of("encoder.onnx")({"source": np.array(ids)[:, None], "lengths": np.array([len(ids)])})
    tokens, log_p = beam_search(about, target.start, beam, length_penalty)
    return {"source": text, "translation": target.decode(tokens).strip(), "log_probability": log_p}


def caption(file: str, beam: int, length_penalty: float) -> dict[str, Any]:
    """A sentence about an image, and its log-probability."""
    target = tokens_of("target")
    about = model_of("encoder.onnx")({"images": pixels(Path(file), ABOUT["size"], colour=True)[None]})
    tokens, log_p = beam_search(about, target.start, beam, length_penalty, never=ABOUT["never"], may_be_empty=False)
    return {"input": file, "caption": target.decode(tokens).strip(), "log_probability": log_p}


def beam_search(
    about: Arrays, end: int, beam: int, length_penalty: float, never: Sequence[int] = (), may_be_empty: bool = True
) -> tuple[list[int], float]:
    """The likeliest tokens, and their log-probability in nats.

    Args:
        about: what the encoder gives, of one example.
        end: the token before the first, and after the last.
        beam: the hypotheses that are kept at each step.
        length_penalty: hypotheses are ranked by their log-probability over ((5 + length) / 6) ** length_penalty.
        never: tokens that are not said.
        may_be_empty: whether the end may come first.
    """
    model = model_of("decoder_step.onnx")
    axis = {name: shape.index("batch") for name, shape in model.inputs.items()}
    state = {**model.start(1), **about}
    state = {name: array.repeat(beam, axis[name]) for name, array in state.items() if name in axis}
    moving = model.start(1).keys()  # what all hypotheses attend to is the same

    def step(tokens: Array, state: Arrays) -> tuple[Array, Arrays]:
        logits, state = model.step({"tokens": tokens}, state)
        logits[:, never] = -np.inf
        return logits, state

    def penalty(length: int) -> float:
        return float(((5 + length) / 6) ** length_penalty)

    logits, state = step(np.full(beam, end), state)
    if not may_be_empty:
        logits[:, end] = -np.inf
    scores = np.where(np.arange(beam) == 0, 0, -np.inf)  # all are the same at first
    tokens = np.zeros((beam, 0), np.int64)
    finished: list[tuple[float, list[int], float]] = []
    for length in range(1, ABOUT["max_tokens"] + 1):
        candidates = scores[:, None] + log_softmax(logits)
        best = likeliest(candidates.ravel(), 2 * beam)
        parent, token = np.divmod(best, candidates.shape[1])
        score = candidates.ravel()[best]
        for k in np.flatnonzero((token == end) & (score > -np.inf)):
            if k < beam:
                finished.append((score[k] / penalty(length), tokens[parent[k]].tolist(), score[k]))
        kept = likeliest(np.where(token == end, -np.inf, score), beam)
        scores = np.where(token == end, -np.inf, score)[kept]
        tokens = np.column_stack([tokens[parent[kept]], token[kept]])
        if length == ABOUT["max_tokens"]:
            alive = [k for k in range(len(kept)) if scores[k] > -np.inf]
            finished += [(scores[k] / penalty(length), tokens[k].tolist(), scores[k]) for k in alive]
            break
        possible = scores.max() / penalty(ABOUT["max_tokens"] if length_penalty > 0 else length)
        worst = sorted((rank for rank, _, _ in finished), reverse=True)[beam - 1 : beam]
        if possible == -np.inf or (worst and worst[0] >= possible):
            break
        rows = parent[kept]
        logits, state = step(token[kept], {n: v[rows] if n in moving else v for n, v in state.items()})
    _, found, log_p = max(finished, key=lambda one: one[0])
    return found, float(log_p)


def likeliest(values: Array, count: int) -> Array:
    """The places of the largest values, the largest first."""
    some = np.argpartition(-values, min(count, len(values)) - 1)[:count]
    return np.asarray(some[np.lexsort((some, -values[some]))])


def log_softmax(logits: Array) -> Array:
    """Logarithms of probabilities, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def softmax(logits: Array) -> Array:
    """Probabilities."""
    return np.asarray(np.exp(log_softmax(logits)))


def fail(message: str) -> NoReturn:
    """One sentence, and exit status 2."""
    print(f"run.py: {message}.", file=sys.stderr)
    sys.exit(2)


# The command line.


def main() -> None:
    """Answer what the command line asks."""
    task = ABOUT["task"]
    parser = argparse.ArgumentParser(description=f"A model of selfloop, for the task '{task}'.")
    if task == "lm":
        parser.add_argument("--prompt", default="", help="what the text begins with")
        parser.add_argument("--max-tokens", type=int, default=500, help="how many tokens to write (500)")
        parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (0.8)")
        parser.add_argument("--top-k", type=int, help="draw from the k likeliest tokens only")
        parser.add_argument("--seed", type=int, help="the same seed writes the same text")
        own = parser.parse_args()
        if own.temperature < 0 or (own.top_k is not None and own.top_k < 1):
            fail("--temperature must be at least 0, and --top-k at least 1")
        print(own.prompt, end="", flush=True)
        for piece in write(**vars(own)):
            print(piece, end="", flush=True)
        print()
        return
    reads_lines = task == "translate" or ABOUT.get("kind") in ("text", "words")
    what = "texts; without them, a text a line from stdin" if reads_lines else "files"
    parser.add_argument("inputs", nargs="*" if reads_lines or task == "label" else "+", help=what)
    parser.add_argument("--json", action="store_true", help="print all that is known, a line of JSON each")
    if task in ("translate", "caption"):
        parser.add_argument("--beam", type=int, default=ABOUT["beam"], help=f"hypotheses ({ABOUT['beam']})")
        parser.add_argument(
            "--length-penalty", type=float, default=ABOUT["length_penalty"], help="above 0 favours longer ones"
        )
    if task == "label":
        parser.add_argument("--stream", action="store_true", help="label steps as they come, one a line of stdin")
    own = parser.parse_args()
    if task == "label" and own.stream:
        for name in label_stream(sys.stdin):
            print(name, flush=True)
        return
    if not own.inputs and not reads_lines:
        parser.error("give files")
    if getattr(own, "beam", 1) < 1:
        fail("--beam must be at least 1")
    typed = (line.rstrip("\r\n") for line in sys.stdin)
    for one in own.inputs or typed:
        if task in ("translate", "caption"):
            found = {"translate": translate, "caption": caption}[task](one, own.beam, own.length_penalty)
        elif one.strip():
            found = {"input": one, **{"classify": classify, "label": label}[task](steps_of(one))}
        else:
            continue
        print(json.dumps(found, ensure_ascii=False) if own.json else SHOWN[task](found))


SHOWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "classify": lambda found: found["label"],
    "label": lambda found: " ".join(found["labels"]),
    "translate": lambda found: found["translation"],
    "caption": lambda found: found["caption"],
}

if __name__ == "__main__":
    main()
