"""The catalogue is complete, and so is every table of operations: a test names what a table lacks."""

import pkgutil

import torch
from catalogue import WITH_FURTHER_INPUTS, WITH_MATRIX_STATES, ZOO, operations

import selfloop as sl
from selfloop import cells, param
from selfloop.compiler import Target, emit_object
from selfloop.compiler.cpu.emit import operations as emitted
from selfloop.compiler.lower import derivatives
from selfloop.compiler.lower import operations as lowered
from selfloop.compiler.lower.graph_to_step import LOWERINGS
from selfloop.compiler.native import step
from selfloop.kernels import interpret
from selfloop.language import operations as language
from selfloop.language.graph import LEAVES
from selfloop.language.words import WORDS, apply


def test_every_cell_of_the_zoo_is_in_the_catalogue():
    assert {entry.cell.name for entry in ZOO + WITH_FURTHER_INPUTS + WITH_MATRIX_STATES} == set(cells.ZOO)


def test_every_file_of_cells_holds_a_cell_of_the_zoo_under_its_name():
    assert {module.name for module in pkgutil.iter_modules(cells.__path__)} == set(cells.ZOO)
    assert set(cells.__all__) == set(cells.ZOO)


def test_every_word_is_public():
    assert all(callable(getattr(sl, word)) for word in WORDS)
    assert set(WORDS) <= set(sl.__all__)


def lacking(table, names):
    """The operations that have no row in a table."""
    return sorted(set(names) - set(table))


def test_no_table_of_operations_lacks_a_row():
    written = {name for name in language.OPERATIONS if name not in language.OF_MATRICES}
    assert lacking(interpret.VALUES, language.OPERATIONS) == []
    assert lacking(operations(), written) == [], "no cell of the catalogue uses it"
    elementwise = [op for op, row in lowered.OPERATIONS.items() if row.kind in ("elementwise", "comparison")]
    assert lacking({*LOWERINGS, *elementwise}, {*language.OPERATIONS, *LEAVES}) == []
    own = set(lowered.OWN_ARITY)
    assert lacking({*language.OPERATIONS, *own}, lowered.OPERATIONS) == [], "its arity is not known"
    assert lacking(emitted.OPERATIONS, [*elementwise, "const", "zeros"]) == []
    of_varying_matrices = [op for op, row in lowered.OPERATIONS.items() if row.kind in ("outer", "whole")]
    with_derivative = [
        op for op in lowered.OPERATIONS if op not in {*lowered.COMPARISONS, *own, *of_varying_matrices}
    ]  # matrices that differ from step to step are compiled for inference alone
    assert lacking(step.WHOLE, lowered.WHOLE) == []
    assert lacking(derivatives.DERIVATIVES, with_derivative) == []


def test_no_table_of_operations_has_a_row_too_many():
    known = {*language.OPERATIONS, *lowered.OPERATIONS}
    assert lacking(known, interpret.VALUES) == []
    assert lacking(known, emitted.OPERATIONS) == []
    assert lacking(known, derivatives.DERIVATIVES) == []
    assert lacking({*language.OPERATIONS, *LEAVES}, LOWERINGS) == []


def test_an_operation_is_a_row_in_each_table_and_nothing_else(monkeypatch):
    """`square` is added here as one would add it to the tables, and then runs, forward and backward, in a kernel."""
    monkeypatch.setitem(language.OPERATIONS, "square", language.OPERATIONS["tanh"])
    monkeypatch.setitem(interpret.VALUES, "square", torch.square)
    monkeypatch.setitem(lowered.OPERATIONS, "square", lowered.Operation("elementwise", 2.0))
    rule = lambda m, d, y, a: (m("mul", d, m("mul", 2.0, a[0])),)  # noqa: E731
    monkeypatch.setitem(derivatives.DERIVATIVES, "square", rule)
    monkeypatch.setitem(emitted.OPERATIONS, "square", lambda v, x: v.builder.fmul(x, x))

    @sl.cell
    def squared(x, h, *, W=param("h x"), U=param("h h")):
        h = sl.tanh(apply("square", W @ x + U @ h))
        return h

    monkeypatch.setenv("SELFLOOP_CACHE", "off")  # the tables are not part of what names the code
    found = []
    for backend in ("native", "interpret"):
        torch.manual_seed(0)
        layer = sl.Recurrent(squared, 3, 5, dtype=torch.float64, backend=backend)
        x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
        y, _ = layer(x)
        y.square().sum().backward()
        found.append([y, x.grad, *(w.grad for w in layer.parameters())])
    for native, expected in zip(*found, strict=True):
        torch.testing.assert_close(native, expected)


def test_a_target_is_a_row_and_nothing_else():
    power = Target(
        name="power9",
        triple="powerpc64le-unknown-linux-gnu",
        features=("vsx", "power9-vector"),
        cpu="pwr9",
        vector_bytes=16,
        registers=64,
        columns=4,
    )
    machine_of_power = 21  # ELF's number
    code = emit_object(cells.lstm.graph, {"x": 3, "h": 9}, power)
    assert code[:4] == b"\x7fELF"
    assert int.from_bytes(code[18:20], "little") == machine_of_power
