"""The zoo: cells as equations, a file each."""

from selfloop.cells.antisymmetric import antisymmetric
from selfloop.cells.cfc import cfc
from selfloop.cells.cifg_lstm import cifg_lstm
from selfloop.cells.cornn import cornn
from selfloop.cells.delta_net import delta_net
from selfloop.cells.ea_lstm import ea_lstm
from selfloop.cells.fast_weights import fast_weights
from selfloop.cells.fastgrnn import fastgrnn
from selfloop.cells.gru import gru
from selfloop.cells.gru_d import gru_d
from selfloop.cells.gru_reset_before import gru_reset_before
from selfloop.cells.indrnn import indrnn
from selfloop.cells.janet import janet
from selfloop.cells.layer_norm_lstm import layer_norm_lstm
from selfloop.cells.lem import lem
from selfloop.cells.lif import lif
from selfloop.cells.lmu import lmu
from selfloop.cells.lstm import lstm
from selfloop.cells.mgu import mgu
from selfloop.cells.min_gru import min_gru
from selfloop.cells.min_lstm import min_lstm
from selfloop.cells.mlstm import mlstm
from selfloop.cells.mogrifier_lstm import mogrifier_lstm
from selfloop.cells.multiplicative_lstm import multiplicative_lstm
from selfloop.cells.on_lstm import on_lstm
from selfloop.cells.peephole_lstm import peephole_lstm
from selfloop.cells.phased_lstm import phased_lstm
from selfloop.cells.projected_lstm import projected_lstm
from selfloop.cells.recurrent_highway import recurrent_highway
from selfloop.cells.scrn import scrn
from selfloop.cells.slstm import slstm
from selfloop.cells.sru import sru
from selfloop.cells.time_lstm import time_lstm
from selfloop.cells.ugrnn import ugrnn
from selfloop.cells.vanilla import vanilla
from selfloop.cells.vanilla_relu import vanilla_relu

__all__ = [
    "antisymmetric",
    "cfc",
    "cifg_lstm",
    "cornn",
    "delta_net",
    "ea_lstm",
    "fast_weights",
    "fastgrnn",
    "gru",
    "gru_d",
    "gru_reset_before",
    "indrnn",
    "janet",
    "layer_norm_lstm",
    "lem",
    "lif",
    "lmu",
    "lstm",
    "mgu",
    "min_gru",
    "min_lstm",
    "mlstm",
    "mogrifier_lstm",
    "multiplicative_lstm",
    "on_lstm",
    "peephole_lstm",
    "phased_lstm",
    "projected_lstm",
    "recurrent_highway",
    "scrn",
    "slstm",
    "sru",
    "time_lstm",
    "ugrnn",
    "vanilla",
    "vanilla_relu",
]

ZOO = {
    cell.name: cell
    for cell in (
        antisymmetric,
        cfc,
        cifg_lstm,
        cornn,
        delta_net,
        ea_lstm,
        fast_weights,
        fastgrnn,
        gru,
        gru_d,
        gru_reset_before,
        indrnn,
        janet,
        layer_norm_lstm,
        lem,
        lif,
        lmu,
        lstm,
        mgu,
        min_gru,
        min_lstm,
        mlstm,
        mogrifier_lstm,
        multiplicative_lstm,
        on_lstm,
        peephole_lstm,
        phased_lstm,
        projected_lstm,
        recurrent_highway,
        scrn,
        slstm,
        sru,
        time_lstm,
        ugrnn,
        vanilla,
        vanilla_relu,
    )
}
"""Every cell by its name, in the order of the names."""
