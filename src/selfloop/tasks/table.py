"""The tasks, by name."""

from selfloop.options import CONFIGS
from selfloop.tasks.caption import Captioner, Captioning
from selfloop.tasks.classify import Classification, Classifier
from selfloop.tasks.label import Labeller, Labelling
from selfloop.tasks.lm import LanguageModelling, TextModel
from selfloop.tasks.task import TaskEntry
from selfloop.tasks.translate import Translation, Translator

TASKS: dict[str, TaskEntry] = {
    "lm": TaskEntry(
        config=CONFIGS["lm"],
        learner=LanguageModelling,
        opened=TextModel,
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
        config=CONFIGS["classify"],
        learner=Classification,
        opened=Classifier,
        unit="example",
        figures={"loss": "{:.4f} nats", "accuracy": "accuracy {:.2%}", "macro_f1": "macro F1 {:.3f}"},
        next=("selfloop predict {run} FILE", "selfloop evaluate {run}"),
    ),
    "label": TaskEntry(
        config=CONFIGS["label"],
        learner=Labelling,
        opened=Labeller,
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
        config=CONFIGS["translate"],
        learner=Translation,
        opened=Translator,
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
        config=CONFIGS["caption"],
        learner=Captioning,
        opened=Captioner,
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
