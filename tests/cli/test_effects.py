# SPDX-License-Identifier: MIT
"""Every option reaches the library: each command runs up to its call of the library, whose arguments are compared."""

import importlib
import inspect
import json

import numpy as np
import pytest

from minidistill import (
    MLP,
    SGD,
    Adam,
    CosineSchedule,
    Dataset,
    Mixup,
    RandomShift,
    SoftTarget,
    digits,
    load_table,
    with_label_noise,
)
from minidistill.cli import main
from minidistill.distillation.standardized import Standardization


class Call(Exception):
    """The arguments of the library function, by name."""


@pytest.fixture
def called(monkeypatch, table):
    """A function that runs a command and returns what it calls `function` with, {name: value}."""
    for name, sizes in (("teacher", (2, 6, 2)), ("student", (2, 3, 2)), ("eyes", (64, 5, 10))):
        MLP(sizes, seed=len(name)).save(f"{name}.npz")

    def run(function, command):
        module, _, name = f"minidistill.{function}".rpartition(".")
        owner = importlib.import_module(module)
        signature = inspect.signature(getattr(owner, name))

        def record(*arguments, **keywords):
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            options = {key: bound.arguments.pop(key) for key in ("options",) if key in bound.arguments}
            raise Call({**bound.arguments, **options.get("options", {})})

        with monkeypatch.context() as patch, pytest.raises(Call) as stopped:
            patch.setattr(owner, name, record)
            main(command.split())
        (found,) = stopped.value.args
        return found

    return run


def same_data(given, wanted):
    np.testing.assert_array_equal(given.x, wanted.x)
    np.testing.assert_array_equal(given.y, wanted.y)


FITTING = {  # of train, distill and sweep; sweep has no checkpoint, and the like
    "": {"epochs": 50, "batch_size": 32, "optimizer": SGD(CosineSchedule(0.1), clip_norm=1.0), "patience": None},
    "--epochs 7": {"epochs": 7},
    "--batch-size 5": {"batch_size": 5},
    "--optimizer adam": {"optimizer": Adam(CosineSchedule(0.003))},
    "--learning-rate 0.5": {"optimizer": SGD(CosineSchedule(0.5), clip_norm=1.0)},
    "--optimizer adam --learning-rate 0.5": {"optimizer": Adam(CosineSchedule(0.5))},
    "--patience 3": {"patience": 3},
}
TRAINING = FITTING | {
    " ": {"seed": 0, "augment": [], "per_column": True, "checkpoint": None},
    "--seed 4": {"seed": 4},
    "--mixup 0.3": {"augment": [Mixup(2, 0.3)]},
    "--checkpoint run.npz": {"checkpoint": "run.npz"},
}
NETWORK = {
    "": {"sizes": (2, 64, 2), "activation": "relu", "dropout": (0.0, 0.0), "seed": 0},
    "--hidden 3,4": {"sizes": (2, 3, 4, 2)},
    "--activation tanh": {"activation": "tanh"},
    "--dropout 0.25": {"dropout": (0.0, 0.25)},
    "--seed 4": {"seed": 4},
}
FIT = "distillation.standardized.fit_standardized"
TRAIN, DISTILL = "train clouds.csv --out o.npz ", "distill clouds.csv --out o.npz --teacher teacher.npz "


@pytest.mark.parametrize("command", [TRAIN, DISTILL])
@pytest.mark.parametrize("option", TRAINING)
def test_options_of_training(called, command, option):
    found = called(FIT, command + option)
    assert {name: found[name] for name in TRAINING[option]} == TRAINING[option]


@pytest.mark.parametrize("command", [TRAIN, DISTILL])
@pytest.mark.parametrize("option", NETWORK)
def test_options_of_the_network(called, command, option):
    network = called(FIT, command + option)["network"]
    assert {name: getattr(network, name) for name in NETWORK[option]} == NETWORK[option]


@pytest.mark.parametrize("command", [TRAIN, DISTILL])
@pytest.mark.parametrize(("option", "share", "seed"), [("", 0.2, 0), ("--validation 0.5 --seed 3", 0.5, 3)])
def test_options_of_the_split(called, command, option, share, seed):
    found, rows = called(FIT, command + option), load_table("clouds.csv")
    training, validation = Dataset(rows.x.astype(np.float32), rows.y).split(1 - share, seed=seed)
    same_data(found["data"], training)
    same_data(found["validation"], validation)


def test_no_validation_rows(called):
    found = called(FIT, TRAIN + "--validation 0")
    assert found["validation"] is None
    assert len(found["data"]) == 80


def test_label_noise_replaces_labels_of_training_rows_alone(called):
    plain, noisy = called(FIT, TRAIN + "--seed 5"), called(FIT, TRAIN + "--seed 5 --label-noise 0.5")
    same_data(noisy["data"], with_label_noise(plain["data"], 0.5, 5, 2))
    same_data(noisy["validation"], plain["validation"])
    assert noisy["augment"] == []


def test_moved_images_have_one_scale_for_all_columns(called):
    found = called(FIT, "train digits --out o.npz --max-shift 2 --mixup 0.1")
    assert found["augment"] == [RandomShift(2), Mixup(10, 0.1)]
    assert not found["per_column"]


def test_columns_and_classes(called):
    assert called(FIT, TRAIN + "--classes 5")["network"].sizes[-1] == 5
    by_name = called(FIT, TRAIN + "--label cloud --validation 0")["data"]
    same_data(by_name, called(FIT, TRAIN + "--validation 0")["data"])
    MLP((3, 4, 2)).save("three.npz")
    unlabeled = called(FIT, "distill clouds.csv --label none --alpha 1 --out o.npz --teacher three.npz")
    assert unlabeled["data"].y is None
    assert unlabeled["data"].x.shape == (80, 3)


def test_teacher_and_loss_of_distill(called):
    found = called(FIT, DISTILL + "teacher.npz --temperature 3 --alpha 0.7")
    assert found["loss"] == SoftTarget(3.0, 0.7)
    teacher = MLP.load("teacher.npz")
    assert [np.array_equal(one.parameters, teacher.parameters) for one in found["teacher"]] == [True, True]
    assert called(FIT, DISTILL)["loss"] == SoftTarget(4.0, 0.5)
    assert called(FIT, TRAIN)["teacher"] is called(FIT, TRAIN)["loss"] is None


SWEEP = FITTING | {
    " ": {"temperatures": (1, 2, 4, 8), "alphas": (0.5, 0.9), "widths": (32,), "seeds": range(3), "hidden_layers": 1,
          "activation": "relu", "dropout": 0.0, "executor": None, "file": None, "classes": 2},
    "--temperatures 3,5": {"temperatures": (3.0, 5.0)},
    "--alphas 0.2,0.3": {"alphas": (0.2, 0.3)},
    "--widths 4,9": {"widths": (4, 9)},
    "--layers 3": {"hidden_layers": 3},
    "--activation gelu": {"activation": "gelu"},
    "--dropout 0.25": {"dropout": 0.25},
    "--num-seeds 2 --seed 7": {"seeds": range(7, 9)},
    "--executor processes:1": {"executor": "processes:1"},
    "--results r.jsonl": {"file": "r.jsonl"},
}  # fmt: skip


@pytest.mark.parametrize("option", SWEEP)
def test_options_of_a_sweep(called, option):
    found = called("experiments.sweep.sweep", "sweep clouds.csv --teacher teacher.npz " + option)
    assert {name: found[name] for name in SWEEP[option]} == SWEEP[option]


@pytest.mark.parametrize(("option", "share", "seed"), [("", 0.2, 0), ("--validation 0.5 --seed 3", 0.5, 3)])
def test_rows_and_answers_of_a_sweep(called, option, share, seed):
    found = called("experiments.sweep.sweep", "sweep clouds.csv --teacher teacher.npz " + option)
    rows = load_table("clouds.csv")
    raw = Dataset(rows.x.astype(np.float32), rows.y).split(1 - share, seed=seed)
    scaling, teacher = Standardization.of(raw[0]), MLP.load("teacher.npz")
    for part, given, targets in zip(raw, (found["training"], found["validation"]),
                                    (found["teacher"], found["validation_targets"]), strict=True):  # fmt: skip
        same_data(given, scaling.apply(part))
        np.testing.assert_allclose(targets.logits_for(given), teacher.logits(part.x), rtol=1e-5)


COMPRESS = {
    "": {"hidden": (32,), "epochs": 100, "batch_size": 32, "seeds": 3, "seed": 0, "price": 0.05},
    "--hidden 5,6": {"hidden": (5, 6)},
    "--epochs 7": {"epochs": 7},
    "--batch-size 5": {"batch_size": 5},
    "--num-seeds 2": {"seeds": 2},
    "--seed 4": {"seed": 4},
    "--price 0.5": {"price": 0.5},
}


@pytest.mark.parametrize("option", COMPRESS)
def test_options_of_compress(called, option):
    found = called("deployment.compression.compress", "compress clouds.csv --teacher teacher.npz " + option)
    assert {name: found[name] for name in COMPRESS[option]} == COMPRESS[option]


def test_rows_of_compress(called):
    command, rows = "compress clouds.csv --teacher teacher.npz --seed 3", load_table("clouds.csv")
    rows = Dataset(rows.x.astype(np.float32), rows.y)
    for option, share, count in (("", 0.2, 64), (" --test 0.5", 0.5, 40), (" --rows 20", 0.2, 20)):
        found = called("deployment.compression.compress", command + option)
        test, data = rows.split(share, seed=3)
        data = data.take(count, seed=3) if "rows" in option else data
        same_data(found["training"], Standardization.of(data).apply(data))
        same_data(found["test"], Standardization.of(data).apply(test))
    of_digits = called("deployment.compression.compress", "compress digits --teacher eyes.npz")
    assert (len(of_digits["training"]), len(of_digits["test"])) == tuple(map(len, digits()))


GATE = {
    "--min-agreement 0.8": {"min_agreement": 0.8, "sample_rate": 0.05, "false_alarm_rate": 0.05, "horizon": 100_000,
                            "seed": 0, "file": "s.npz"},
    "--min-agreement 0.8 --sample-rate 0.5": {"sample_rate": 0.5},
    "--min-agreement 0.8 --false-alarms 0.2": {"false_alarm_rate": 0.2},
    "--min-agreement 0.8 --horizon 500": {"horizon": 500},
    "--min-agreement 0.8 --seed 4": {"seed": 4},
}  # fmt: skip


@pytest.mark.parametrize("option", GATE)
def test_options_of_a_gate(called, option):
    command = "gate student.npz clouds.csv --label 2 --teacher teacher.npz --state s.npz "
    found = called("deployment.gate.QualityGate", command + option)
    assert {name: found[name] for name in GATE[option]} == GATE[option]
    assert (found["student"].sizes, found["teacher"].sizes) == ((2, 3, 2), (2, 6, 2))


@pytest.mark.parametrize(("option", "tolerance"), [("", 0.01), ("--tolerance 0.2", 0.2)])
def test_the_reference_of_a_gate(called, option, tolerance):
    command = "gate student.npz clouds.csv --label 2 --teacher teacher.npz --state s.npz --reference clouds.csv "
    found = called("deployment.gate.promise", command + option)
    assert (len(found["validation"]), found["tolerance"], found["delta"]) == (80, tolerance, 0.05)
    of_digits = "gate eyes.npz digits --teacher eyes.npz --state s.npz --reference digits"
    same_data(called("deployment.gate.promise", of_digits)["validation"], digits()[1])


def test_evaluate_measures_the_test_images(called):
    assert len(called("training.evaluation.measure", "evaluate eyes.npz digits")["data"]) == len(digits()[1])
    found = called("training.evaluation.compare", "evaluate eyes.npz digits --teacher eyes.npz")
    same_data(found["data"], Dataset(digits()[1].x.astype(np.float32), digits()[1].y))
    assert len(found["students"]) == 1


EXPERIMENTS = [
    ("experiments.demo.run_demo", "demo", {"seeds": 5, "seed": 0}),
    ("experiments.demo.run_demo", "demo --num-seeds 2 --seed 3", {"seeds": 2, "seed": 3}),
    ("experiments.reproduce.reproduce", "reproduce mutual", {"name": "mutual", "seeds": None, "quick": False,
                                                             "held_out": False}),
    ("experiments.reproduce.reproduce", "reproduce deploy --num-seeds 2 --quick --held-out",
     {"name": "deploy", "seeds": 2, "quick": True, "held_out": True}),
    ("experiments.leaderboard.leaderboard", "leaderboard digits", {"data": "digits", "seeds": None, "quick": False}),
    ("experiments.leaderboard.leaderboard", "leaderboard digits --quick --num-seeds 3", {"seeds": 3, "quick": True}),
    ("experiments.bench.run_bench", "bench", {"quick": False}),
    ("experiments.bench.run_bench", "bench --quick", {"quick": True}),
    ("export.to_c", "export student.npz --out n.c --name small", {"path": "n.c", "name": "small"}),
    ("export.to_onnx", "export student.npz --out n --format onnx", {"path": "n"}),
    ("export.from_pt", "import student.npz --format pt --out o.npz --activation tanh --dtype float64",
     {"path": "student.npz", "activation": "tanh", "dtype": "float64"}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "command", "wanted"), EXPERIMENTS, ids=lambda value: str(value)[:40])
def test_options_of_other_commands(called, function, command, wanted):
    found = called(function, command)
    assert {name: found[name] for name in wanted} == wanted
    if "log" in found:
        found["log"]("a line")  # of progress


def test_predict_labels_the_test_images(called, capsys):
    assert main(["predict", "eyes.npz", "digits"]) == 0
    assert list(map(int, capsys.readouterr().out.split())) == MLP.load("eyes.npz").predict(digits()[1].x).tolist()


def test_predict_at_a_temperature(table, capsys, called):
    network, x = MLP.load("student.npz"), load_table("clouds.csv").x
    for option, T in (("", 1.0), ("--temperature 5", 5.0)):
        assert main(f"predict student.npz clouds.csv --label 2 --proba {option}".split()) == 0
        shown = np.array([line.split(",") for line in capsys.readouterr().out.splitlines()], float)
        np.testing.assert_allclose(shown, network.predict_proba(x, T), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("option", ["", "--patience 40"])
def test_the_accuracy_that_is_printed_is_that_of_the_network_that_is_saved(called, capsys, option):
    fast = "--epochs 40 --learning-rate 3 --hidden 2"  # so that the best epoch is not the last one
    assert main(f"{TRAIN} --json {fast} --seed 1 --validation 0.5 {option}".split()) == 0
    shown = json.loads(capsys.readouterr().out)
    rows = load_table("clouds.csv")
    validation = Dataset(rows.x.astype(np.float32), rows.y).split(0.5, seed=1)[1]
    assert shown["validation_accuracy"] == (MLP.load("o.npz").predict(validation.x) == validation.y).mean()
    assert (shown["best_epoch"] == shown["epochs"] == 40) == (not option)
