"""`row_tables` writes where rows of memory lie for batches of any lengths, as offsets and bases that `patch` reads."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I8, I32, POINTER
from selfloop.compiler.cpu.targets import Target

ROW_TABLES_BLOCK = ("tables", "count", "offsets", "bases", "rows")
"""The argument block.

    tables, count       the address of the tables' descriptions, `ROW_TABLE`s, and how many there are
    offsets, bases      what is written: of each table as many as rows run, step after step
    rows                the address of the rows' description, `ROWS`
"""

ROWS = ("steps", "batch", "is_reverse", "users", "lengths", "counts", "starts", "resets")
"""The rows of a batch.

    steps, batch        T and B
    is_reverse          whether the user's last step is the first
    users, lengths      of each row, the longest first: its place in the user's batch, and its steps
    counts, starts      how many rows run at each step, and how many have run before
    resets              whether a row starts from zero at a step, bytes [T, B]; 0 where none does
"""

ROW_TABLE = (
    *("place", "more", "start", "start_base", "user", "time", "order", "turn", "following"),
    *("last", "last_base", "last_pitch", "first", "first_base", "first_pitch"),
    *("zeros", "zeros_base", "delay", "ahead"),
)
"""A table: addresses as an offset and a base, -1 for none, and pitches in bytes.

    place                       its first entry among all that are written
    more                        1 where it has entries for one more step than there are, else 0
    start, user, …, following   a row's address, and the pitches of what is counted of it: its place in the user's
                                batch, the user's step, the rows before it, and the rows of a (2 B, ·) tensor of which
                                steps use the halves in turn, at its own step and at the next
    last                        where the rows of sequences' last steps lie instead
    first                       where those of the first step lie instead
    zeros                       where those lie instead that are reset at their step, or at the one `ahead`
    delay                       1 where the entry of a step is for the step after it, else 0
"""


def emit_row_tables(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`."""
    f = Function(module, name, target, bits)
    b = f.builder
    given = {key: f.argument(k) for k, key in enumerate(ROW_TABLES_BLOCK)}
    rows = b.inttoptr(given["rows"], POINTER)
    given |= {key: b.load(f.at(rows, k, f.index), typ=f.index) for k, key in enumerate(ROWS)}
    pointers = ("tables", "offsets", "bases", "users", "lengths", "counts", "starts", "resets")
    at = {key: b.inttoptr(given[key], POINTER) for key in pointers}

    def entry(key: str, index: ir.Value) -> ir.Value:
        return b.load(f.at(at[key], index, f.index), typ=f.index)

    def is_given(base: ir.Value) -> ir.Value:
        return b.icmp_signed(">=", base, f.index(0))

    has_resets = b.icmp_signed("!=", given["resets"], f.index(0))
    with f.loop(0, given["count"]) as k:
        table = f.at(at["tables"], f.times(k, len(ROW_TABLE)), f.index)
        own = {key: b.load(f.at(table, n, f.index), typ=f.index) for n, key in enumerate(ROW_TABLE)}
        may_be_reset = b.and_(has_resets, is_given(own["zeros_base"]))
        last = f.plus(given["steps"], -1)
        with f.loop(0, f.plus(given["steps"], own["more"])) as step:
            is_first = b.and_(b.icmp_signed("==", step, f.index(0)), is_given(own["first_base"]))
            of = f.most(b.sub(step, own["delay"]), 0)  # the step whose rows these are
            half = b.and_(of, f.index(1))
            turn, following = (f.times(part, given["batch"]) for part in (half, b.xor(half, f.index(1))))
            before = entry("starts", of)
            place = f.plus(own["place"], entry("starts", step))
            ahead = f.plus(step, own["ahead"])
            with f.loop(0, entry("counts", f.least(step, last))) as row:
                user, length = entry("users", row), entry("lengths", row)
                left = b.sub(f.plus(length, -1), of)
                counted = {
                    "user": user,
                    "time": b.select(b.icmp_signed("!=", given["is_reverse"], f.index(0)), left, of),
                    "order": f.plus(before, row),
                    "turn": f.plus(turn, row),
                    "following": f.plus(following, row),
                }
                offset, base = own["start"], own["start_base"]
                for key, value in counted.items():
                    offset = f.plus(offset, f.times(own[key], value))
                is_last = b.and_(b.icmp_signed("==", left, f.index(0)), is_given(own["last_base"]))
                for condition, key in ((is_last, "last"), (is_first, "first")):
                    there = f.plus(own[key], f.times(own[f"{key}_pitch"], user))
                    offset = b.select(condition, there, offset)
                    base = b.select(condition, own[f"{key}_base"], base)
                to = f.plus(place, row)
                _store(f, at, to, offset, base)
                with b.if_then(b.and_(may_be_reset, b.icmp_signed("<", ahead, length))):
                    flag = b.load(f.at(at["resets"], f.plus(f.times(ahead, given["batch"]), row), I8), typ=I8)
                    with b.if_then(b.icmp_signed("!=", flag, I8(0))):
                        _store(f, at, to, own["zeros"], own["zeros_base"])
    f.finish()


def _store(f: Function, at: dict[str, ir.Value], place: ir.Value, offset: ir.Value, base: ir.Value) -> None:
    f.builder.store(offset, f.at(at["offsets"], place, f.index))
    short = base if f.index.width == I32.width else f.builder.trunc(base, I32)
    f.builder.store(short, f.at(at["bases"], place, I32))
