"""Drawing a token from the answers of a language model."""

from selfloop.compiler.native.writer import Value, Variable, Writer

BISECTIONS = 32
"""Of the range of logits, in search of the k-th largest."""


def write_sample(w: Writer, name: str, size: int) -> None:
    """The function ``int32_t name(const float *logits, float temperature, int32_t top_k, uint32_t *seed)``.

    It gives a token by the softmax of logits / temperature, among the most probable; the first largest at 0.

    Random numbers are those of PCG RXS M XS 32 (O'Neill 2014).
    """
    given = [("floats", "logits"), ("float", "temperature"), ("int", "top_k"), ("words", "seed")]
    with w.function(name, given, result="int", is_public=True) as (
        logits,
        heat,
        top_k,
        seed,
    ):
        best, highest, lowest = w.variable(0), w.variable(w.one(logits)), w.variable(w.one(logits))
        with w.loop(size) as k:
            value = w.one(logits, k)
            with w.when(w.op("gt", value, highest.get())):
                highest.set(value)
                best.set(k)
            lowest.set(w.op("minimum", value, lowest.get()))
        with w.when(w.op("gt", heat, w.const(0.0))):
            with w.when(w.op("gt", top_k, 0)), w.when(w.op("lt", top_k, size)):
                _at_least(w, logits, size, top_k, lowest, highest.get())
            total = w.variable(0.0)
            with w.loop(size) as k:
                total.set(total.get() + _weight(w, logits, k, heat, highest.get(), lowest.get()))
            left = w.variable(_uniform(w, seed) * total.get())
            is_open = w.variable(1)
            with w.loop(size) as k:
                weight = _weight(w, logits, k, heat, highest.get(), lowest.get())
                left.set(left.get() - weight)
                with w.when(w.op("lt", left.get(), w.const(0.0))), w.when(w.op("eq", is_open.get(), 1)):
                    best.set(k)
                    is_open.set(0)
        w.give(best.get())


def _at_least(w: Writer, logits: Value, size: int, top_k: Value, low: Variable, high: Value) -> None:
    """Raises `low` to the k-th largest logit, by bisection."""
    upper = w.variable(high)
    with w.loop(BISECTIONS):
        middle = w.variable((low.get() + upper.get()) * w.const(0.5))
        above = w.variable(0)
        with w.loop(size) as k, w.when(w.op("ge", w.one(logits, k), middle.get())):
            above.set(above.get() + 1)
        with w.when(w.op("ge", above.get(), top_k)):
            low.set(middle.get())
        with w.when(w.op("lt", above.get(), top_k)):
            upper.set(middle.get())


def _weight(w: Writer, logits: Value, k: Value, heat: Value, highest: Value, lowest: Value) -> Value:
    value = w.one(logits, k)
    weight = w.op("exp", (value - highest) / heat)
    return w.op("where", w.op("ge", value, lowest), weight, w.const(0.0))


def _uniform(w: Writer, seed: Value) -> Value:
    """In [0, 1)."""
    state = w.variable(w.one(seed) * 747796405 + 2891336453)
    w.store_one(state.get(), seed)
    word = w.variable(((state.get() >> ((state.get() >> 28) + 4)) ^ state.get()) * 277803737)
    return w.to("float", ((word.get() >> 22) ^ word.get()) >> 8) * w.const(2.0**-24)
