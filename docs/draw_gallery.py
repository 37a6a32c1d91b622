"""Trains a small model of each task and copies its pictures to docs/gallery: minutes on an idle machine.

python docs/draw_gallery.py DATA    # a folder that holds ud_english_ewt_pos and tinyshakespeare
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

import selfloop as sl
from selfloop.inspect import draw_gates, draw_gradient_flow, draw_memory, draw_units, gates, gradient_flow_of, memory

GALLERY = Path(__file__).with_name("gallery")
RUNS: dict[str, tuple[str, int, dict[str, int]]] = {
    "classify": ("confusion", 2000, {}),
    "translate": ("attention", 1500, {}),
    "lm": ("curves", 1500, {"hidden_size": 128, "validations": 15}),
    "words": ("timeline", 700, {"validations": 3}),
    "caption": ("captions", 700, {}),
    "label": ("timeline", 350, {"validations": 3}),
}
"""The picture of each run that is shown, its updates, and what else is chosen."""


def main(data: Path) -> None:
    """Train each, and copy."""
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (picture, steps, chosen) in RUNS.items():
            task, *source = ("label", data / "ud_english_ewt_pos") if name == "words" else (name,)
            model = sl.train(task, *source, run=Path(folder) / name, steps=steps, **chosen)
            shutil.copy(Path(folder) / name / f"{picture}.png", GALLERY / f"{name}_{picture}.png")
            if name == "classify":
                before, after = (
                    {"lstm": gradient_flow_of(model.watched(64, fresh=fresh), 64)} for fresh in (True, False)
                )
                draw_gradient_flow(after, GALLERY / "gradient_flow.png", before)
                draw_units(gates(model.watched(64), 64), Path(folder) / "classes.png")
        inside(Path(folder), data / "tinyshakespeare" / "input.txt")


def inside(folder: Path, text: Path) -> None:
    """The pictures of `selfloop inspect`, in few colours, which make small files."""
    model = sl.train("lm", text, run=folder / "shakespeare", minutes=8)
    watched, before = model.watched(200), model.watched(200, fresh=True)
    found = gates(watched, 200)
    draw_gates(found, folder / "gates.png")
    draw_units(found, folder / "units.png")
    flows, fresh = ({"layer 1": gradient_flow_of(one, 200)} for one in (watched, before))
    draw_memory(memory(watched, 200), folder / "memory.png", flows=flows, before=fresh, gates=found)
    for name in ("gates", "units", "memory", "classes"):
        with Image.open(folder / f"{name}.png") as picture:
            picture.convert("RGB").quantize(240).save(GALLERY / f"inside_{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
