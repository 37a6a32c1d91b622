import numpy as np
import pytest
import torch
from accelerate import Accelerator
from unit.training.toy import Watcher

from selfloop.config import parse
from selfloop.errors import ArgumentError, DataError
from selfloop.options import TranslateConfig
from selfloop.tasks import load
from selfloop.tasks.translate import Translation, Translator
from selfloop.training import Run, train

WORDS = {"one": "een", "two": "twee", "red": "rode", "green": "groene", "dog": "hond", "cat": "kat"}


@pytest.fixture
def make_task(tmp_path):
    """Sentences of one to three words, whose translation is word by word, backwards."""

    def make(steps=200, model=None, training=None, loss=None, extra=(), **data):
        draw = np.random.default_rng(0)
        english = [draw.choice([*WORDS], size=draw.integers(1, 4)).tolist() for _ in range(400)]
        dutch = [[WORDS[word] for word in words[::-1]] for words in english]
        source, target = tmp_path / "train.en", tmp_path / "train.nl"
        source.write_text("".join(" ".join(words) + "\n" for words in [*english, *(e for e, _ in extra)]))
        target.write_text("".join(" ".join(words) + "\n" for words in [*dutch, *(d for _, d in extra)]))
        dropouts = {"input_dropout": 0.0, "output_dropout": 0.0}
        values = {
            "data": {"source": str(source), "target": str(target), "tokenizer": "word", "max_length": 12, **data},
            "model": {"embedding_size": 16, "hidden_size": 32, **dropouts, **(model or {})},
            "loss": loss or {},
            "training": {
                "steps": steps, "batch_size": 32, "learning_rate": 0.01, "validations": 2, **(training or {})
            },
        }  # fmt: skip
        return Translation(parse(TranslateConfig, values, "test"))

    return make


@pytest.fixture
def trained(make_task, tmp_path, silent):
    def make(**options):
        task = make_task(**options)
        run = Run.create(tmp_path / "run", "translate", task.config.model_dump(mode="json"))
        task.save(run)
        train(task, run, task.config.training, Accelerator(cpu=True), silent)
        run.load_model(task.model)  # the best weights
        return task, run

    return make


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"shared_vocabulary": False}, 95),
        ({"model": {"cell": "gru", "attention": "dot"}}, 95),
        ({"tokenizer": "bpe", "vocab_size": 300, "steps": 5}, 0),
        ({"model": {"attention": "additive", "input_feeding": True, "tied": False}, "steps": 40}, 0),
        ({"model": {"attention": "none"}, "steps": 5}, 0),
    ],
    ids=str,
)
def test_words_backwards_are_learnt_and_told_by_a_loaded_run(trained, options, least):
    task, run = trained(**options)
    loaded = load(run.path)
    assert isinstance(loaded, Translator)
    pairs = loaded.parts()["valid"]
    score = loaded.score(pairs)
    metrics = score.metrics()
    assert list(metrics) == ["loss", "perplexity", "bleu", "chrf"]
    assert metrics["chrf"] >= least
    assert score.count == sum(len(text.split()) + 1 for text in pairs.labels) or "tokenizer" in options
    assert metrics["loss"] == pytest.approx(task.validate(task.model)["loss"], rel=1e-5)
    if least:
        assert [found.translation for found in loaded.predict(["red dog", "two"])] == ["hond rode", "twee"]
    signature = score.signatures["bleu_signature"]
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_the_loss_is_that_of_the_truth_and_shares_make_it_up(make_task):
    task = make_task(loss={"label_smoothing": 0.0})
    task.model.eval()
    whole, targets, carry = task.loss(task.model, 1, slice(None), None)
    rows = task._batches.rows(0, 1)
    known = task.opened().surprise([task._sources[r] for r in rows], [task._targets[r] for r in rows])
    assert (targets, carry) == (known.tokens, None)
    assert whole.item() == pytest.approx(known.loss, rel=1e-5)
    halves = [task.loss(task.model, 1, share, None)[0] for share in (slice(0, 16), slice(16, 32))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_padding_changes_nothing(make_task):
    task = make_task()
    translator = task.opened()
    texts = task.dataset.valid.inputs[:5]
    together = translator.predict(texts)
    alone = [translator.predict([text])[0] for text in texts]
    assert [found.translation for found in together] == [found.translation for found in alone]
    assert [found.log_probability for found in together] == pytest.approx(
        [found.log_probability for found in alone], abs=1e-4
    )


def test_lower_case_is_that_of_the_vocabulary_and_of_the_score(make_task):
    extra = [(["RED", "DOG"], ["HOND", "RODE"])] * 3
    with_case, without = make_task(extra=extra), make_task(extra=extra, lowercase=True)
    assert with_case.inputs.source.vocab_size > without.inputs.source.vocab_size
    translator = without.opened()
    part = without.dataset.valid
    assert "|case:lc|" in translator.score(part, sample=10).signatures["bleu_signature"]
    assert translator.predict(["RED dog"])[0].translation == translator.predict(["red DOG"])[0].translation


def test_what_is_too_long_is_left_out_of_training_and_counted(make_task):
    task = make_task(extra=[(["dog"] * 12, ["hond"]), (["dog"], ["hond"] * 30)] * 5, valid_fraction=0.3)
    left_out = len(task.bad.found)
    assert 0 < left_out <= 10
    assert f"{left_out} longer than 12 tokens" in task.summary()
    assert len(task._sources) == len(task.dataset.train) - left_out
    assert {reason for _, reason in task.bad.found} <= {
        "has 13 tokens, where data.max_length is 12",
        "has 31 tokens, where data.max_length is 12",
    }


def test_pairs_that_are_all_too_long_are_refused(make_task, tmp_path):
    (tmp_path / "long.en").write_text("a b c\nd e f\ng h i\n")
    long = str(tmp_path / "long.en")
    with pytest.raises(DataError, match=r"training pairs of long are longer than 2 tokens: raise data\.max_length"):
        make_task(max_length=2, source=long, target=long)


def test_a_text_without_words_is_translated_by_nothing(make_task):
    found = make_task().opened().predict(["", "red", "  "])
    assert [(one.place, one.source, one.translation == "") for one in found][::2] == [
        ("text 0", "", True),
        ("text 2", "  ", True),
    ]


def test_a_beam_finds_what_is_no_less_probable(trained):
    _, run = trained(steps=30)
    loaded = load(run.path)
    texts = loaded.parts()["valid"].inputs
    greedy, wide = (loaded.predict(texts, beam=beam, length_penalty=0.0) for beam in (1, 8))
    assert sum(f.log_probability for f in wide) >= sum(f.log_probability for f in greedy)
    with pytest.raises(ArgumentError, match="The 'beam' and 'max_tokens' must be at least 1"):
        loaded.predict(["red"], beam=0)


def test_an_alignment_is_a_row_of_weights_for_each_token(make_task):
    translator = make_task().opened()
    weights, source, target = translator.align("red dog", "hond rode")
    assert (source, target) == (["red", "dog", "\n"], ["hond", "rode", "\n"])
    assert weights.sum(1) == pytest.approx(np.ones(3), abs=1e-5)
    with pytest.raises(ArgumentError, match="without attention has no weights"):
        make_task(model={"attention": "none"}).opened().align("red dog", "hond rode")


def test_a_score_has_alignments_from_short_to_long(make_task):
    task = make_task()
    shown = task.opened().score(task.dataset.valid).alignments
    lengths = [len(alignment.source_tokens) for alignment in shown]
    assert 2 <= len(lengths) <= 4
    assert lengths == sorted(lengths)
    assert make_task(model={"attention": "none"}).opened().score(task.dataset.valid).alignments is None


def test_a_picture_tells_the_beginnings_of_words(make_task):
    inputs = make_task(tokenizer="bpe", vocab_size=300).inputs
    shown = inputs.shown(inputs.source, inputs.read(["greenish dog"])[0].tolist())
    assert shown == ["green", "·i", "·s", "·h", "dog", "\n"]


def test_the_pairs_decide_the_facts(make_task):
    one, same, other = make_task(), make_task(), make_task(extra=[(["dog"], ["kat"])])
    assert one.facts() == same.facts() != other.facts()


def test_a_sample_judges_about_so_many_tokens(make_task):
    task = make_task()
    score = task.opened().score(task.dataset.valid, sample=20)
    assert 10 <= score.count <= 45


def test_held_out_texts_are_shown_with_their_translation(make_task):
    task = make_task()
    (shown,) = task.opened().sample().values()
    assert shown.splitlines()[::2] == task.dataset.valid.inputs[:3]


def test_stopped_and_resumed_it_ends_with_the_same_bits(make_task, tmp_path, silent):
    options = {"steps": 30, "model": {"input_dropout": 0.2, "output_dropout": 0.2}, "shared_vocabulary": False}
    whole, halves = make_task(**options), make_task(**options)
    runs = [Run.create(tmp_path / name, "translate", whole.config.model_dump(mode="json")) for name in ("whole", "run")]
    for task, run in zip((whole, halves), runs, strict=True):
        task.save(run)
    training = whole.config.training
    train(whole, runs[0], training, Accelerator(cpu=True), silent)
    train(halves, runs[1], training, Accelerator(cpu=True), Watcher(stop_at=13))
    again = Translation.resume(halves.config, runs[1], None)
    train(again, runs[1], training, Accelerator(cpu=True), silent, resumed=True)
    for mine, theirs in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_one_text_alone_is_one_example(make_task, tmp_path):
    opened = make_task().opened()
    assert opened.predict("red dog") == opened.predict(["red dog"])
    (tmp_path / "new.en").write_text("red dog\n\none\n")
    assert [found.source for found in opened.predict(tmp_path / "new.en")] == ["red dog", "", "one"]
    for given in (3, [3], np.zeros(3), {"a": "b"}):
        with pytest.raises(ArgumentError, match=r"The 'examples' of predict must be texts .* Got .* instead"):
            opened.predict(given)
