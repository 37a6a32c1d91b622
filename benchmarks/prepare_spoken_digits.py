"""Spoken digits (Jackson et al., 3,000 WAV at 8 kHz) as a folder a part and a class, for `selfloop train classify`.

    python benchmarks/prepare_spoken_digits.py recordings.zip spoken

A recording is called DIGIT_SPEAKER_TAKE.wav; takes 0 to 4 are the test, as its authors have it.
"""

import sys
import zipfile
from pathlib import Path


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = map(Path, sys.argv[1:])
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            file = Path(name)
            if file.suffix != ".wav":
                continue
            digit, _, take = file.stem.split("_")
            folder = out / ("test" if int(take) < 5 else "train") / digit
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_bytes(archive.read(name))


if __name__ == "__main__":
    main()
