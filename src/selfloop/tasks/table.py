"""The tasks, by name: a row each. What trains, and what its runs open as, is imported when it is needed."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfloop import options
from selfloop.config import Section

if TYPE_CHECKING:
    from selfloop.tasks.learner import Learner
    from selfloop.tasks.predictor import Predictor

PARTS = {"valid": "validation", "test": "test"}
"""What the parts are called that a run is scored on."""


@dataclass(frozen=True)
class TaskEntry:
    """A row of the table of tasks.

    Attributes:
        folder: the package that defines the task, with its `LEARNER` and its `PREDICTOR`.
        config: all that is chosen about a run; it has the sections data, model and training.
        about: what it is, in a sentence, for help.
        examples: commands that train it, and what each does.
        usual: fields of its own that its help shows.
        unit: what a target is, for speeds and losses: ``token``.
        figures: how each metric is shown, by its name.
        next: what to do with a run, where ``{run}`` stands for its folder.
        loss: the unit of its loss.
        sources: the fields of the data that are given without their names.
    """

    folder: str
    config: type[Section]
    about: str
    examples: Mapping[str, str]
    usual: tuple[str, ...]
    unit: str
    figures: Mapping[str, str]
    next: tuple[str, ...]
    loss: str = "nats"
    sources: tuple[str, ...] = ("source",)

    @property
    def learner(self) -> "type[Learner[Any, Any, Any]]":
        """What trains."""
        found: type[Learner[Any, Any, Any]] = importlib.import_module(self.folder).LEARNER
        return found

    @property
    def predictor(self) -> "type[Predictor[Any, Any, Any, Any]]":
        """What a run opens as."""
        found: type[Predictor[Any, Any, Any, Any]] = importlib.import_module(self.folder).PREDICTOR
        return found

    def show(self, metrics: Mapping[str, float], most: int | None = None) -> str:
        """The metrics, in one line; `most` of them, the first."""
        shown = [text.format(metrics[name]) for name, text in self.figures.items() if name in metrics]
        return "   ".join(shown[:most])


TASKS: dict[str, TaskEntry] = {
    "lm": TaskEntry(
        folder="selfloop.tasks.lm",
        config=options.LanguageModelConfig,
        about="Train a language model: at every step it predicts the next token.",
        examples={
            "selfloop train lm": "the text inside Python",
            "selfloop train lm play.txt --minutes 3": "your own text",
            "selfloop train lm books/ --tokenizer bpe --epochs 5": "pieces of words",
            "selfloop train lm tweets.jsonl --column body": "one column of a table",
            "selfloop train lm owner/corpus --streaming": "larger than the disk",
            "selfloop train lm play.txt --hidden 256 --lr 0.003": "",
            "selfloop train lm --resume runs/play": "go on after a stop",
        },
        usual=("column", "tokenizer"),
        unit="token",
        figures={
            "loss": "{:.4f} nats/token",
            "perplexity": "perplexity {:.2f}",
            "bits_per_character": "{:.3f} bits/char",
            "unknown": "{:.1%} of the tokens unknown",
        },
        next=("selfloop generate {run}", "selfloop evaluate {run}"),
    ),
    "classify": TaskEntry(
        folder="selfloop.tasks.classify",
        config=options.ClassifyConfig,
        about="Train a classifier: a text, a series or an image goes in, one of several classes comes out.",
        examples={
            "selfloop train classify": "digits, pixel by pixel",
            "selfloop train classify reviews.csv --minutes 5": "texts and their classes",
            "selfloop train classify walks.csv --series walk --time seconds": "",
            "selfloop train classify names/": "a text file per class",
            "selfloop train classify walks/ --bidirectional --pooling attention": "",
            "selfloop train classify mnist/ --scan rows": "a row of pixels per step",
            "selfloop train classify few.csv --folds 5": "cross-validation",
        },
        usual=(
            "input",
            "label",
            "series",
            "time",
            "scan",
            "tokenizer",
            "bidirectional",
            "pooling",
            "folds",
            "skip_bad",
        ),
        unit="example",
        figures={"loss": "{:.4f} nats", "accuracy": "accuracy {:.2%}", "macro_f1": "macro F1 {:.3f}"},
        next=("selfloop predict {run} FILE", "selfloop evaluate {run}"),
    ),
    "label": TaskEntry(
        folder="selfloop.tasks.label",
        config=options.LabelConfig,
        about="Train a labeller: a sequence goes in, a label comes out at each of its steps.",
        examples={
            "selfloop train label": "moving digits",
            "selfloop train label treebank/ --minutes 10": "words and their tags",
            "selfloop train label walks.csv --series person --time seconds --label activity": "",
            "selfloop train label clips.jsonl --size [48,64] --fps 12": "",
            "selfloop train label clips.jsonl --no-bidirectional": "for a live camera",
        },
        usual=("input", "label", "series", "time", "ignore", "bidirectional", "folds", "skip_bad"),
        unit="step",
        figures={
            "loss": "{:.4f} nats",
            "accuracy": "accuracy {:.1%}",
            "macro_f1": "F1 {:.3f}",
            "edit": "edit {:.1f}",
            "f1_at_50": "F1@50 {:.1f}",
            "span_f1": "span F1 {:.1%}",
            "span_precision": "precision {:.1%}",
            "span_recall": "recall {:.1%}",
        },
        next=("selfloop predict {run} FILE", "selfloop evaluate {run}"),
    ),
    "translate": TaskEntry(
        folder="selfloop.tasks.translate",
        config=options.TranslateConfig,
        about="Train a translator: a text goes in, and when it is read, another comes out.",
        examples={
            "selfloop train translate": "dates, from English to Hungarian",
            "selfloop train translate train.en train.de --minutes 60": "",
            "selfloop train translate train.en.gz train.de.gz --valid val.en.gz --valid-target val.de.gz": "",
            "selfloop train translate pairs.tsv --source-column en --target-column de": "",
            "selfloop train translate pairs.tsv --attention additive --beam 10": "",
        },
        usual=(
            *("source_column", "target_column", "valid_target", "test_target", "tokenizer", "lowercase"),
            *("attention", "folds", "skip_bad"),
        ),
        unit="token",
        figures={
            "loss": "{:.4f} nats/token",
            "perplexity": "perplexity {:.2f}",
            "bleu": "BLEU {:.2f}",
            "chrf": "chrF {:.2f}",
        },
        next=("selfloop predict {run} FILE", "selfloop evaluate {run}"),
        sources=("source", "target"),
    ),
    "caption": TaskEntry(
        folder="selfloop.tasks.caption",
        config=options.CaptionConfig,
        about="Train a captioner: an image goes in, a sentence about it comes out.",
        examples={
            "selfloop train caption": "drawn scenes of coloured shapes",
            "selfloop train caption photos/ --encoder efficientnet-lite0 --minutes 30": "",
            "selfloop train caption captions.csv --images photos.zip --encoder timm:resnet18": "",
            "selfloop train caption drawings/ --condition input --beam 10": "",
            "selfloop train caption photos/ --scheduled-sampling 0.2": "",
        },
        usual=("images", "image", "caption", "encoder", "condition", "folds", "skip_bad"),
        unit="token",
        figures={
            "loss": "{:.4f} nats/token",
            "perplexity": "perplexity {:.2f}",
            "bleu_1": "BLEU-1 {:.1f}",
            "bleu_2": "BLEU-2 {:.1f}",
            "bleu_3": "BLEU-3 {:.1f}",
            "bleu_4": "BLEU-4 {:.1f}",
            "cider": "CIDEr {:.2f}",
        },
        next=("selfloop predict {run} IMAGE", "selfloop evaluate {run}"),
    ),
}
