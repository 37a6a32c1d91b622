import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file
from unit.training.toy import Straight, Toy, Watcher, weights

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.training.checkpoint import read_tensors, write_tensors


def best(folder):
    return load_file(folder / "run" / "model.safetensors")


def lines(folder, key):
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [(line["step"], line[key]) for line in map(json.loads, text.splitlines()) if key in line]


@pytest.mark.parametrize("options", [{"steps": 30}, {"steps": None, "epochs": 3}])
def test_it_takes_the_updates_of_its_budget_and_validates_evenly(fit, tmp_path, options):
    task = Toy()
    progress = fit(task, **options, validations=5)
    assert (progress.step, progress.finished) == (30, True)
    assert [step for step, _ in lines(tmp_path, "valid_loss")] == [6, 12, 18, 24, 30]


def test_minutes_are_a_budget(fit):
    progress = fit(Toy(), steps=None, minutes=0.3 / 60)
    assert progress.finished
    assert 0.3 <= progress.elapsed < 5
    assert progress.step > 1


@pytest.mark.parametrize(("minutes", "validations"), [(1 / 60, 3), (None, 10)])
def test_validations_take_a_fifth_of_the_minutes_at_most(fit, tmp_path, minutes, validations):
    class Slow(Toy):
        def validate(self, model):
            time.sleep(0.1)
            return super().validate(model)

    task = Slow()
    progress = fit(task, minutes=minutes, steps=None if minutes else 10, validations=10)
    assert progress.finished
    assert len(task.at_validation) <= validations
    *_, (last, _) = lines(tmp_path, "valid_loss")
    assert last == progress.step


def test_no_validation_comes_right_before_the_last(fit, monkeypatch):
    seconds, begun = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: seconds[0])

    class Timed(Toy):
        def loss(self, *given):
            seconds[0] += 1
            return super().loss(*given)

        def validate(self, model):
            begun.append(seconds[0])
            seconds[0] += 10
            return super().validate(model)

    assert fit(Timed(), minutes=100 / 60, steps=None, validations=10).finished
    assert begun == [10, 100]  # at 65 there were 35 seconds left, and updates are to run for 40


def test_minutes_are_kept_though_the_clock_goes_backwards(fit, monkeypatch):
    times = iter(range(10**9, 0, -3600))  # an hour back at each look
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    monkeypatch.setattr("time.time_ns", lambda: next(times) * 10**9)
    options = {"steps": None, "minutes": 0.3 / 60}
    assert not (first := fit(Toy(), listener=Watcher(stop_at=3), **options)).finished
    progress = fit(Toy(), **options)
    assert progress.finished
    assert first.elapsed < 0.3 <= progress.elapsed < 5


def reports(folder):
    return [
        {name: value for name, value in json.loads(line).items() if name not in ("elapsed", "targets_per_second")}
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("torn", [b'{"step": 9, "lo', b"\0" * 40, b'{"step": 8}\n{"st'])
def test_what_was_written_after_the_checkpoint_is_dropped_on_resuming_torn_or_not(fit, tmp_path, torn):
    fit(Toy(valid=[1] * 4), folder="whole")
    fit(Toy(valid=[1] * 4), listener=Watcher(stop_at=7))
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    fit(Toy(valid=[1] * 4))
    assert reports(tmp_path / "run") == reports(tmp_path / "whole")


@pytest.mark.parametrize("lost", [1, 20, 10**6])
def test_metrics_that_have_lost_their_end_go_on_after_their_last_whole_line(fit, tmp_path, lost):
    """As after a power cut: they are appended without waiting for the disk."""
    fit(Toy(valid=[1] * 4), folder="whole")
    fit(Toy(valid=[1] * 4), listener=Watcher(stop_at=7))
    file = tmp_path / "run" / "metrics.jsonl"
    content = file.read_bytes()[:-lost]
    file.write_bytes(content)
    fit(Toy(valid=[1] * 4))
    left, whole = reports(tmp_path / "run"), reports(tmp_path / "whole")
    before = content.count(b"\n")
    assert left[:before] == whole[:before]
    assert left[before:] == whole[-len(left[before:]) :]
    assert len(left) == before + len([line for line in whole if line["step"] > 7])


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock", "resume/previous.safetensors", "model.safetensors"])
def test_a_folder_in_the_place_of_a_file_that_is_written_is_an_error(fit, tmp_path, name):
    fit(Toy(), listener=Watcher(stop_at=12), save_every=1e-9)
    file = tmp_path / "run" / name
    file.unlink()
    file.mkdir()
    with pytest.raises(RunError, match=r"cannot be written \(Is a directory\)"):
        fit(Toy(valid=[0, 0]), save_every=1e-9)


def test_a_run_that_is_being_trained_is_not_trained_by_another_thread(fit):
    refused = []

    class Watching(Watcher):
        def stop(self):
            with ThreadPoolExecutor(1) as pool:
                refused.append(pool.submit(fit, Toy(), save_every=1e-9).exception())
            return True

    fit(Toy(), listener=Watching())
    assert isinstance(refused[0], RunError)
    assert "is being trained by process" in str(refused[0])
    assert fit(Toy()).finished


def test_the_learning_rate_follows_the_schedule(fit, tmp_path):
    fit(Toy(), steps=10, warmup=0.2, learning_rate=4)
    rates = dict(lines(tmp_path, "learning_rate"))
    assert rates == pytest.approx(
        {1: 0.4, 2: 2, **{step + 1: 2 + 2 * math.cos(math.pi * (step - 2) / 8) for step in range(2, 10)}}
    )


@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_when_validation_has_not_improved_for_so_long(fit, tmp_path, patience):
    valid = [3, 2, 2.5, 1, 1, 1, 1, 1, 1, 1] if patience == 3 else [3, 2, 2, 1, 0, 0, 0, 0, 0, 0]
    progress = fit(Toy(valid=valid), validations=10, patience=patience)
    assert progress.finished
    assert (progress.step, progress.best_step) == ((14, 8) if patience == 3 else (6, 4))
    _, facts = read_tensors(tmp_path / "run" / "resume" / "last.safetensors")
    assert facts["progress"]["finished"]


@pytest.mark.parametrize(("validations", "stop"), [(12, 5), (4, 4), (2, 2)])
def test_without_a_patience_it_stops_after_a_third_of_the_validations_and_three_at_least(fit, validations, stop):
    progress = fit(Toy(valid=[1] * validations), validations=validations, steps=validations)
    assert (progress.finished, progress.step, progress.best_step) == (True, stop, 1)


def test_with_a_patience_of_0_it_never_stops_early(fit):
    assert fit(Toy(valid=[1] * 10), validations=10, patience=0).step == 20


def test_a_run_that_is_resumed_counts_on(fit):
    stopped = fit(Toy(valid=[1, 2, 2, 2]), validations=10, patience=3, listener=Watcher(stop_at=5))
    assert (stopped.finished, stopped.stale) == (False, 1)
    progress = fit(Toy(valid=[2, 2, 2, 2]), validations=10, patience=3)
    assert (progress.finished, progress.step, progress.best_step) == (True, 8, 2)


def test_the_best_weights_are_those_of_the_best_validation(fit, tmp_path):
    task = Toy(gradient=None, valid=[3, 1, 2, 1])
    fit(task)
    kept, facts = read_tensors(tmp_path / "run" / "model.safetensors")
    manifest = {"config.json": Run(tmp_path / "run").config()}
    assert facts == {"loss": 1, "perplexity": 1, "step": 10, "manifest": manifest}
    assert all(torch.equal(kept[name], value) for name, value in task.at_validation[1].items())
    assert not torch.equal(kept["vector"], task.model.vector)


def test_a_metric_may_choose_the_best_weights_and_of_equal_ones_the_lower_loss(fit, tmp_path):
    watcher = Watcher()
    valid, scores = [3, 1, 5, 4, 6, 4], [0.0, 0.5, 0.75, 0.75, 0.75, 0.5]
    progress = fit(Toy(valid=valid, scores=scores), steps=12, validations=6, patience=2, listener=watcher)
    assert [best for _, best in watcher.validations] == [True, True, True, True, False, False]
    assert (progress.best_step, progress.best_score, progress.best_loss, progress.step) == (8, 0.75, 4, 12)
    assert read_tensors(tmp_path / "run" / "model.safetensors")[1]["accuracy"] == 0.75


def test_a_run_that_is_resumed_keeps_the_best_score(fit, tmp_path):
    valid, scores = [3, 3, 2, 1], [0.5, 0.9, 0.7, 0.9]
    assert not fit(Toy(valid=valid, scores=scores), listener=Watcher(stop_at=11)).finished
    progress = fit(Toy(valid=valid[2:], scores=scores[2:]))
    assert (progress.best_step, progress.best_score, progress.best_loss) == (20, 0.9, 1)


def test_a_checkpoint_from_before_there_were_scores_goes_on_by_the_loss(fit, tmp_path):
    fit(Toy(valid=[2, 1, 3, 3]), listener=Watcher(stop_at=11))
    path = tmp_path / "run" / "resume" / "last.safetensors"
    tensors, facts = read_tensors(path)
    del facts["progress"]["best_score"]
    write_tensors(path, tensors, facts)
    assert fit(Toy(valid=[1.5, 0.5])).best_step == 20


def test_each_validation_without_improvement_quarters_the_learning_rate(fit, tmp_path):
    fit(Toy(valid=[2, 3, 1, 1]), schedule="plateau", learning_rate=1, optimizer="sgd")
    rates = [rate for _, rate in lines(tmp_path, "learning_rate")]
    assert rates == [1] * 10 + [0.25] * 10


def test_asgd_averages_when_validation_has_stopped_improving_and_validates_the_averages(fit, tmp_path):
    """Five validations in a row improve nothing; the steps after them are averaged, and the sixth is the best."""
    task = Toy(gradient=None, valid=[2, 3, 3, 3, 3, 3, 1, 4])
    options = {"optimizer": "asgd", "schedule": "constant", "learning_rate": 1, "weight_decay": 0, "clip": 0}
    fit(task, steps=24, validations=8, **options)
    after = [w["matrix"] for w in (*task.at_step[1:], weights(task.model))]  # after each step
    torch.testing.assert_close(task.at_validation[5]["matrix"], after[17])
    mean = torch.stack(after[18:21]).mean(0)
    torch.testing.assert_close(task.at_validation[6]["matrix"], mean)
    torch.testing.assert_close(best(tmp_path)["matrix"], mean)
    torch.testing.assert_close(task.at_step[21]["matrix"], after[20])  # training goes on from the last weights


PLAIN = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 1, "weight_decay": 0, "clip": 0}
AVERAGED = {**PLAIN, "average": True}


def test_the_average_of_the_weights_is_validated_and_kept_and_training_goes_on_without_it(fit, tmp_path):
    task = Toy(gradient=None, valid=[3, 2, 1, 4])
    fit(task, **AVERAGED)
    after = [w["matrix"] for w in (*task.at_step[1:], weights(task.model))]  # after each step
    average, averages = after[0], [after[0]]
    for number, value in enumerate(after[1:], 2):
        average = average + (value - average) * 9 / (number + 8)
        averages.append(average)
    for validation, step in enumerate((5, 10, 15, 20)):
        torch.testing.assert_close(task.at_validation[validation]["matrix"], averages[step - 1])
    torch.testing.assert_close(best(tmp_path)["matrix"], averages[14])
    plain = Toy(gradient=None, valid=[3, 2, 1, 4])
    fit(plain, folder="plain", **PLAIN)
    assert torch.equal(weights(plain.model)["matrix"], after[-1])


def test_a_run_that_is_resumed_has_the_average_of_one_that_never_stopped(fit, tmp_path):
    whole = Toy(gradient=None)
    fit(whole, folder="whole", **AVERAGED)
    fit(Toy(gradient=None), listener=Watcher(stop_at=7), **AVERAGED)
    fit(Toy(gradient=None, valid=[1 / 2, 1 / 3, 1 / 4]), **AVERAGED)
    file = ("resume", "last.safetensors")
    (tensors, _), (others, _) = (read_tensors(tmp_path.joinpath(run, *file)) for run in ("run", "whole"))
    assert "average/matrix" in tensors
    assert all(torch.equal(tensors[name], others[name]) for name in others)
    assert torch.equal(best(tmp_path)["matrix"], whole.at_validation[-1]["matrix"])


@pytest.mark.parametrize(("clip", "norm"), [(1.0, 1.0), (0.0, 6.0)])
def test_a_gradient_is_clipped_to_its_norm(fit, clip, norm):
    task = Toy(gradient=2.0)  # nine numbers
    fit(
        task,
        steps=1,
        validations=1,
        optimizer="sgd",
        learning_rate=0.01,
        weight_decay=0,
        clip=clip,
        schedule="constant",
    )
    moved = [(Straight().state_dict()[name] - value).flatten() for name, value in weights(task.model).items()]
    assert torch.cat(moved).norm().item() == pytest.approx(0.01 * norm, rel=1e-3)


@pytest.mark.parametrize("where", ["training", "validation"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_what_was_good(fit, tmp_path, where, value):
    class Diverging(Toy):
        def loss(self, model, step, share, carry):
            self.gradient = value if step == 12 and where == "training" else 0.1
            return super().loss(model, step, share, carry)

    task = Diverging(valid=[1, 2, value if where == "validation" else 2, 2])
    with pytest.raises(
        RunError, match=r"diverged. Lower the learning rate, such as --set training.learning_rate=0.001;"
    ):
        fit(task)
    assert all(torch.equal(best(tmp_path)[name], w) for name, w in task.at_validation[0].items())
    tensors, _ = read_tensors(tmp_path / "run" / "resume" / "last.safetensors")
    assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())


def test_a_listener_that_says_stop_gets_a_checkpoint(fit, tmp_path):
    progress = fit(Toy(), listener=Watcher(stop_at=7), validations=1)
    assert (progress.step, progress.finished) == (7, False)
    _, facts = read_tensors(tmp_path / "run" / "resume" / "last.safetensors")
    assert facts["progress"]["step"] == 7


def test_a_listener_hears_of_each_validation(fit):
    watcher = Watcher()
    fit(Toy(valid=[2, 3, 1, 1]), listener=watcher)
    told = [(metrics["step"], metrics["loss"], best) for metrics, best in watcher.validations]
    assert told == [(5, 2, True), (10, 3, False), (15, 1, True), (20, 1, False)]


def test_there_is_a_checkpoint_at_each_validation_and_every_so_many_seconds(fit, monkeypatch):
    saved = []
    real = Run.save_checkpoint
    monkeypatch.setattr(Run, "save_checkpoint", lambda *a: (saved.append(a[2]["progress"]["step"]), real(*a)))
    fit(Toy())
    assert saved == [5, 10, 15, 20]
    saved.clear()
    fit(Toy(), folder="other", save_every=1e-9)
    assert saved == list(range(1, 21))


OPTIMIZERS = {
    "adamw": {},
    "sgd": {"momentum": 0.9, "schedule": "plateau"},
    "asgd": {"schedule": "constant"},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop_at", [1, 9, 13, 19])
def test_stopped_and_resumed_it_is_the_run_that_never_stopped(fit, tmp_path, optimizer, stop_at):
    options = {"optimizer": optimizer, "validations": 20, **OPTIMIZERS[optimizer]}
    valid = [3, *[4] * 7, *[2 - i / 10 for i in range(12)]]
    whole, part, rest = (Toy(gradient=None, valid=valid) for _ in range(3))
    reached = fit(whole, folder="whole", **options)
    fit(part, listener=Watcher(stop_at), **options)
    rest.at_validation = [*part.at_validation]  # where the list of losses goes on
    resumed = fit(rest, **options)
    for name, value in weights(whole.model).items():
        assert torch.equal(weights(rest.model)[name], value)
    assert part.carries + rest.carries == whole.carries
    assert {**vars(resumed), "elapsed": 0} == {**vars(reached), "elapsed": 0}
    for file in ("model.safetensors", "resume/last.safetensors"):
        a, b = (load_file(tmp_path / folder / file) for folder in ("run", "whole"))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_run_takes_no_more_steps(fit):
    fit(Toy())
    again = Toy()
    assert fit(again).step == 20
    assert again.at_step == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgd"}, "The training.optimizer in .*config.json has changed .* was 'adamw' and is 'sgd'"),
        ({"steps": 40}, "The training.steps in .*config.json has changed .* was 20 and is 40. Put it back to resume"),
        ({"batch_size": 8}, "The training.batch_size in .*config.json has changed"),
    ],
)
def test_it_goes_on_as_it_was_begun_or_not_at_all(fit, change, message):
    fit(Toy(), listener=Watcher(stop_at=7))
    with pytest.raises(RunError, match=message):
        fit(Toy(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"progress": {"step": "x"}},
        {"progress": {"finish": True}},
        {"progress": None},
        {"options": None},
        {"options": {"steps": -1}},
        {"groups": [{}]},
        {"groups": 7},
        {"task": []},
        {"states": ["none"]},
        {"metrics_bytes": "x"},
        {"pending": {"lines": 1}},
        {"pending": 7},
    ],
    ids=str,
)
def test_a_checkpoint_that_holds_other_facts_is_named(fit, tmp_path, change):
    fit(Toy(), listener=Watcher(stop_at=7))
    file = tmp_path / "run" / "resume" / "last.safetensors"
    tensors, facts = read_tensors(file)
    write_tensors(file, tensors, {**facts, **change})
    with pytest.raises(RunError, match=r"last\.safetensors is no checkpoint of this run \(.*\)\. Restore it"):
        fit(Toy())


@pytest.mark.parametrize("name", ["random", "optimizer/0/exp_avg"])
def test_a_checkpoint_that_holds_other_tensors_is_named(fit, tmp_path, name):
    fit(Toy(), listener=Watcher(stop_at=7))
    file = tmp_path / "run" / "resume" / "last.safetensors"
    tensors, facts = read_tensors(file)
    for change in ({name: torch.zeros(1, 1, 7)}, {f"optimizer/{name}": torch.zeros(2)}):
        write_tensors(file, {**tensors, **change}, facts)
        with pytest.raises(RunError, match=r"last\.safetensors is no checkpoint of this run"):
            fit(Toy())


def test_it_goes_on_with_the_same_data_or_not_at_all(fit):
    fit(Toy(text="a"), listener=Watcher(stop_at=7))
    with pytest.raises(
        RunError, match=r"^The text of .*run changed since it was trained: the hash was 'a' and is 'b'. Put"
    ):
        fit(Toy(text="b"))


@pytest.mark.parametrize("accelerator", ["bf16"], indirect=True)
def test_after_training_in_bf16_the_model_computes_in_its_own_precision(fit):
    task, x = Toy(), torch.full((1, 2), 0.123)
    fit(task, precision="bf16")
    assert torch.equal(task.model(x), x @ task.model.matrix + task.model.vector)
