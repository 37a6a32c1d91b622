"""Lays out Multi30k as results on it are published: lower case, and the tokens of Moses with a space between.

    pip install sacremoses
    python benchmarks/prepare_multi30k.py RAW FOLDER [--languages en de]

RAW holds the data set's own files, train.en.gz, train.de.gz, val.… and test_2016_flickr.…; FOLDER then holds train.en,
train.de and so on. The steps are those of its task1-tokenize.sh: lower case, punctuation made alike, tokenised; so BLEU
of such text is that of multi-bleu.perl, sacreBLEU's with the tokenizer "none".
"""

import argparse
import gzip
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer

PARTS = ("train", "val", "test_2016_flickr", "test_2017_flickr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", nargs="+", default=["en", "de"])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for language in asked.languages:
        normalizer, tokenizer = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
        for part in PARTS:
            with (
                gzip.open(asked.raw / f"{part}.{language}.gz", "rt", encoding="utf-8") as lines,
                (asked.folder / f"{part}.{language}").open("w", encoding="utf-8") as tokenised,
            ):
                for line in lines:
                    text = normalizer.normalize(line.strip().lower())
                    print(tokenizer.tokenize(text, return_str=True, escape=True), file=tokenised)


if __name__ == "__main__":
    main()
