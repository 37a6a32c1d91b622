"""One step of an LSTM from Python: sl.Stepper, ONNX Runtime and torch.nn.LSTM in turns, after their numbers agree.

    python benchmarks/stepper.py [--sizes 64 128 256] [--layers 1] [--rounds 20] [--steps 1000]

Each takes one vector of float32 a step and carries its state; I = H. Each uses as many threads as it chooses; ONNX
Runtime (ORT) also runs on one. A round is so many steps of each; printed are the median and the quartiles of the
rounds, in µs a step, and the ratios of medians.

    python benchmarks/stepper.py --cells [--sizes 16 64 128 256 512] [--batches 1 2 4 8]

instead compares what has no copy of the weights: `sl.LSTM.step` and `sl.LSTMCell` with torch.nn.LSTMCell, on batches,
under no_grad and with gradients; and `sl.Recurrent.step` of an LSTM with peepholes, which torch has no function for.
Printed is the best round of each.

    python benchmarks/stepper.py --weights [--sizes 64 128 256 512 1024]

compares Steppers whose matrices are kept as float32, bfloat16 and int8, on one thread, by processor time.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

import selfloop as sl
from selfloop.onnx_runtime import import_onnxruntime

Step = Callable[[], np.ndarray]


def ours(rnn: sl.LSTM, x: np.ndarray, form: str) -> Step:
    """The Stepper, given a numpy array or a tensor."""
    stepper = sl.Stepper(rnn)
    given = torch.from_numpy(x) if form == "torch" else x
    return lambda: stepper(given)


def ort(rnn: sl.LSTM, x: np.ndarray, threads: int) -> Step:
    """ONNX Runtime's own LSTM, with T = 1; its gates stand in the order i, o, f, c. 0 threads: as many as it likes."""
    import onnx  # noqa: PLC0415  (not wanted by --cells)
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    onnxruntime = import_onnxruntime()

    size, layers = rnn.hidden_size, rnn.num_layers
    order = np.concatenate([np.arange(size) + k * size for k in (0, 3, 1, 2)])
    nodes, weights, inputs, outputs = [], [], [], []
    shape = [1, 1, size]
    value = "x"
    for layer in range(layers):
        given = rnn._cell_weights(f"_l{layer}")
        w, r, b = (given[name].detach().numpy()[order][None] for name in ("W_xh", "W_hh", "b"))
        for name, array in (("W", w), ("R", r), ("B", np.concatenate([b, 0 * b], axis=1))):
            weights.append(numpy_helper.from_array(array.copy(), f"{name}{layer}"))
        names = [f"{name}{layer}" for name in ("W", "R", "B")]
        nodes.append(
            helper.make_node(
                "LSTM",
                [value, *names, "", f"h{layer}", f"c{layer}"],
                [f"y{layer}", f"new_h{layer}", f"new_c{layer}"],
                hidden_size=size,
            )
        )
        inputs += [helper.make_tensor_value_info(f"{s}{layer}", TensorProto.FLOAT, shape) for s in "hc"]
        outputs += [helper.make_tensor_value_info(f"new_{s}{layer}", TensorProto.FLOAT, shape) for s in "hc"]
        value = f"new_h{layer}"
    first = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "lstm", [first, *inputs], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names, wanted = [i.name for i in inputs], [o.name for o in outputs]
    feed = {"x": x.reshape(1, 1, size), **{name: np.zeros(shape, np.float32) for name in names}}

    def step() -> np.ndarray:
        new = session.run(wanted, feed)
        feed.update(zip(names, new, strict=True))
        return new[-2]

    return step


def torch_step(rnn: sl.LSTM, x: np.ndarray) -> Step:
    """torch.nn.LSTM on a sequence of one step."""
    module = torch.nn.LSTM(rnn.input_size, rnn.hidden_size, rnn.num_layers).eval()
    module.load_state_dict(rnn.state_dict())
    given, state = torch.from_numpy(x)[None], None

    def step() -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            y, state = module(given, state)
        return y

    return step


def check(steps: dict[str, Step]) -> None:
    """Three steps of each, from zero states, must agree."""
    for _ in range(3):
        answers = {name: np.asarray(step()).ravel() for name, step in steps.items()}
        for name, y in answers.items():
            np.testing.assert_allclose(y, answers["torch.nn"], rtol=1e-4, atol=2e-6, err_msg=name)


def compare_weights(size: int, layers: int, rounds: int) -> None:
    """One line: µs a step of a Stepper with each form of weights, the best round."""
    rnn, x = sl.LSTM(size, size, layers), np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    steppers = {form: sl.Stepper(rnn, weights=form) for form in ("f32", "bf16", "int8")}
    steps = {form: lambda own=own: own(x) for form, own in steppers.items()}
    count = max(20, 80_000_000 // size**2)
    best = {name: own.min() for name, own in time_all(steps, rounds, count, time.process_time).items()}
    ratios = "".join(f"  {best[form]:8.2f} ({best['f32'] / best[form]:.2f})" for form in ("bf16", "int8"))
    print(f"{size:5}  {best['f32']:8.2f}{ratios}", flush=True)


def time_all(
    steps: dict[str, Step], rounds: int, count: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """µs a step in each round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            start = clock()
            for _ in range(count):
                step()
            found[name].append((clock() - start) / count * 1e6)
    return {name: np.array(times) for name, times in found.items()}


def compare_cells(size: int, batch: int, gradients: bool, rounds: int, count: int) -> None:
    """One line: µs a step of each, the best round, and the ratios to torch.nn.LSTMCell."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTMCell(size, size)
    layer, cell = sl.LSTM(size, size), sl.LSTMCell(size, size)
    peephole = sl.Recurrent(sl.cells.peephole_lstm, size, size)
    cell.load_state_dict(theirs.state_dict())
    layer.load_state_dict({f"{name}_l0": weight for name, weight in theirs.state_dict().items()})
    x, h, c = torch.randn(3, batch, size)
    stacked, state = (h[None], c[None]), sl.State(h=h[None], c=c[None])
    steps: dict[str, Step] = {
        "nn.LSTMCell": lambda: theirs(x, (h, c))[0],
        "LSTMCell": lambda: cell(x, (h, c))[0],
        "LSTM.step": lambda: layer.step(x, stacked)[0],
        "peepholes": lambda: peephole.step(x, state)[0],
    }
    with torch.set_grad_enabled(gradients):
        for name in ("LSTMCell", "LSTM.step"):
            torch.testing.assert_close(steps[name](), steps["nn.LSTMCell"]())
        best = {name: own.min() for name, own in time_all(steps, rounds, count).items()}
    least = best["nn.LSTMCell"]
    print(
        f"{size:4} {batch:3}  {'yes' if gradients else 'no':>9}"
        + "".join(
            f"  {best[name]:8.1f}" + (f" ({best[name] / least:.2f})" if name != "nn.LSTMCell" else "") for name in steps
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--cells", action="store_true")
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1000)
    chosen = parser.parse_args()
    if chosen.weights:
        torch.set_num_threads(1)
        print("µs a step (times as fast as float32); I = H, one sequence")
        print("    H       f32             bf16             int8")
        for size in chosen.sizes or [64, 128, 256, 512, 1024]:
            compare_weights(size, chosen.layers, chosen.rounds)
        return
    if chosen.cells:
        print("µs a step (times that of nn.LSTMCell); I = H")
        print("   H   B  gradients  nn.LSTMCell    LSTMCell         LSTM.step        peepholes")
        for gradients in (False, True):
            for size in chosen.sizes or [16, 64, 128, 256, 512]:
                for batch in chosen.batches:
                    compare_cells(size, batch, gradients, chosen.rounds, chosen.steps)
        return
    for size in chosen.sizes or [64, 128, 256]:
        torch.manual_seed(0)
        rnn = sl.LSTM(size, size, chosen.layers)
        x = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
        steps = {
            "Stepper, numpy": ours(rnn, x, "numpy"),
            "Stepper, torch": ours(rnn, x, "torch"),
            "ORT": ort(rnn, x, 0),
            "ORT, 1 thread": ort(rnn, x, 1),
            "torch.nn": torch_step(rnn, x),
        }
        check(steps)
        times = time_all(steps, chosen.rounds, chosen.steps)
        least = np.median(times["Stepper, numpy"])
        print(f"I = H = {size}, {chosen.layers} layer{'s' if chosen.layers > 1 else ''}")
        for name, own in times.items():
            low, middle, high = np.quantile(own, [0.25, 0.5, 0.75])
            ratio = f"{middle / least:.2f} times the first"
            print(f"  {name:15} {middle:8.2f} µs a step ({low:.2f} to {high:.2f})   {ratio:>21}")


if __name__ == "__main__":
    main()
