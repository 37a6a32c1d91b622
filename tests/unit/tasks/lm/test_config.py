import pytest

from selfloop.cells import ZOO
from selfloop.config import parse
from selfloop.data import Tokenizer
from selfloop.errors import ConfigError
from selfloop.models import LanguageModel
from selfloop.options import LanguageModelConfig
from selfloop.tasks.lm import TextModel


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        *(("data", "valid_fraction", value) for value in (0, 1, -0.1)),
        ("data", "tokenizer", "letters"),
        ("data", "vocab_size", 1),
        ("data", "window", 0),
        ("data", "valid_tokens", 0),
        *(("model", size, 0) for size in ("embedding_size", "hidden_size", "num_layers")),
        *(
            ("model", f"{place}_dropout", value)
            for place in ("embedding", "input", "hidden", "output")
            for value in (1, -0.1)
        ),
        ("model", "weight_drop", 1),
        ("model", "sizes", {"p": "many"}),
        ("model", "hidden_size", 2.5),
    ],
)
def test_a_value_out_of_its_range_is_named(section, name, value):
    with pytest.raises(ConfigError, match=f"^mine.toml sets '{section}.{name}.*' wrongly: .* Got .* instead.$"):
        parse(LanguageModelConfig, {section: {name: value}}, "mine.toml")


def test_an_unknown_field_offers_the_nearest():
    with pytest.raises(ConfigError, match=r"sets 'model.hiden_size', which does not exist; did you mean 'hidden_size'"):
        parse(LanguageModelConfig, {"model": {"hiden_size": 2}}, "mine.toml")


def test_every_model_option_reaches_the_model(monkeypatch):
    options = LanguageModelConfig().model.model_copy(
        update={
            "embedding_size": 6,
            "hidden_size": 5,
            "num_layers": 2,
            "tied": True,
            "weight_drop": 0.3,
            "sizes": {"p": 3},
            "embedding_dropout": 0.4,
            "input_dropout": 0.5,
            "hidden_dropout": 0.6,
            "output_dropout": 0.7,
            "variational": True,
            "backend": "torch",
        }
    )
    model = TextModel.build(options, Tokenizer.train("char", ["abcdefghi"]), ZOO["projected_lstm"])
    assert isinstance(model, LanguageModel)
    rnn = model.rnn
    assert (model.vocab_size, rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.output_size) == (11, 6, 5, 2, 3)
    assert (rnn.weight_drop, rnn.backend, rnn.sizes) == (0.3, "torch", {"p": 3})
    dropouts = (model.embedding, model.input_dropout, rnn.dropout, model.output_dropout)
    assert [dropout.rate for dropout in dropouts] == [0.4, 0.5, 0.6, 0.7]
    assert model.readout.weight is model.embedding.embedding.weight
