"""The few instructions by which each thread of an OpenMP team finds its rows, since a kernel must not run Python there.

    void selfloop_team(int64_t *data) {
        int64_t n = omp_get_num_threads();
        if (data[TOGETHER] && n < data[ROWS]) { data[REFUSED] = 1; return; }
        for (int64_t r = omp_get_thread_num(); r < data[ROWS]; r += n)
            data[FUNCTION](data[BLOCKS] + r * data[WIDTH]);
    }

Rows that wait for each other need a thread each, and only inside the team it is known how large it came to be: so each
of its threads looks, all come to the same answer, and none of them runs a row when the team is too small.
"""

import llvmlite.binding as llvm
from llvmlite import ir

TEAM_DATA = ("function", "blocks", "rows", "width", "thread_num", "num_threads", "together", "refused")
"""What ``data`` holds, 64 bits each: the addresses of the rows' function, of their arguments (``rows`` times ``width``
numbers) and of OpenMP's two functions; whether all rows must run at the same time; the answer, which is 0 before."""

_NAME = "selfloop_team"
_I32, _I64, _POINTER = ir.IntType(32), ir.IntType(64), ir.PointerType()


def trampoline() -> ir.Module:
    """The module that holds ``selfloop_team``."""
    module = ir.Module(_NAME)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), _NAME)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    (data,) = function.args

    def word(name: str) -> ir.Value:
        return builder.load(builder.gep(data, [_I64(TEAM_DATA.index(name))], source_etype=_I64), name, typ=_I64)

    def ask(name: str) -> ir.Value:
        callee = builder.inttoptr(word(name), ir.FunctionType(_I32, []).as_pointer())
        return builder.sext(builder.call(callee, []), _I64)

    rows, threads = word("rows"), ask("num_threads")
    wanted = builder.icmp_signed("!=", word("together"), _I64(0))
    with builder.if_then(builder.and_(wanted, builder.icmp_signed("<", threads, rows)), likely=False):
        answer = builder.gep(data, [_I64(TEAM_DATA.index("refused"))], source_etype=_I64)
        builder.store(_I64(1), answer)
        builder.ret_void()

    call = builder.inttoptr(word("function"), ir.FunctionType(ir.VoidType(), [_POINTER]).as_pointer())
    blocks, stride, first = word("blocks"), builder.mul(word("width"), _I64(8)), ask("thread_num")
    before, head = builder.block, function.append_basic_block("row")
    body, done = function.append_basic_block("run"), function.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    row = builder.phi(_I64, "row")
    row.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", row, rows), body, done)
    builder.position_at_end(body)
    builder.call(call, [builder.inttoptr(builder.add(blocks, builder.mul(row, stride)), _POINTER)])
    row.add_incoming(builder.add(row, threads), body)
    builder.branch(head)
    builder.position_at_end(done)
    builder.ret_void()
    return module


def address() -> int:
    """Where ``selfloop_team`` lies; compiled at the first call, and there as long as the process."""
    if _NAME not in _ENGINES:
        _ENGINES.setdefault(_NAME, _compile())  # of threads that come at once one wins, and all use what it made
    return int(_ENGINES[_NAME].get_function_address(_NAME))


_ENGINES: dict[str, llvm.ExecutionEngine] = {}


def _compile() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(str(trampoline()))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine(opt=2))
    engine.finalize_object()
    return engine
