"""A session's state as bytes, and files of weights that belong to the code."""

from selfloop.compiler.native.model import HEAD, MAGIC, Model, form
from selfloop.compiler.native.writer import Value, Writer


def write_save(w: Writer, model: Model) -> None:
    """A session's state as bytes, behind the head of its weights; and back, if they are those of the same model."""
    first, size = next(iter(model.states)), sum(model.states.values())
    saved = [("weights", "w"), ("state", "s"), ("words", "saved")]
    with w.function(f"{model.name}_save", saved, is_public=True) as (weights, state, to):
        _copy_words(w, w.field(weights, "head"), to, HEAD)
        _copy_words(w, w.cast(w.field(state, first), "words"), w.at(to, HEAD), size)
    loaded = [("weights", "w"), ("state", "s"), ("constant_words", "saved")]
    with w.function(f"{model.name}_load", loaded, result="int", is_public=True) as (weights, state, given):
        head, is_other = w.field(weights, "head"), w.variable(0)
        with w.loop(HEAD) as k, w.when(w.op("gt", w.one(head, k) ^ w.one(given, k), 0)):
            is_other.set(1)
        with w.when(w.op("eq", is_other.get(), 0)):
            _copy_words(w, w.at(given, HEAD), w.cast(w.field(state, first), "words"), size)
        w.give(is_other.get())


def write_check(w: Writer, model: Model) -> None:
    """0 if a file holds weights of this model, 1 if of another, 2 if it is too short."""
    given = [("constant_words", "file"), ("word", "bytes")]
    with w.function(f"{model.name}_check", given, result="int", is_public=True) as (head, size):
        wrong = w.variable(2)
        with w.when(w.op("ge", size, 4 * HEAD)):
            wrong.set(0)
            with w.when(w.op("lt", size, w.one(head, 5))):
                wrong.set(2)
            for place, word in enumerate((MAGIC, *form(model, w.kind))):
                with w.when(w.op("gt", w.one(head, place) ^ word, 0)):
                    wrong.set(1)
        w.give(wrong.get())


def _copy_words(w: Writer, source: Value, to: Value, count: int) -> None:
    with w.loop(count) as k:
        w.store_one(w.one(source, k), to, k)
