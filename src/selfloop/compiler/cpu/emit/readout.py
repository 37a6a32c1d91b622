"""Linear readout, softmax and cross-entropy with its gradient, for a block of rows whose logits a cache holds.

Functions, called one after another, each by all threads with one argument block:

    round_weight     W in bfloat16, where products are made in it
    logits           L = W Xᵀ + b: a row of L is an output, a lane a row of the block
    result           L in rows, as predictions need it
    softmax          the loss of each row; L becomes its gradient
    input_gradient   dX = Lᵀ W
    weight_gradient  dW = L X, and db, the sums of the rows of L

L is transposed, so that no product needs W in another order than a `Linear` keeps it in, and kept as
[vector][output][lane]; what lies beyond the block's last row means nothing. X is packed twice, in panels as wide as a
register tile: as [panel][feature][lane] for the logits and, in panels of features, as [panel][row][lane] for dW. Each
sum is made in one order, whatever the threads share, so results have the same bits for any number of them.

In bfloat16, a sum is over pairs (see `bfloat16`): X is packed as pairs of features and as pairs of rows. Where the
logits of two outputs were, there is then the gradient of both: as pairs of outputs, [lane], for dX; and as the numbers
of one and then of the other, of which two lanes make a pair of rows, for dW.
"""

from collections.abc import Callable, Sequence
from functools import partial

from llvmlite import ir

from selfloop.compiler.cpu.emit.bfloat16 import interleaved, pair_products, paired, rounded, rounded_both
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.mathematics import exp, logarithm
from selfloop.compiler.cpu.emit.transpose import transposed
from selfloop.compiler.cpu.emit.vectors import I16, I32, POINTER
from selfloop.compiler.cpu.targets import PairProducts, Target

READOUT_SIZES = (
    *("begin", "end", "first_panel", "end_panel", "at_once"),
    *("rows", "outputs", "features", "weight_stride", "logits_stride", "is_first"),
)
"""The numbers at the start of the argument block.

    begin, end              the tiles of this thread: of outputs for `round_weight`, `logits` and `weight_gradient`, of
                            rows for `input_gradient`; for `softmax` and `result` its vectors of rows
    first_panel, end_panel  its panels: of rows for `logits`, of features for the gradients, vectors of outputs for
                            `result`
    at_once                 tiles of outputs whose rows a cache holds while all panels pass by
    rows, outputs, features the sizes: n, V, K
    weight_stride           the elements from one row of W to the next
    logits_stride           the vectors from one [output][lane] of L to the next
    is_first                whether dW and db start with this block, rather than being added to
"""

READOUT_ADDRESSES = (
    *("weight", "rounded", "bias", "by_feature", "by_row", "logits", "class_weights", "dweight", "dbias"),
    *("label", "target", "spread", "scale", "loss", "dx", "result"),
)
"""The addresses that follow.

    weight, rounded, bias   W[V, K], W in bfloat16 with rows of whole vectors of pairs, and b[V]
    by_feature, by_row      X, packed as above
    logits                  L
    class_weights           w[V]
    dweight, dbias          dW[V, K] and db[V]
    label                   the class of each row, an int64
    target, spread, scale   for each row, what the class itself weighs, what each class does for label smoothing before
                            it is multiplied by w, and the sum of both over all classes
    loss                    for each row
    dx                      dX[n, K]
    result                  L, transposed: [n, V]
"""

POWERS_PER_SUM = 128
"""Exponentials that are summed one after another."""

CHUNK = 256
"""Outputs in a chunk of dX's sum, or pairs of them, whose rows of W are copied side by side."""


def emit_readout(module: ir.Module, target: Target, bits: int, bfloat16: PairProducts | None = None) -> None:
    """Write the functions."""
    for name, write in (
        *([("round_weight", _Readout.round_weight)] if bfloat16 else ()),
        ("logits", _Readout.logits),
        ("result", _Readout.result),
        ("softmax", _Readout.softmax),
        ("input_gradient", _Readout.input_gradient),
        ("weight_gradient", _Readout.weight_gradient),
    ):
        f = _Readout(module, name, target, bits, bfloat16)
        write(f)
        f.finish()


_Values = list[ir.Value]

Places = Callable[[ir.Value], list[ir.Value]]
"""From the number of a term of a sum, where each row of a tile has its factor."""

Epilogue = Callable[[list[list[ir.Value]]], None]
"""Takes the sums of a tile, by row and vector."""

UNROLL = 4


class _Readout(Function):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int, bfloat16: PairProducts | None) -> None:
        super().__init__(module, name, target, bits)
        self.at_once = 2 if bfloat16 else 1  # terms of a sum
        self.multiply_add = partial(pair_products, self) if bfloat16 else self.vectors.fma
        self.width, self.height = target.columns, target.rows(target.columns)
        self.lanes = self.width * self.vectors.lanes
        self.given = {key: self.argument(k) for k, key in enumerate((*READOUT_SIZES, *READOUT_ADDRESSES))}

    def address_of(self, key: str) -> ir.Value:
        """An address of the block."""
        return self.builder.inttoptr(self.given[key], POINTER)

    def steps(self, terms: ir.Value) -> ir.Value:
        """How many steps a sum of so many terms takes."""
        return self.builder.sdiv(self.plus(terms, self.at_once - 1), self.index(self.at_once))

    # The functions

    def round_weight(self) -> None:
        """Row by row of W."""
        given, lanes = self.given, self.vectors.lanes
        source, pitch, result, wide = *self.lines_of_weight(False), *self.lines_of_weight(True)
        begin, end = (self.least(self.times(given[key], self.height), given["outputs"]) for key in ("begin", "end"))
        with self.loop(begin, end) as row, self.loop(0, given["features"], lanes) as k:
            value = self.load(self.at(source, self.plus(self.times(row, pitch), k)), self.within(k))
            place = self.at(result, self.times(row, wide))
            self.builder.store(rounded(self, value), self.at(place, k, I16), align=2)

    def lines_of_weight(self, is_rounded: bool) -> tuple[ir.Value, ir.Value]:
        """The rows of W that `logits` reads: where the first starts, and the elements or pairs from one to the next."""
        if not is_rounded:
            return self.address_of("weight"), self.given["weight_stride"]
        lanes = self.vectors.lanes
        vectors = self.builder.sdiv(self.plus(self.given["features"], lanes - 1), self.index(lanes))
        return self.address_of("rounded"), self.times(vectors, lanes // 2)

    def logits(self) -> None:
        """Of tiles whose rows of W fit in a cache, all panels of X; then the next tiles."""
        given, logits = self.given, self.address_of("logits")
        packed, bias = self.address_of("by_feature"), self.address_of("bias")
        weight, pitch = self.lines_of_weight(self.at_once == 2)
        features = self.steps(given["features"])
        with self.blocks() as (low, high), self.loop(given["first_panel"], given["end_panel"]) as panel:
            own = self.at(packed, self.times(panel, self.times(features, self.lanes)))
            results = [
                self.vector_of_logits(logits, self.plus(self.times(panel, self.width), c)) for c in range(self.width)
            ]
            left = self.builder.sub(given["rows"], self.times(panel, self.lanes))
            with self.loop(low, high) as tile:
                top, height = self.share(tile, self.height, given["outputs"])

                def unrolled(
                    rows: int, wide: int, top: ir.Value = top, own: ir.Value = own, results: _Values = results
                ) -> None:
                    lines = [self.at(weight, self.times(self.plus(top, r), pitch)) for r in range(rows)]
                    sums = self.sums(features, own, wide, rows, lambda k: [self.at(a, k) for a in lines])
                    for r, line in enumerate(sums):
                        constant = self.load_scalar(self.at(bias, self.plus(top, r)))
                        place = self.times(self.plus(top, r), self.vectors.lanes)
                        for value, result in zip(line, results, strict=False):
                            self.store(self.builder.fadd(value, constant), self.at(result, place))

                self.shaped(height, left, unrolled)

    def result(self) -> None:
        """Square by square of L."""
        v, b, given = self.vectors, self.builder, self.given
        result = self.address_of("result")
        last = b.sub(given["outputs"], self.index(1))
        with (
            self.loop(given["begin"], given["end"]) as vector,
            self.loop(given["first_panel"], given["end_panel"]) as panel,
        ):
            output = self.times(panel, v.lanes)
            base, row = self.vector_of_logits(self.address_of("logits"), vector), self.times(vector, v.lanes)
            outputs = [self.least(self.plus(output, k), last) for k in range(v.lanes)]
            square = transposed(self, [self.load(self.at(base, self.times(k, v.lanes))) for k in outputs])
            mask = self.first_lanes(b.sub(given["outputs"], output))
            for k, line in enumerate(square):
                with b.if_then(b.icmp_signed("<", self.plus(row, k), given["rows"])):
                    place = self.times(self.plus(row, k), given["outputs"])
                    self.store(line, self.at(result, self.plus(place, output)), mask)

    def softmax(self) -> None:
        """Vector by vector of rows: the largest logit, the sum of exponentials, then the gradient."""
        v, b, given = self.vectors, self.builder, self.given
        labels = self.address_of("label")
        class_weights = self.address_of("class_weights")
        own = b.inttoptr(b.ptrtoint(self.space(1), self.index), POINTER)
        with self.loop(given["begin"], given["end"]) as vector:
            row = self.times(vector, v.lanes)
            here = self.least(v.lanes, b.sub(given["rows"], row))
            mask = self.first_lanes(here)
            base = self.vector_of_logits(self.address_of("logits"), vector)
            target, spread, scale = (
                self.load(self.at(self.address_of(key), row), mask) for key in ("target", "spread", "scale")
            )

            def of_output(k: ir.Value, base: ir.Value = base) -> ir.Value:
                return self.at(base, self.times(k, v.lanes))

            def of_label(lane: ir.Value, row: ir.Value = row, base: ir.Value = base) -> ir.Value:
                label = b.load(self.at(labels, self.plus(row, lane), self.index), typ=self.index)
                return self.at(base, self.plus(self.times(label, v.lanes), lane))

            self.store(v.const(0.0), own)
            with self.loop(0, here) as lane:
                b.store(b.load(of_label(lane), typ=v.float_type), self.at(own, lane))
            chosen = self.load(own)

            def larger(k: ir.Value, most: list[ir.Value]) -> list[ir.Value]:
                value = self.load(of_output(k))
                return [v.select(b.fcmp_ordered(">", value, most[0]), value, most[0])]

            (largest,) = self.fold(0, given["outputs"], [self.load(base)], larger)

            def chunk(low: ir.Value, totals: list[ir.Value]) -> list[ir.Value]:
                def turn(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                    below = b.fsub(self.load(of_output(k)), largest)
                    power = exp(v, below)
                    self.store(power, of_output(k))
                    weight = self.load_scalar(self.at(class_weights, k))
                    # a class without weight takes no part, be its logit infinite
                    smoothed = v.select(
                        b.fcmp_ordered("==", b.fmul(spread, weight), v.const(0.0)),
                        sums[1],
                        v.fma(below, weight, sums[1]),
                    )
                    return [b.fadd(sums[0], power), smoothed]

                high = self.least(self.plus(low, POWERS_PER_SUM), given["outputs"])
                sums = self.fold(low, high, [v.const(0.0)] * 2, turn)
                return [b.fadd(total, own) for total, own in zip(totals, sums, strict=True)]

            powers, smoothed = self.fold(0, given["outputs"], [v.const(0.0)] * 2, chunk, POWERS_PER_SUM)
            # zero weights give zero, be the logit infinitely far below the largest
            kept = v.select(
                b.fcmp_ordered("==", target, v.const(0.0)), v.const(0.0), b.fmul(target, b.fsub(chosen, largest))
            )
            loss = b.fsub(b.fmul(scale, logarithm(v, powers)), b.fadd(kept, b.fmul(spread, smoothed)))
            self.store(loss, self.at(self.address_of("loss"), row), mask)
            share = b.fdiv(scale, powers)
            with self.loop(0, given["outputs"]) as k:
                weight = self.load_scalar(self.at(class_weights, k))
                gradient = v.fma(self.load(of_output(k)), share, b.fneg(b.fmul(spread, weight)))
                self.store(gradient, of_output(k))
            self.store(target, own)
            with self.loop(0, here) as lane:
                place = of_label(lane)
                less = b.fsub(b.load(place, typ=v.float_type), b.load(self.at(own, lane), typ=v.float_type))
                b.store(less, place)
            if self.at_once == 2:
                self.round_gradient(base, mask)

    def round_gradient(self, base: ir.Value, mask: ir.Value) -> None:
        """Round a vector of rows of L, two outputs at a time; zeros beyond the last row and output."""
        v, b, given = self.vectors, self.builder, self.given
        zero, last = v.const(0.0), b.sub(given["outputs"], self.index(1))
        with self.loop(0, given["outputs"], 2) as k:
            place, following = self.at(base, self.times(k, v.lanes)), self.plus(k, 1)
            is_output = b.icmp_signed("<=", following, last)
            first = v.select(mask, self.load(place), zero)
            second = self.load(self.at(base, self.times(b.select(is_output, following, last), v.lanes)))
            second = v.select(mask, v.select(is_output, second, zero), zero)
            both = rounded_both(self, first, second)
            self.store(interleaved(self, both), place)
            self.store(both, self.at(place, v.lanes))

    def input_gradient(self) -> None:
        """For each chunk of outputs and panel of features, which is copied, a tile of rows after another."""
        v, b, given = self.vectors, self.builder, self.given
        logits, dx = (self.address_of(key) for key in ("logits", "dx"))
        packed = self.space(CHUNK * self.width)
        all_steps = self.steps(given["outputs"])
        with (
            self.loop(0, all_steps, CHUNK) as low,
            self.loop(given["first_panel"], given["end_panel"]) as panel,
        ):
            steps = self.least(CHUNK, b.sub(all_steps, low))
            column = self.times(panel, self.lanes)
            masks = [self.within(self.plus(column, c * v.lanes)) for c in range(self.width)]
            with self.loop(0, steps) as k:
                load = self.reader_of_weight(self.plus(low, k), column)
                for c in range(self.width):
                    value = load(c * v.lanes, masks[c])
                    self.store(value, self.at(packed, self.plus(self.times(k, self.lanes), c * v.lanes)))
            is_first = b.icmp_signed("==", low, self.index(0))
            left = b.sub(given["features"], column)
            with self.loop(given["begin"], given["end"]) as tile:
                top, height = self.share(tile, self.height, given["rows"])
                line = self.at(dx, self.plus(self.times(top, given["features"]), column))

                def unrolled(
                    rows: int,
                    wide: int,
                    top: ir.Value = top,
                    low: ir.Value = low,
                    line: ir.Value = line,
                    masks: Sequence[ir.Value] = masks,
                    steps: ir.Value = steps,
                    is_first: ir.Value = is_first,
                ) -> None:
                    columns = []
                    for r in range(rows):
                        vector, lane = (op(self.plus(top, r), self.index(v.lanes)) for op in (b.sdiv, b.srem))
                        own = self.vector_of_logits(logits, vector)
                        columns.append(self.at(own, self.plus(self.times(low, self.at_once * v.lanes), lane)))

                    def factors(k: ir.Value) -> list[ir.Value]:
                        return [self.at(own, self.times(k, self.at_once * v.lanes)) for own in columns]

                    lines = [self.at(line, self.times(given["features"], r)) for r in range(rows)]
                    for own in lines:
                        self.prefetch(own, wide)
                    self.add(self.sums(steps, packed, wide, rows, factors), lines, masks, is_first)

                self.shaped(height, left, unrolled)

    def reader_of_weight(self, k: ir.Value, column: ir.Value) -> Callable[[int, ir.Value], ir.Value]:
        """What loads vectors of W from a column on: those of output k, or pairs of two outputs in bfloat16."""
        v, b, weight = self.vectors, self.builder, self.address_of("weight")

        def line(output: ir.Value) -> ir.Value:
            return self.at(weight, self.plus(self.times(output, self.given["weight_stride"]), column))

        if self.at_once == 1:
            start = line(k)
            return lambda place, mask: self.load(self.at(start, place), mask)
        first = self.times(k, 2)
        second = self.plus(first, 1)
        is_output = b.icmp_signed("<", second, self.given["outputs"])
        lines = [line(first), line(b.select(is_output, second, first))]

        def load(place: int, mask: ir.Value) -> ir.Value:
            upper, lower = (self.load(self.at(start, place), mask) for start in lines)
            return paired(self, upper, v.select(is_output, lower, v.const(0.0)))

        return load

    def weight_gradient(self) -> None:
        """Of tiles whose rows of L fit in a cache, the sums of rows and all panels of X; then the next tiles."""
        v, b, given = self.vectors, self.builder, self.given
        logits, packed, dweight = (self.address_of(key) for key in ("logits", "by_row", "dweight"))
        is_first = b.icmp_signed("!=", given["is_first"], self.index(0))
        with self.blocks() as (low, high):
            # Of several threads whose panels begin at 0, one has any.
            begins, some = (
                b.icmp_signed(op, given[key], self.index(0)) for op, key in (("==", "first_panel"), ("!=", "end_panel"))
            )
            with b.if_then(b.and_(begins, some)):
                begin, end = (self.least(self.times(tile, self.height), given["outputs"]) for tile in (low, high))
                with self.loop(begin, end) as output:
                    self.bias_gradient(output, is_first)
            with self.loop(given["first_panel"], given["end_panel"]) as panel:
                own = self.at(packed, self.times(panel, self.times(self.steps(given["rows"]), self.lanes)))
                column = self.times(panel, self.lanes)
                masks = [self.within(self.plus(column, c * v.lanes)) for c in range(self.width)]
                left = b.sub(given["features"], column)
                with self.loop(low, high) as tile:
                    top, height = self.share(tile, self.height, given["outputs"])

                    def unrolled(
                        rows: int,
                        wide: int,
                        top: ir.Value = top,
                        own: ir.Value = own,
                        column: ir.Value = column,
                        masks: Sequence[ir.Value] = masks,
                    ) -> None:
                        lines = [
                            self.at(dweight, self.plus(self.times(self.plus(top, r), given["features"]), column))
                            for r in range(rows)
                        ]
                        for line in lines:
                            self.prefetch(line, wide)
                        self.add(self.sums_over_rows(own, wide, rows, top, logits), lines, masks, is_first)

                    self.shaped(height, left, unrolled)

    def bias_gradient(self, output: ir.Value, is_first: ir.Value) -> None:
        """The sum of a row of L."""
        v, b, given = self.vectors, self.builder, self.given
        logits = self.row_of_gradient(self.address_of("logits"), output)
        count = b.sdiv(self.plus(given["rows"], v.lanes - 1), self.index(v.lanes))

        def turn(vector: ir.Value, total: list[ir.Value]) -> list[ir.Value]:
            mask = self.first_lanes(b.sub(given["rows"], self.times(vector, v.lanes)))
            value = self.gradient(self.vector_of_logits(logits, vector), mask)
            return [b.fadd(total[0], value)]

        (total,) = self.fold(0, count, [v.const(0.0)], turn)
        half = v.lanes // 2
        while half:
            total = b.fadd(total, v.shuffled(total, None, [lane ^ half for lane in range(v.lanes)]))
            half //= 2
        place = self.at(self.address_of("dbias"), output)
        before = v.select(is_first, v.const(0.0), self.load_scalar(place))
        self.store_scalar(b.fadd(before, total), place)

    # Their parts

    def row_of_gradient(self, logits: ir.Value, output: ir.Value) -> ir.Value:
        """Where the gradient of an output's logits is, in the first vector of rows, once `softmax` has run."""
        b, lanes = self.builder, self.vectors.lanes
        if self.at_once == 1:
            return self.at(logits, self.times(output, lanes))
        half = b.and_(output, self.index(1))
        first = self.times(self.plus(b.sub(output, half), 1), lanes)
        return self.at(logits, self.plus(first, self.times(half, lanes // 2)))

    def gradient(self, place: ir.Value, mask: ir.Value) -> ir.Value:
        """A vector of rows of it."""
        v, b = self.vectors, self.builder
        if self.at_once == 1:
            return self.load(place, mask)
        short = b.load(place, typ=ir.VectorType(I16, v.lanes), align=2)
        whole = ir.VectorType(I32, v.lanes)
        return v.from_bits(b.shl(b.zext(short, whole), v.iconst(16)))

    def vector_of_logits(self, logits: ir.Value, vector: ir.Value) -> ir.Value:
        """The address of a vector's first output in L, or of a place in L in another vector."""
        return self.at(logits, self.times(vector, self.times(self.given["logits_stride"], self.vectors.lanes)))

    def blocks(self) -> "_Blocks":
        """The tiles of this thread, `at_once` at a time."""
        return _Blocks(self)

    def share(self, tile: ir.Value, height: int, total: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The first of a tile's rows, and how many it has: `height`, but the last."""
        top = self.times(tile, height)
        return top, self.least(height, self.builder.sub(total, top))

    def within(self, column: ir.Value) -> ir.Value:
        """Which lanes of the vector that starts at this column are features."""
        return self.first_lanes(self.builder.sub(self.given["features"], column))

    def shaped(self, height: ir.Value, left: ir.Value, unrolled: Callable[[int, int], None]) -> None:
        """A tile unrolled for its height, and for a whole panel or the half of it where no more is left."""
        b, wide = self.builder, [self.width]
        if self.width > 1:
            wide = [self.width // 2, self.width]
        is_wide = b.icmp_signed(">", left, self.index(wide[0] * self.vectors.lanes))
        shape = self.plus(height, b.select(is_wide, self.index(self.height), self.index(0)))
        after = self.function.append_basic_block("done")
        cases = [(rows, w) for w in (wide[0], wide[-1]) for rows in range(1, self.height + 1)]
        blocks = [self.function.append_basic_block(f"tile{rows}x{w}") for rows, w in cases]
        switch = b.switch(shape, after)
        for k, ((rows, w), block) in enumerate(zip(cases, blocks, strict=True), start=1):
            switch.add_case(self.index(k), block)
            b.position_at_end(block)
            unrolled(rows, w)
            b.branch(after)
        b.position_at_end(after)

    def sums(self, count: ir.Value, packed: ir.Value, wide: int, rows: int, factors: Places) -> list[list[ir.Value]]:
        """For each row and vector of a tile, the sum over k of factor[k] · packed[k]."""
        return self.by_row(self.terms(count, packed, wide, factors, [self.vectors.const(0.0)] * (rows * wide)), wide)

    def sums_over_rows(
        self, packed: ir.Value, wide: int, rows: int, top: ir.Value, logits: ir.Value
    ) -> list[list[ir.Value]]:
        """The same, over all rows of L, which has as many to a vector as it has lanes."""
        v, b, given = self.vectors, self.builder, self.given
        in_vector = v.lanes // self.at_once

        def of_vector(vector: ir.Value) -> tuple[ir.Value, Places]:
            first = self.vector_of_logits(logits, vector)
            lines = [self.row_of_gradient(first, self.plus(top, r)) for r in range(rows)]
            own = self.at(packed, self.times(vector, in_vector * self.lanes))
            return own, lambda k: [self.at(a, k) for a in lines]

        def whole(vector: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            own, factors = of_vector(vector)
            return self.turn(self.index(0), own, wide, factors, carried, in_vector)

        vectors, rest = (op(given["rows"], self.index(v.lanes)) for op in (b.sdiv, b.srem))
        start = [v.const(0.0)] * (rows * wide)
        own, factors = of_vector(vectors)
        sums = self.fold(0, vectors, start, whole, may_be_empty=True)
        return self.by_row(self.terms(self.steps(rest), own, wide, factors, sums), wide)

    def terms(
        self, count: ir.Value, packed: ir.Value, wide: int, factors: Places, carried: list[ir.Value]
    ) -> list[ir.Value]:
        """Add so many terms to the sums of a tile; a row of `packed` has a whole panel's lanes."""

        def turn(k: ir.Value, sums: list[ir.Value], count: int = 1) -> list[ir.Value]:
            return self.turn(k, packed, wide, factors, sums, count)

        whole = self.builder.and_(count, self.index(-UNROLL))
        sums = self.fold(0, whole, carried, lambda k, own: turn(k, own, UNROLL), UNROLL, may_be_empty=True)
        return self.fold(whole, count, sums, turn, may_be_empty=True)

    def turn(
        self, first: ir.Value, packed: ir.Value, wide: int, factors: Places, sums: list[ir.Value], count: int
    ) -> list[ir.Value]:
        """`terms`, unrolled."""
        v = self.vectors
        for n in range(count):
            k = self.plus(first, n)
            line = self.at(packed, self.times(k, self.lanes))
            columns = [self.load(self.at(line, c * v.lanes)) for c in range(wide)]
            added: list[ir.Value] = []
            for place in factors(k):  # one after another: with all of them loaded first, sums are spilt
                factor = self.load_scalar(place)
                following = sums[len(added) :]
                added += [self.multiply_add(factor, own, total) for own, total in zip(columns, following, strict=False)]
            sums = added
        return sums

    def by_row(self, sums: list[ir.Value], wide: int) -> list[list[ir.Value]]:
        """The sums of a tile, a list a row."""
        return [sums[first : first + wide] for first in range(0, len(sums), wide)]

    def add(
        self, sums: list[list[ir.Value]], lines: Sequence[ir.Value], masks: Sequence[ir.Value], is_first: ir.Value
    ) -> None:
        """Add a tile to what is in memory, or put it there."""
        v, b = self.vectors, self.builder
        for line, own in zip(lines, sums, strict=True):
            for c, value in enumerate(own):
                place = self.at(line, c * v.lanes)
                before = v.select(is_first, v.const(0.0), self.load(place, masks[c]))
                self.store(b.fadd(before, value), place, masks[c])


class _Blocks:
    def __init__(self, f: _Readout) -> None:
        self.loop = f.loop(f.given["begin"], f.given["end"], f.given["at_once"])
        self.f = f

    def __enter__(self) -> tuple[ir.Value, ir.Value]:
        low = self.loop.__enter__()
        return low, self.f.least(self.f.plus(low, self.f.given["at_once"]), self.f.given["end"])

    def __exit__(self, *error: object) -> None:
        self.loop.__exit__(*error)  # type: ignore[arg-type]
