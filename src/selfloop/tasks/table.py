"""The tasks, by name."""

from selfloop.tasks.classify import Classification, Classifier, ClassifyConfig
from selfloop.tasks.lm import LanguageModelConfig, LanguageModelling, TextModel
from selfloop.tasks.task import Kind

TASKS: dict[str, Kind] = {
    "lm": Kind(
        config=LanguageModelConfig,
        learner=LanguageModelling,
        opened=TextModel,
        unit="token",
        figures={
            "loss": "{:.4f} nats/token",
            "perplexity": "perplexity {:.2f}",
            "bits_per_character": "{:.3f} bits/char",
        },
        next=("selfloop generate {run}", "selfloop evaluate {run}"),
    ),
    "classify": Kind(
        config=ClassifyConfig,
        learner=Classification,
        opened=Classifier,
        unit="example",
        figures={"loss": "{:.4f} nats", "accuracy": "accuracy {:.2%}", "macro_f1": "macro F1 {:.3f}"},
        next=("selfloop predict {run} FILE", "selfloop evaluate {run}"),
    ),
}
