"""The compiler: from a cell's Graph to machine code. This module is all of it that the rest of selfloop uses.

    Graph  --lower-->  Step  --schedule-->  Program  --lay_out-->  KernelLayout  --emit-->  LLVM  --build-->  Code
           `lower`: no processor, no LLVM                    |     `cpu`: layout, emission, build, cache
                                                             '--->  `native`: whole models as C99 and objects

Glossary, in the order of the levels:

    Graph           one time step of a cell, on vectors of one example, with named sizes (`selfloop.language`)
    Step            the same with sizes as numbers; vectors are cut where they are split or concatenated
    product         a sum of matrix-vector products, accumulated in the same registers
    cotangent       the gradient of the loss with respect to a value
    dx, dy, dparam  gradients of the loss with respect to x, y and the parameters
    residual        a value that the forward step saves for the backward step; what is not saved is rematerialised
    workspace       memory for values that live for one step
    row             of a buffer or a table: one sequence at one time step
    Program         a Step in stages, each of tile loops or another loop; threads may meet at a barrier after each
    KernelLayout    where a Program's values lie, its argument block, and how weights are packed into panels, if at all
    argument block  the array of 64-bit numbers and addresses that a kernel is passed
    gemv            a product of a matrix and few vectors, which reads the matrix where it lies: no panel is packed
    register tile   rows × vectors of accumulators that stay in registers for a whole product; a function that knows
                    neither cell nor size, so that a processor compiles each once
    Kernels         the kernels of a cell, forward and backward
    Code            functions of machine code in this process
    Tools           the functions of machine code that serve all cells
    Target          a family of processors
"""

from selfloop.compiler import native
from selfloop.compiler.cpu.build import Code
from selfloop.compiler.cpu.cache import state as cache_state
from selfloop.compiler.cpu.emit.add_rows import ADD_BLOCK, ADD_ROWS_BLOCK
from selfloop.compiler.cpu.emit.dropout import DROPOUT_BLOCK
from selfloop.compiler.cpu.emit.launches import LAUNCH, LAUNCHES_HEADER, PATCH_HEADER
from selfloop.compiler.cpu.emit.outer_product import OUTER_PRODUCT_BLOCK
from selfloop.compiler.cpu.emit.pack import PACK_VECTOR
from selfloop.compiler.cpu.emit.readout import READOUT_ADDRESSES, READOUT_SIZES
from selfloop.compiler.cpu.emit.row_tables import ROW_TABLE, ROW_TABLES_BLOCK, ROWS
from selfloop.compiler.cpu.emit.stack import STACK_HEADER, STACK_LAYER, STACK_SHARED
from selfloop.compiler.cpu.emit.table_rows import AVERAGE_ROWS_BLOCK, MOVE_ROWS_BLOCK
from selfloop.compiler.cpu.kernels import (
    Kernels,
    Tools,
    WeightGradient,
    compile,
    dropout_code,
    peak_code,
    readout_code,
    stack_code,
    table_rows_code,
    tools,
)
from selfloop.compiler.cpu.layout import ROW_TABLES, KernelLayout
from selfloop.compiler.cpu.objects import emit_object
from selfloop.compiler.cpu.openmp import TEAM_DATA
from selfloop.compiler.cpu.openmp import address as team_address
from selfloop.compiler.cpu.targets import TARGETS, TILE_ROWS, PairProducts, Target, pair_products
from selfloop.compiler.cpu.targets import host as host_target
from selfloop.compiler.cpu.targets import named as named_target
from selfloop.compiler.cpu.targets import processor as processor_name
from selfloop.compiler.cpu.tiles import WEIGHT_FORMS, Packing, Panel
from selfloop.compiler.levels import LEVELS, show
from selfloop.compiler.lower import VARIES
from selfloop.compiler.native.targets import target_table

__all__ = [
    "ADD_BLOCK",
    "ADD_ROWS_BLOCK",
    "AVERAGE_ROWS_BLOCK",
    "DROPOUT_BLOCK",
    "LAUNCH",
    "LAUNCHES_HEADER",
    "LEVELS",
    "MOVE_ROWS_BLOCK",
    "OUTER_PRODUCT_BLOCK",
    "PACK_VECTOR",
    "PATCH_HEADER",
    "READOUT_ADDRESSES",
    "READOUT_SIZES",
    "ROWS",
    "ROW_TABLE",
    "ROW_TABLES",
    "ROW_TABLES_BLOCK",
    "STACK_HEADER",
    "STACK_LAYER",
    "STACK_SHARED",
    "TARGETS",
    "TEAM_DATA",
    "TILE_ROWS",
    "VARIES",
    "WEIGHT_FORMS",
    "Code",
    "KernelLayout",
    "Kernels",
    "Packing",
    "PairProducts",
    "Panel",
    "Target",
    "Tools",
    "WeightGradient",
    "cache_state",
    "compile",
    "dropout_code",
    "emit_object",
    "host_target",
    "named_target",
    "native",
    "pair_products",
    "peak_code",
    "processor_name",
    "readout_code",
    "show",
    "stack_code",
    "table_rows_code",
    "target_table",
    "team_address",
    "tools",
]
