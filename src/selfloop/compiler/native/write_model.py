"""The functions of a whole model: what stands before a recurrent stack, the stack, and what stands after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfloop.compiler.lower import lower
from selfloop.compiler.lower.step import Submatrix
from selfloop.compiler.native.model import Layer, Linear, Model, Pass
from selfloop.compiler.native.sample import write_sample
from selfloop.compiler.native.saved import write_check, write_save
from selfloop.compiler.native.spelling import read_row, write_word
from selfloop.compiler.native.step import write_step
from selfloop.compiler.native.weights import Vector, WeightLayout
from selfloop.compiler.native.writer import Products, Value, Writer

INPUTS = {"token": ("int", "token"), "word": ("constant_words", "word"), "numbers": ("floats", "x")}
SEQUENCES = {"token": ("ints", "tokens"), "word": ("constant_words", "words"), "numbers": ("floats", "x")}
"""Kinds and names of the parameter for a step's input, and for that of a whole run, by what a model reads."""

LOWEST = -3.0e38


@dataclass
class ModelWriter:
    """Writes the functions of a model.

    Attributes:
        model: what is written.
        writer: of the code.
        layout: of the weights, filled as code is written.
    """

    model: Model
    writer: Writer
    layout: WeightLayout

    def write(self) -> None:
        """All of them: layers, the step or the run, the state's and the weights' care."""
        model = self.model
        self._layers()
        self._readouts()
        if model.is_two_way:
            self._run_both_ways()
        else:
            self._reset()
            self._step()
            self._run()
            write_save(self.writer, model)
        write_check(self.writer, model, self.layout.words)
        if model.samples:
            write_sample(self.writer, f"{model.name}_sample", model.output_size)

    # Parts

    @property
    def _pointers(self) -> list[tuple[str, str]]:
        return [("floats", "w"), *([(self.layout.form, "q")] if self.layout.form != "f32" else [])]

    def _weights(self, given: Value) -> list[Value]:
        """The arguments for `_pointers` from the struct of weights."""
        return [self.writer.field(given, "f" if name == "w" else "q") for _, name in self._pointers]

    def _call(self, name: str, *arguments: Value) -> None:
        self.writer.call(f"{self.model.name}_{name}", *arguments)

    def _layers(self) -> None:
        for layer in self.model.layers:
            for one in layer.passes:
                lowered = lower(one.graph, one.sizes, hoist_above=None)
                step = one.graph.per_step
                shapes = {p: [size.value(one.sizes) for size in step.shape(p)] for p in step.params}
                vectors = {p: (shape or [1])[0] for p, shape in shapes.items() if len(shape) < 2}
                part = self.layout.part(f"{one.name}.")
                write_step(self.writer, f"{self.model.name}_{one.name}", lowered.infer, lowered.states, vectors, part)
            if layer.norm is not None:
                self._norm(layer)

    def _norm(self, layer: Layer) -> None:
        """``void NAME_norm_LAYER(w, y)``: (y - mean) / deviation, times a weight, plus a bias."""
        w, part, size = self.writer, self.layout.part(f"norm_{layer.passes[0].name}."), layer.size
        weight, bias = part.vector("weight", size), part.vector("bias", size)
        with w.function(f"{self.model.name}_norm_{layer.passes[0].name}", [("floats", "w"), ("room", "y")]) as (f, y):
            total = w.sweep(size, [0.0], lambda u, s: [s[0] + w.one(y, u)])[0]
            mean = w.variable(total * w.const(1 / size))
            held = w.room("held", 2)
            w.store_one(mean.get(), held, 0)

            def squared(u: Value, s: list[Value]) -> list[Value]:
                off = w.one(y, u) - w.one(held, 0)
                return [s[0] + off * off]

            variance = w.sweep(size, [0.0], squared)[0] * w.const(1 / size)
            w.store_one(w.const(1.0) / w.op("sqrt", variance + w.const(layer.norm or 0.0)), held, 1)

            def scaled(u: Value, _: list[Value]) -> None:
                normal = (w.load(y, u) - w.one(held, 0)) * w.one(held, 1)
                w.store(normal * w.load(w.at(f, weight), u) + w.load(w.at(f, bias), u), y, u)

            w.each(size, scaled)

    def _readouts(self) -> None:
        own = [*self.model.readouts]
        if self.model.pooling == "attention":
            size = self.model.layers[-1].size
            own += [Linear("score", size, size)]
        for linear in own:
            self._linear_function(linear)
        if self.model.pooling == "attention":
            self.attention = self.layout.part("").vector("attention", size)

    def _linear_function(self, linear: Linear) -> None:
        """``void NAME_READOUT(w, x, y)``: y = W x + b."""
        w, part = self.writer, self.layout.part(f"{linear.name}.")
        parameters = [*self._pointers, ("floats", "x"), ("room", "y")]
        with w.function(f"{self.model.name}_{linear.name}", parameters) as given:
            bias = part.vector("bias", linear.outputs)
            lanes = w.lanes(linear.outputs, 1)
            panel = part.panel(((Submatrix("weight", 0, 0),),), (linear.inputs,), linear.outputs, lanes)
            f, x, y = given[0], given[-2], given[-1]
            codes = given[1] if self.layout.form != "f32" else None
            w.each(
                linear.outputs,
                lambda u, sums: w.store(sums[0] + w.load(w.at(f, bias), u), y, u),
                [Products(panel, f, codes, [x])],
            )

    # One step

    def _front(self, weights: Value, given: Value, x: Value) -> None:
        """From what a step is given to what layer 0 reads."""
        w, model = self.writer, self.model
        if model.vocabulary:
            w.comment("The vector of the token; a number that is no token's counts as 0.")
            known = w.variable(0)
            with w.when(w.op("ge", given, 0)), w.when(w.op("lt", given, model.vocabulary)):
                known.set(given)
            pointers = self._weights(weights)
            row = read_row(w, pointers[0], pointers[-1], self._table, known.get)
            w.each(model.input_size, lambda u, _: w.store(row(u), x, u))
        elif model.spelling is not None:
            self._call("word", *self._weights(weights), given, x)
        elif model.is_standardised:
            w.comment("(x - mean) / deviation of the training data.")
            f = self._weights(weights)[0]
            mean, rate = (w.at(f, self._standard[name]) for name in ("mean", "rate"))
            w.each(
                model.input_size,
                lambda u, _: w.store((w.load(given, u) - w.load(mean, u)) * w.load(rate, u), x, u),
            )
        else:
            w.copy(given, x, model.input_size + model.further)

    def _front_weights(self) -> None:
        model, part = self.model, self.layout.part("front.")
        if model.vocabulary:
            self._table: Vector = part.table("table", model.vocabulary, model.input_size)
        elif model.spelling is not None:
            write_word(self.writer, f"{model.name}_word", model.spelling, model.input_size, self._pointers, part)
        elif model.is_standardised:
            self._standard = {name: part.vector(name, model.input_size) for name in ("mean", "rate")}

    def _layer(self, weights: Value, one: Pass, x: Value, states: Sequence[Value]) -> None:
        self._call(one.name, *self._weights(weights), x, *states)

    def _after(self, weights: Value, layer: Layer, below: Value, y: Value) -> None:
        """What follows a layer: the residual, and the norm."""
        w = self.writer
        if layer.adds_input:
            w.each(layer.size, lambda u, _: w.store(w.load(y, u) + w.load(below, u), y, u))
        if layer.norm is not None:
            self._call(f"norm_{layer.passes[0].name}", self._weights(weights)[0], y)

    def _answer(self, weights: Value, h: Value, y: Value) -> None:
        """From a vector to an answer."""
        w, readouts = self.writer, self.model.readouts
        if not readouts:
            w.copy(h, y, self.model.output_size)
            return
        for number, linear in enumerate(readouts):
            is_last = number == len(readouts) - 1
            to = y if is_last else w.room(f"between{number}", linear.outputs)
            self._call(linear.name, *self._weights(weights), h, to)
            h = to

    def _at_step(self, given: Value, t: Value) -> Value:
        """The input of a step of a run."""
        return self.writer.one(given, t) if self.model.vocabulary else self.writer.at(given, t * self.model.numbers)

    def _step(self) -> None:
        model, w = self.model, self.writer
        self._front_weights()
        parameters = [("weights", "w"), ("state", "s"), INPUTS[model.reads], ("room", "y")]
        with w.function(f"{model.name}_step", parameters, is_public=True) as (weights, state, given, y):
            further = w.at(given, model.input_size) if model.further else None
            x = w.room("x0", model.input_size + model.further)
            self._front(weights, given, x)
            below = x
            for number, layer in enumerate(model.layers):
                (one,) = layer.passes
                w.comment(f"Layer {number}.")
                states = [w.field(state, f"{name}_{one.name}") for name in one.states]
                self._layer(weights, one, below, states)
                is_last = number == len(model.layers) - 1
                if not layer.adds_input and layer.norm is None and (is_last or further is None):
                    below = states[0]
                    continue
                above = w.room(f"x{number + 1}", layer.size + model.further)
                w.copy(states[0], above, layer.size)
                self._after(weights, layer, below, above)
                if further is not None:
                    w.copy(further, w.at(above, layer.size), model.further)
                below = above
            w.comment("The answer.")
            if model.pooling:
                fields = {name: w.field(state, name) for name in model.pooled}
                self._pool(weights, below, fields)
                with w.when(w.is_given(y)):
                    self._answer(weights, self._of_pool(fields), y)
            else:
                with w.when(w.is_given(y)):
                    self._answer(weights, below, y)

    # Pooling

    def _pool(self, weights: Value, h: Value, kept: Mapping[str, Value]) -> None:
        """One more step."""
        w, size, kind = self.writer, self.model.layers[-1].size, self.model.pooling
        pooled = kept["pooled"]
        if kind == "last":
            w.copy(h, pooled, size)
        elif kind in ("mean", "max"):
            op = "add" if kind == "mean" else "maximum"
            w.each(size, lambda u, _: w.store(w.op(op, w.load(pooled, u), w.load(h, u)), pooled, u))
            w.store_one(w.one(kept["pooled_steps"]) + w.const(1.0), kept["pooled_steps"])
        else:  # softmax over the steps so far, as Milakov and Gimelshein 2018 compute it in one pass
            hidden = w.room("score", size)
            self._call("score", *self._weights(weights), h, hidden)
            attention = w.at(self._weights(weights)[0], self.attention)
            score = w.sweep(size, [0.0], lambda u, s: [s[0] + w.op("tanh", w.one(hidden, u)) * w.one(attention, u)])[0]
            before = w.one(kept["pooled_score"])
            highest = w.op("maximum", before, score)
            factors = w.room("factors", 2)
            w.store_one(w.op("exp", before - highest), factors, 0)
            w.store_one(w.op("exp", score - highest), factors, 1)
            w.store_one(highest, kept["pooled_score"])
            total = w.one(kept["pooled_weight"]) * w.one(factors, 0) + w.one(factors, 1)
            w.store_one(total, kept["pooled_weight"])
            w.each(
                size,
                lambda u, _: w.store(
                    w.load(pooled, u) * w.one(factors, 0) + w.load(h, u) * w.one(factors, 1), pooled, u
                ),
            )

    def _of_pool(self, kept: Mapping[str, Value]) -> Value:
        """The vector that stands for all steps so far; zeros before the first."""
        w, size, kind = self.writer, self.model.layers[-1].size, self.model.pooling
        if kind == "last":
            return kept["pooled"]
        total = {"mean": "pooled_steps", "max": "pooled_steps", "attention": "pooled_weight"}[kind or ""]
        vector, pooled = w.room("vector", size), kept["pooled"]

        def divided(u: Value, _: list[Value]) -> None:
            value, n = w.load(pooled, u), w.one(kept[total])
            is_there = w.op("gt", n, w.const(0.0))
            shown = value if kind == "max" else value / w.op("where", is_there, n, w.const(1.0))
            w.store(w.op("where", is_there, shown, w.const(0.0)), vector, u)

        w.each(size, divided)
        return vector

    def _empty_pool(self, kept: Mapping[str, Value]) -> None:
        w = self.writer
        for name, pointer in kept.items():
            is_lowest = name == "pooled_score" or (name == "pooled" and self.model.pooling == "max")
            w.fill(pointer, self.model.pooled[name], LOWEST if is_lowest else 0.0)

    # Sessions

    def _starts(self, weights: Value, one: Pass, states: Mapping[str, Value]) -> None:
        """Where a layer begins."""
        w = self.writer
        for name, size in one.states.items():
            if self.model.starts_learnt:
                start = self._start[f"{one.name}.{name}"]
                w.copy(w.at(self._weights(weights)[0], start), states[name], size)
            else:
                w.fill(states[name], size, 0.0)

    def _start_weights(self) -> None:
        part = self.layout.part("start.")
        self._start = {
            f"{one.name}.{name}": part.vector(f"{one.name}.{name}", size)
            for layer in self.model.layers
            for one in layer.passes
            for name, size in one.states.items()
            if self.model.starts_learnt
        }

    def _reset(self) -> None:
        w, model = self.writer, self.model
        self._start_weights()
        with w.function(f"{model.name}_reset", [("weights", "w"), ("state", "s")], is_public=True) as (weights, state):
            for layer in model.layers:
                for one in layer.passes:
                    self._starts(weights, one, {n: w.field(state, f"{n}_{one.name}") for n in one.states})
            self._empty_pool({name: w.field(state, name) for name in model.pooled})

    def _run(self) -> None:
        """Step after step; with pooling, one answer after the last."""
        w, model = self.writer, self.model
        parameters = [("weights", "w"), ("state", "s"), SEQUENCES[model.reads], ("room", "y"), ("int", "steps")]
        function = w.function(f"{model.name}_run", parameters, is_public=True)
        with function as (weights, state, given, y, steps), w.loop(steps) as t:
            x = self._at_step(given, t)
            is_last = w.op("eq", t, steps - 1)
            own = w.pointer_if(is_last, y) if model.pooling else w.at(y, t * model.output_size)
            self._call("step", weights, state, x, own)

    # Two directions

    def _run_both_ways(self) -> None:
        """The whole sequence, layer after layer, in the caller's room."""
        w, model = self.writer, self.model
        self._front_weights()
        self._start_weights()
        width = model.width
        parameters = [("weights", "w"), ("room", "room"), SEQUENCES[model.reads], ("room", "y"), ("int", "steps")]
        with w.function(f"{model.name}_run", parameters, is_public=True) as (weights, room, given, y, steps):
            read, write = room, w.at(room, steps * width)
            with w.loop(steps) as t:
                self._front(weights, self._at_step(given, t), w.at(read, t * width))
            for number, layer in enumerate(model.layers):
                w.comment(f"Layer {number}: forward from the first step, backward from the last.")
                first = 0
                for one in layer.passes:
                    states = {name: w.room(f"{name}_{one.name}", size) for name, size in one.states.items()}
                    self._starts(weights, one, states)
                    with w.loop(steps, is_reversed=one.name.endswith("_reverse")) as t:
                        self._layer(weights, one, w.at(read, t * width), list(states.values()))
                        output = next(iter(states.values()))
                        w.copy(output, w.at(write, t * width + first), one.output)
                    first += one.output
                is_last = number == len(model.layers) - 1
                if layer.adds_input or layer.norm is not None or (model.further and not is_last):
                    with w.loop(steps) as t:
                        here, below = w.at(write, t * width), w.at(read, t * width)
                        self._after(weights, layer, below, here)
                        if model.further and not is_last:
                            below_size = model.input_size if number == 0 else model.layers[number - 1].size
                            w.copy(w.at(below, below_size), w.at(here, layer.size), model.further)
                read, write = write, read
            w.comment("The answers.")
            self._answers_both_ways(weights, read, y, steps)

    def _answers_both_ways(self, weights: Value, read: Value, y: Value, steps: Value) -> None:
        w, model = self.writer, self.model
        if model.pooling is None:
            with w.loop(steps) as t:
                self._answer(weights, w.at(read, t * model.width), w.at(y, t * model.output_size))
            return
        kept = {name: w.room(name, size) for name, size in model.pooled.items()}
        self._empty_pool(kept)
        if model.pooling == "last":  # where each direction ends
            forward = model.layers[-1].passes[0].output
            with w.when(w.op("gt", steps, 0)):
                w.copy(w.at(read, (steps - 1) * model.width), kept["pooled"], forward)
                w.copy(w.at(read, forward), w.at(kept["pooled"], forward), model.layers[-1].size - forward)
        else:
            with w.loop(steps) as t:
                self._pool(weights, w.at(read, t * model.width), kept)
        self._answer(weights, self._of_pool(kept), y)
