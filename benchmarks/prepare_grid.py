"""Lays out GRID's mouths (speaker 1, an .npz of frames and words) as `selfloop train label` reads them.

    python benchmarks/prepare_grid.py grid_s1_mouth_24x40.npz FOLDER [--clips CLIPS]

FOLDER then holds a .npy a clip, (75, 24, 40) bytes, and grid.jsonl: its path, its split and the word at each frame.
With --clips, a folder of GRID's own .mpg files and their .align files, FOLDER/clips.jsonl names those with their words.
It prints how often who always says silence is right, in each part.
A labeller then reads the same mouths out of the films: --set data.crop=[184,124,48,80] --set data.size=[24,40].
"""

import argparse
import json
from pathlib import Path

import numpy as np

FRAMES, UNITS = 75, 1000  # of a clip; of an alignment file, a frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with np.load(asked.npz) as archive:
        words, video = archive["words"], archive["video"]
        parts = archive["names"], archive["split"], archive["frame_word"]
        with (asked.folder / "grid.jsonl").open("w") as lines:
            for frames, name, split, word in zip(video, *parts, strict=True):
                np.save(asked.folder / f"{name}.npy", frames)
                row = {"video": f"{name}.npy", "split": str(split), "labels": words[word].tolist()}
                lines.write(json.dumps(row) + "\n")
        split, silent = archive["split"], words[archive["frame_word"]] == "sil"
        for part in dict.fromkeys(split.tolist()):
            print(f"{part}: {silent[split == part].mean():.1%} of the frames are silence")
    if asked.clips:
        with (asked.folder / "clips.jsonl").open("w") as lines:
            for path in sorted(asked.clips.glob("*.mpg")):
                labels = ["sil"] * FRAMES
                for line in path.with_suffix(".align").read_text().splitlines():
                    start, end, word = line.split()
                    for frame in range(round(int(start) / UNITS), min(FRAMES, round(int(end) / UNITS))):
                        labels[frame] = word
                lines.write(json.dumps({"video": str(path.resolve()), "labels": labels}) + "\n")


if __name__ == "__main__":
    main()
