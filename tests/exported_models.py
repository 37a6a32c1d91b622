"""Models of every kind that there is native code for."""

import torch

import selfloop as sl
from selfloop import cells, models

STACKS = {
    "both directions": {"bidirectional": True},
    "residual": {"residual": True},
    "layer norm": {"layer_norm": True},
    "learnt start": {"learn_state": True},
    "all": {"bidirectional": True, "residual": True, "layer_norm": True, "learn_state": True},
}


def stack(**options):
    return sl.Recurrent(cells.lstm, 12, 6 if options.get("bidirectional") else 12, 3, **options)


def varied(module):
    """Weights of which none is 0."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(weight.numel()))
    return module


def sequence_models():
    torch.manual_seed(0)
    options = {"hidden_size": 19, "num_layers": 2}
    numbers = models.NumberEncoder(3)
    numbers.fit([1.0, 2.0, 3.0], [0.5, 1.0, 2.0])
    yield "lm", models.LanguageModel(23, cells.gru, embedding_size=9, **options)
    yield "tied lm", models.LanguageModel(23, cells.lstm, embedding_size=9, tied=True, **options)
    yield "tokens, a label each", models.ManyToMany(models.TokenEncoder(11, 5), cells.lstm, 4, **options)
    yield "numbers, both ways", models.ManyToMany(numbers, cells.gru, 4, bidirectional=True, **options)
    for pooling in ("last", "mean", "max", "attention"):
        for both in (False, True):
            model = models.ManyToOne(numbers, cells.lstm, 4, pooling=pooling, bidirectional=both, **options)
            yield f"{pooling}, {'both ways' if both else 'forward'}", model
    words = models.WordEncoder(11, 5, buckets=300)
    yield "words, a label each", models.ManyToMany(words, cells.lstm, 4, **options)
    yield "words, both ways", models.ManyToOne(words, cells.gru, 4, pooling="mean", bidirectional=True, **options)


EVERY = {
    **{
        name: lambda kw=kw: sl.Recurrent(cells.lstm, 12, 6 if "bidirectional" in kw else 12, 3, **kw)
        for name, kw in STACKS.items()
    },
    "further inputs": lambda: sl.Recurrent(cells.time_lstm, 5, 20, 2),
    **{name: lambda model=model: model for name, model in sequence_models()},
}
