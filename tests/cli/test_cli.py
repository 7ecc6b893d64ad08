# SPDX-License-Identifier: MIT
"""The command line, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from fifo import through_a_pipe

import minidistill.data
from minidistill import MLP, Dataset, quantize
from minidistill.cli import main
from minidistill.data import load_table
from minidistill.export import c_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder):
    """Two clouds of 40 points each, in columns of very different scale, as a CSV with a header."""
    random = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.stack([y + 0.2 * random.standard_normal(80), 1000 * random.standard_normal(80)], axis=1)
    rows = [f"{a},{b},{label}" for (a, b), label in zip(x, y, strict=True)]
    (folder / "clouds.csv").write_text("small,large,cloud\n" + "\n".join(rows) + "\n")
    return "clouds.csv"


@pytest.fixture
def teacher(table, capsys):
    assert main(["train", table, "--hidden", "32,32", "--epochs", "20", "--out", "teacher.npz"]) == 0
    capsys.readouterr()
    return "teacher.npz"


def refusal(capsys, *arguments):
    """What the command says of a mistake: on stderr, with status 2; nothing on stdout, no file left half-written."""
    before = set(os.listdir())
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # argparse's own way to refuse an option
        status = stop.code
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert "Traceback" not in said.err
    assert set(os.listdir()) == before
    assert "usage:" not in said.err
    return said.err.splitlines()[-1]


# ---------------------------------------------------------------------------------------------- the commands


def test_a_trained_network_reads_the_file_that_it_was_trained_on(teacher, table, capsys):
    assert main(["predict", teacher, table, "--label", "cloud"]) == 0
    labels = [int(line) for line in capsys.readouterr().out.split()]
    assert np.mean(np.array(labels) == np.arange(80) % 2) > 0.9


def test_distilling_gives_a_small_student_that_agrees_with_its_teacher(teacher, table, capsys):
    assert main(["distill", table, "--teacher", teacher, "--hidden", "4", "--out", "student.npz"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "student.npz", table, "--teacher", teacher, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["student"]["agreement"] > 0.9
    assert report["student"]["parameters"] < report["teacher"]["parameters"] / 10


def test_several_teachers_are_an_ensemble(teacher, table, capsys):
    main(["train", table, "--out", "other.npz", "--seed", "1", "--epochs", "5"])
    assert main(["distill", table, "--teacher", teacher, "other.npz", "--epochs", "5", "--out", "student.npz"]) == 0


def test_a_sweep_tries_settings_on_validation_rows_and_goes_on_from_its_file(teacher, table, capsys):
    sweep = ["sweep", table, "--teacher", teacher, "--widths", "4", "--temperatures", "1,4", "--epochs", "2",
             "--executor", "processes:1", "--results", "sweep.jsonl"]  # fmt: skip
    assert main([*sweep, "--seeds", "1"]) == 0
    assert "Best on the validation data, mean of 1 seed" in capsys.readouterr().out
    assert main([*sweep, "--seeds", "2", "--figure", "sweep.png", "--json"]) == 0
    said = capsys.readouterr()
    assert "8 students, 4 of them finished before" in said.err
    report = json.loads(said.out)
    assert len(report["points"]) == 8
    assert report["settings"]["epochs"] == 2
    assert os.path.getsize("sweep.png") > 0


def test_no_labels_are_needed_where_alpha_is_1(teacher, folder):
    (folder / "bare.csv").write_text("\n".join(f"{k % 2},{k}" for k in range(40)))
    bare = ["distill", "bare.csv", "--label", "none", "--teacher", teacher, "--out", "student.npz", "--epochs", "2"]
    assert main([*bare, "--alpha", "1"]) == 0
    assert main([*bare, "--alpha", "0.5"]) == 2


def test_a_network_without_a_teacher_is_measured_alone(teacher, table, capsys):
    assert main(["evaluate", teacher, table]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_probabilities_are_written_to_csv_and_npz(teacher, table, capsys):
    for name in ("p.csv", "p.npz"):
        assert main(["predict", teacher, table, "--label", "cloud", "--proba", "--out", name]) == 0
    from_text, from_arrays = np.loadtxt("p.csv", delimiter=","), np.load("p.npz")
    np.testing.assert_allclose(from_text, from_arrays["probabilities"], rtol=1e-5)  # six digits are printed
    np.testing.assert_allclose(from_text.sum(axis=1), 1, rtol=1e-5)
    assert (from_arrays["labels"] == from_text.argmax(axis=1)).all()


@pytest.fixture
def batches(teacher, table):
    """A student, two batches on which it agrees with its teacher, and one on which it often does not."""
    main(["distill", table, "--teacher", teacher, "--hidden", "4", "--out", "student.npz"])
    x = np.loadtxt(table, delimiter=",", skiprows=1)[:, :2]
    np.savetxt("monday.csv", x, delimiter=",")
    np.savez("tuesday.npz", x=x)
    random = np.random.default_rng(0)
    middle = np.stack([random.uniform(0.3, 0.7, 400), 2000 * random.standard_normal(400)], axis=1)
    np.savez("storm.npz", x=middle)
    return ["gate", "student.npz", "--teacher", teacher, "--state", "gate.npz", "--share", "1", "--promised", "0.9"]


def test_a_gate_says_its_verdict_by_line_and_by_exit_status_and_remembers(batches, capsys):
    capsys.readouterr()
    assert main([*batches, "monday.csv", "tuesday.npz"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["monday.csv", "tuesday.npz"]
    assert all(line.endswith(": ok") and "of 80 watched agree" in line for line in lines)
    assert "0 of 0 inputs watched before" in said.err
    assert main([*batches, "storm.npz", "--json"]) == 3
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["verdict"] == "alarm"
    assert report["batches"][0]["watched"] == 400
    assert "160 of 160 inputs watched before" in said.err
    assert "alarm since input" in said.err
    assert main([*batches, "monday.csv"]) == 3  # an alarm stays


def test_a_gate_promises_what_a_reference_proves(batches, table, capsys):
    reference = [*batches[:-2], "--reference", table, "--label", "cloud"]
    capsys.readouterr()
    assert main([*reference, table]) == 0
    assert "promised agreement 9" in capsys.readouterr().err


def test_what_a_gate_cannot_go_on_from_is_refused_in_a_line(batches, table, capsys):
    main([*batches, "monday.csv"])
    capsys.readouterr()
    assert "sample_rate was 1.0, is now 0.5" in refusal(capsys, *batches, "--share", "0.5", "monday.csv")
    assert "batch: clouds.csv has 3 columns, and student takes 2" in refusal(capsys, *batches, table)
    assert "either --promised or --reference" in refusal(capsys, *batches[:-2], "monday.csv")
    assert "--share: must be a number in (0, 1], got '2'" in refusal(capsys, *batches, "--share", "2", "monday.csv")
    os.truncate("gate.npz", os.path.getsize("gate.npz") // 2)
    assert "delete it to begin anew" in refusal(capsys, *batches, "monday.csv")


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_json_is_one_object_and_nothing_else(command, teacher, table, capsys):
    more = {"train": [table, "--out", "x.npz", "--validation", "0"], "evaluate": [teacher, table],
            "predict": [teacher, table, "--label", "cloud"]}[command]
    assert main([command, *more, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


@pytest.mark.parametrize(("word", "function"), [("mnist", "mnist"), ("fashion-mnist", "fashion_mnist")])
def test_a_data_set_has_a_word_for_training_and_test(word, function, folder, monkeypatch, capsys):
    random = np.random.default_rng(0)
    training, test = (Dataset(random.random((rows, 3)), np.arange(rows) % 2) for rows in (40, 7))
    monkeypatch.setattr(minidistill.data, function, lambda: (training, test))
    assert main(["train", word, "--validation", "0", "--epochs", "1", "--out", "x.npz"]) == 0
    assert "on 40 rows" in capsys.readouterr().err
    assert main(["predict", "x.npz", word]) == 0
    assert len(capsys.readouterr().out.split()) == 7
    assert main(["evaluate", "x.npz", word]) == 0


def test_data_that_cannot_be_had_is_one_clear_line(folder, monkeypatch, capsys):
    monkeypatch.setenv("MINIDISTILL_DATA", "nowhere")
    said = refusal(capsys, "train", "mnist", "--out", "x.npz")
    assert said == "minidistill train: error: MINIDISTILL_DATA must name a folder, got 'nowhere'"


def test_the_same_seed_writes_the_same_network(table):
    for name, seed in (("a.npz", "3"), ("b.npz", "3"), ("c.npz", "4")):
        assert main(["train", table, "--epochs", "3", "--seed", seed, "--out", name]) == 0
    a, b, c = (MLP.load(name).parameters for name in ("a.npz", "b.npz", "c.npz"))
    assert (a == b).all()
    assert (a != c).any()


@pytest.fixture
def pictures(folder):
    """Sixty images of 6x6, a bright pixel each near an upper or a lower corner, on a dark ground of value 3."""
    y = np.arange(60) % 2
    x = np.full((60, 36), 3.0, np.float32)
    x[np.arange(60), np.where(y == 0, 7, 28)] = 90 + np.arange(60)
    np.savez(folder / "pictures.npz", x=x, y=y)
    return "pictures.npz"


@pytest.mark.parametrize(
    "augment",
    [["--jitter", "1"], ["--mixup", "0.2"], ["--jitter", "1", "--mixup", "0.4", "--label-noise", "0.1"]],
    ids=" ".join,
)
def test_augmented_networks_read_the_file_as_it_is(pictures, capsys, augment):
    assert main(["train", pictures, "--epochs", "40", "--out", "t.npz", *augment]) == 0
    assert main(["distill", pictures, "--epochs", "40", "--teacher", "t.npz", "--out", "s.npz", *augment]) == 0
    capsys.readouterr()
    for network in ("t.npz", "s.npz"):
        assert main(["predict", network, pictures, "--json"]) == 0
        labels = json.loads(capsys.readouterr().out)["labels"]
        assert np.mean(np.array(labels) == np.arange(60) % 2) > 0.9


def test_a_teacher_sees_the_moved_rows_in_the_numbers_of_the_file(pictures, monkeypatch):
    main(["train", pictures, "--epochs", "1", "--out", "t.npz"])
    asked, logits = [], MLP.logits
    monkeypatch.setattr(MLP, "logits", lambda self, x: asked.append((self.sizes, np.array(x))) or logits(self, x))
    command = ["distill", pictures, "--epochs", "1", "--teacher", "t.npz", "--jitter", "1", "--out", "s.npz"]
    assert main([*command, "--hidden", "5"]) == 0
    rows = np.concatenate([x for sizes, x in asked if sizes == (36, 64, 2)])
    assert rows.shape == (2 * 48, 36)  # a fifth of the sixty is held out; the teacher is checked, then the epoch begins
    values = np.round(rows).astype(int)
    np.testing.assert_allclose(rows, values, atol=1e-3)
    assert set(np.unique(values)) <= {0, 3, *range(90, 150)}
    assert len(np.unique(values.argmax(axis=1))) > 2  # the bright pixel moved


def test_label_noise_is_the_same_for_the_same_seed_and_spares_the_validation_rows(table, capsys):
    accuracies = []
    for noise in ("0", "0.3", "0.3"):
        command = ["train", table, "--epochs", "20", "--label-noise", noise, "--hidden", "", "--out", "x.npz", "--json"]
        assert main(command) == 0
        accuracies.append(json.loads(capsys.readouterr().out))
    clean, noisy, again = accuracies
    assert noisy["loss"] == again["loss"] > 2 * clean["loss"]
    assert noisy["validation_accuracy"] > 0.8


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(pictures, capsys):
    train = ["train", pictures, "--epochs", "6", "--hidden", "8", "--dropout", "0.2", "--jitter", "1", "--out"]
    assert main([*train, "whole.npz"]) == 0
    code = "import os, minidistill.support.files as files; write, calls = files.os.replace, []\n" \
           "files.os.replace = lambda *names: write(*names) if calls.append(1) or len(calls) < 4 else os._exit(9)\n" \
           "from minidistill.cli import main; main()"
    command = [sys.executable, "-c", code, *train, "killed.npz", "--checkpoint", "run.npz"]
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 9
    assert not os.path.exists("killed.npz")
    capsys.readouterr()
    assert main([*train, "killed.npz", "--checkpoint", "run.npz"]) == 0
    assert "going on from run.npz" in capsys.readouterr().err
    np.testing.assert_array_equal(MLP.load("killed.npz").parameters, MLP.load("whole.npz").parameters)
    distill = ["distill", pictures, "--teacher", "whole.npz", "--epochs", "2", "--out", "s.npz"]
    with pytest.warns(UserWarning, match=r"the teacher's accuracy on the labeled rows is 50\.0%"):  # of six epochs
        assert main([*distill, "--checkpoint", "student.npz"]) == 0
    assert os.path.exists("student.npz")


@pytest.mark.parametrize("suffix", ["onnx", "safetensors", "pt"])
def test_a_network_goes_out_and_comes_in_again(suffix, teacher, table, capsys):
    pytest.importorskip({"pt": "torch"}.get(suffix, suffix))
    assert main(["export", teacher, "--out", f"net.{suffix}", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["bytes"]) == (suffix, os.path.getsize(f"net.{suffix}"))
    more = ["--activation", "relu"] if suffix == "pt" else []
    assert main(["import", f"net.{suffix}", "--out", "back.npz", *more]) == 0
    assert "saved back.npz (" in capsys.readouterr().out
    np.testing.assert_array_equal(MLP.load("back.npz").parameters, MLP.load(teacher).parameters)
    assert main(["evaluate", "back.npz", table, "--teacher", teacher]) == 0


def test_a_network_becomes_a_c_file_of_any_name(teacher, folder, capsys):
    assert main(["export", teacher, "--out", "clouds.txt", "--format", "c", "--name", "clouds"]) == 0
    assert "int clouds_predict(const float x[2], float logits[2])" in (folder / "clouds.txt").read_text()


def test_an_integer_network_predicts_is_evaluated_and_watched_like_any_other(teacher, table, folder, capsys):
    data = load_table(table)
    with pytest.warns(UserWarning, match="8 bits change the outputs of the first layer"):  # it takes raw columns
        integers = quantize(MLP.load(teacher), data.x)
    integers.save("integers.npz")
    assert main(["predict", "integers.npz", table, "--label", "cloud"]) == 0
    assert capsys.readouterr().out.split() == list(map(str, integers.predict(data.x)))
    assert main(["evaluate", "integers.npz", table, "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["network"]
    assert network["accuracy_mean"] == (integers.predict(data.x) == data.y).mean()
    assert network["bytes"] == integers.nbytes
    gate = ["gate", "integers.npz", "--teacher", teacher, "--state", "gate.npz", "--promised", "0.1", "--share", "1"]
    assert main([*gate, table, "--label", "cloud"]) == 0
    assert "of 80 watched agree" in capsys.readouterr().out


def test_an_integer_network_becomes_a_c_file_and_no_other(teacher, folder, capsys):
    integers = quantize(MLP.load(teacher), np.eye(2))
    integers.save("integers.npz")
    with pytest.warns(UserWarning, match="its inputs differ too much in scale"):
        quantize(MLP.load(teacher)).save("measured.npz")
    assert main(["export", "integers.npz", "--out", "clouds.c"]) == 0
    assert "QuantizedMLP(2-" in capsys.readouterr().out
    assert (folder / "clouds.c").read_text() == c_source(integers)
    assert "got a QuantizedMLP, which becomes C only" in refusal(capsys, "export", "integers.npz", "--out", "x.onnx")
    assert "network must be calibrated to become C" in refusal(capsys, "export", "measured.npz", "--out", "x.c")
    assert not (folder / "x.c").exists()


def test_weights_are_rounded_on_import_where_that_is_asked_for(folder, capsys):
    pytest.importorskip("safetensors")
    MLP((2, 2), dtype="float64").save("double.npz")
    assert main(["export", "double.npz", "--out", "double.safetensors"]) == 0
    for dtype, more in (("float64", []), ("float32", ["--dtype", "float32"])):
        assert main(["import", "double.safetensors", "--out", "back.npz", *more]) == 0
        assert MLP.load("back.npz").dtype == dtype


def test_help_teaches(capsys):
    for command in ("demo", "train", "distill", "sweep", "evaluate", "predict", "export", "import", "leaderboard"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert len(said) > 400
        assert command in ("demo", "export", "import") or "fashion-mnist" in said


# ---------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nowhere.csv", "--out", "x.npz"], "data: no such file: nowhere.csv"),
        (["train", "clouds.csv", "--out", "nowhere/x.npz"], "cannot write nowhere/x.npz"),
        (["train", "clouds.csv", "--out", "."], "it is a folder"),
        (["train", "clouds.csv", "--out", "x.npz", "--epochs", "0"],
         "--epochs: must be a whole number from 1, below 2^63, got '0'"),
        (["train", "clouds.csv", "--out", "x.npz", "--hidden", "8,0"], "whole numbers parted by commas"),
        (["train", "clouds.csv", "--out", "x.npz", "--dropout", "1"], "--dropout: must be a number in [0, 1), got '1'"),
        (["train", "clouds.csv", "--out", "x.npz", "--validation", "1.5"],
         "--validation: must be a number in [0, 1), got '1.5'"),
        (["train", "clouds.csv", "--out", "x.npz", "--learning-rate", "1e30", "--optimizer", "adam"], "epoch 1, step"),
        (["train", "clouds.csv", "--out", "x.npz", "--label", "colour"],
         "data: clouds.csv must have one column named 'colour'"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "clouds.csv"],
         "--teacher: clouds.csv is not an .npz"),
        (["distill", "digits", "--out", "x.npz", "--teacher", "teacher.npz"], "digits has 64 columns, and --teacher"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "teacher.npz", "--temperature", "0"],
         "--temperature: must be a number in [1e-6, 1e6), got '0'"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "teacher.npz", "--alpha", "2"],
         "--alpha: must be a number in [0, 1], got '2'"),
        (["predict", "teacher.npz", "clouds.csv"], "and model takes 2; if the last one is the label, pass --label -1"),
        (["evaluate", "teacher.npz", "digits"], "data: digits has 64 columns, and model takes 2"),
        (["train", "clouds.csv", "--out", "x.npz", "--classes", "1"], "--classes must be at least the 2"),
        (["train", "clouds.csv", "--out", "x.npz", "--batch-size", "0"], "--batch-size: must be a whole number from 1"),
        (["train", "clouds.csv", "--out", "x.npz", "--learning-rate", "0"],
         "--learning-rate: must be a number in (0, inf)"),
        (["train", "clouds.csv", "--out", "x.npz", "--hidden", "100000,100000"], "too many for memory"),
        (["train", "clouds.csv", "--out", ""], "cannot write '': it is a folder"),
        (["train", "clouds.csv", "--out", "clouds.csv/x.npz"], "cannot write clouds.csv/x.npz: no folder"),
        (["predict", "teacher.npz", "clouds.csv", "--out", "nowhere/p.csv"], "--out: cannot write nowhere/p.csv"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--temperatures", "1;2"],
         "must be numbers in [1e-6, 1e6) separated"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--validation", "0"], "--validation above 0"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--seeds", "0"], "--seeds: must be a whole number from 1"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--results", "nowhere/x"], "cannot write nowhere/x"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--results", "clouds.csv"], "is the same file as data"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--executor", "dask"], "executor must be 'processes:N'"),
        (["demo", "--figure", "nowhere/demo.png"], "--figure: cannot write nowhere/demo.png"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "teacher.npz"], "is not a checkpoint of"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "./x.npz"],
         "./x.npz is the same file as --out, x.npz"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "nowhere/x"], "checkpoint: cannot write nowhere/x"),
        (["train", "clouds.csv", "--out", "x.npz", "--jitter", "1"], "RandomShift needs square images"),
        (["train", "clouds.csv", "--out", "x.npz", "--jitter", "-1"], "--jitter: must be a whole number from 0, below"),
        (["train", "clouds.csv", "--out", "x.npz", "--mixup", "0"], "--mixup: must be a number in (0, inf), got '0'"),
        (["train", "clouds.csv", "--out", "x.npz", "--label-noise", "2"], "--label-noise: must be a number in [0, 1]"),
        (["demo", "--seeds", "0"], "argument --seeds: must be a whole number from 1"),
        (["demo", "--seed", "-1"], "argument --seed: must be a whole number from 0"),
        (["demo", "--figure", "demo.exe"], "--figure: must end in .png, .svg or .pdf, got demo.exe"),
        (["export", "clouds.csv", "--out", "x.c"], "clouds.csv is not an .npz file"),
        (["export", "teacher.npz", "--out", "x.exe"], "x.exe should end in .c, .onnx, .safetensors, .pt, or --format"),
        (["export", "teacher.npz", "--out", "nowhere/x.c"], "--out: cannot write nowhere/x.c"),
        (["export", "teacher.npz", "--out", "x.c", "--name", "2d"], "name must begin with a letter"),
        (["export", "teacher.npz", "--out", "x.onnx", "--name", "a"], "--name is for the functions of a C file, not"),
        (["import", "teacher.npz", "--out", "x.npz"], "teacher.npz should end in .onnx, .safetensors, .pt, or"),
        (["import", "nowhere.onnx", "--out", "x.npz"], "file: no such file: nowhere.onnx"),
        (["import", "teacher.npz", "--out", "x.npz", "--format", "onnx"], "file: teacher.npz is not an ONNX file"),
        (["import", "teacher.npz", "--out", "x.npz", "--format", "safetensors"], "is not a safetensors file"),
        (["import", "teacher.npz", "--out", "nowhere/x.npz"], "--out: cannot write nowhere/x.npz"),
        (["import", "teacher.npz", "--out", "x.npz", "--activation", "relu", "--format", "onnx"], "onnx does: teacher"),
        (["evaluate", "teacher.npz", "digits", "--teacher", "nope.npz"], "--teacher: no such file: nope.npz"),
        (["evaluate", ".", "digits"], "model: expected a file, got a folder: ."),
        (["evaluate", os.devnull, "digits"], "model: expected a regular file, got a pipe or a device: /dev/null"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", os.devnull],
         "--checkpoint: expected a regular file"),
        (["train", "clouds.csv", "--out", "x.npz", "--backend", "fpga"], "--backend: backend must be one of 'numpy'"),
        (["gate", "teacher.npz", "nope.csv", "--teacher", "teacher.npz", "--state", "s"],
         "batch: no such file: nope.csv"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_clear_line(arguments, said, teacher, capsys):
    assert said in refusal(capsys, *arguments)


def test_one_class_only_is_refused(folder, capsys):
    (folder / "one.csv").write_text("1,0\n2,0\n3,0\n")
    assert "at least two classes" in refusal(capsys, "train", "one.csv", "--out", "x.npz", "--validation", "0")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
def test_a_full_disk_is_one_clear_line(teacher, table, capsys):
    said = refusal(capsys, "predict", teacher, table, "--label", "-1", "--out", "/dev/full")
    assert said == "minidistill predict: error: No space left on device"


def test_closed_streams_are_no_error(teacher, table):
    command = f"{sys.executable} -m minidistill train {table} --out x.npz --epochs 1 >&- 2>&-"
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    assert subprocess.run(command, shell=True, env=environment, check=False).returncode == 0
    assert MLP.load("x.npz").sizes == (2, 64, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_file_name_that_cannot_be_printed_is_no_error(table):
    command = [sys.executable, "-m", "minidistill", "train", table, "--epochs", "1", "--out", b"caf\xe9.npz"]
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"saved caf\\udce9.npz"
    assert os.path.exists(b"caf\xe9.npz")


def test_a_truncated_network_is_refused(teacher, folder, capsys):
    whole = (folder / teacher).read_bytes()
    (folder / "half.npz").write_bytes(whole[: len(whole) // 2])
    assert "half.npz is not an .npz file, or is damaged" in refusal(capsys, "predict", "half.npz", "clouds.csv")


# ---------------------------------------------------------------------------------------------- inputs and outputs

READS = {  # a command, and the arguments of which each names a file that it reads
    "train": (["train", "clouds.csv", "--epochs", "1"], ["clouds.csv"]),
    "distill": (["distill", "clouds.csv", "--teacher", "t.npz", "--epochs", "1"], ["clouds.csv", "t.npz"]),
    "sweep": (["sweep", "clouds.csv", "--teacher", "t.npz"], ["clouds.csv", "t.npz"]),
    "predict": (["predict", "t.npz", "clouds.csv", "--label", "-1"], ["clouds.csv", "t.npz"]),
    "export": (["export", "t.npz", "--format", "c"], ["t.npz"]),
    "import": (["import", "t.npz", "--format", "onnx"], ["t.npz"]),
    "compress": (["compress", "clouds.csv", "--teacher", "t.npz"], ["clouds.csv", "t.npz"]),
    "gate": (["gate", "t.npz", "clouds.csv", "--teacher", "u.npz", "--promised", "0.5", "--reference", "more.csv"],
             ["t.npz", "clouds.csv", "u.npz", "more.csv"]),
}  # fmt: skip
WRITES = {"sweep": ["--results", "--figure"], "compress": ["--figure"], "gate": ["--state"],
          "train": ["--out", "--checkpoint"], "distill": ["--out", "--checkpoint"]}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "option", "read"),
    [(name, option, read) for name in READS for option in WRITES.get(name, ["--out"]) for read in READS[name][1]],
)
@pytest.mark.parametrize("through", ["{}", "here/{}", "link"])
def test_no_command_overwrites_a_file_that_it_reads(table, folder, capsys, command, option, read, through):
    for name in ("t.npz", "u.npz"):
        MLP((2, 3, 2)).save(name)
    (folder / "more.csv").write_text("1,0\n" * 40)
    (folder / "here").symlink_to(".")
    if option == "--figure":  # which must end in .png
        (folder / read).rename("read.png")
        read_as = "read.png"
    else:
        read_as = read
    (folder / "link.png").symlink_to(read_as)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    output = through.format(read_as).replace("link", "link.png")
    arguments = [read_as if argument == read else argument for argument in READS[command][0]]
    more = [] if option == "--out" or "--out" not in WRITES.get(command, ["--out"]) else ["--out", "out.npz"]
    said = refusal(capsys, *arguments, *more, option, output)
    assert f"{option}: {output} is the same file as " in said
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_two_outputs_of_a_command_are_two_files(teacher, table, capsys):
    sweep = ["sweep", table, "--teacher", teacher, "--results", "s.png", "--figure", "./s.png"]
    assert "is the same file as --figure" in refusal(capsys, *sweep)


@pytest.mark.parametrize("packed", [False, True], ids=["csv", "npz"])
def test_data_may_come_from_a_pipe(teacher, table, folder, capsys, packed):
    content = (folder / table).read_bytes()
    assert main(["predict", teacher, table, "--label", "-1"]) == 0
    expected = capsys.readouterr().out
    label = ["--label", "-1"]
    if packed:
        np.savez("clouds.npz", **vars(load_table(table)))
        content, label = (folder / "clouds.npz").read_bytes(), []
    for k, command in enumerate((["predict", teacher], ["evaluate", teacher], ["train"])):
        more = ["--out", "x.npz", "--epochs", "1"] if command == ["train"] else label if command[0] == "predict" else []
        with through_a_pipe(folder / f"pipe{k}", content) as path:
            assert main([*command, str(path), *more]) == 0
        said = capsys.readouterr()
        if command[0] == "predict":
            assert said.out == expected
    assert "on 64 rows" in said.err


def test_standard_input_is_read_whole(teacher, table):
    rows = "".join(f"{k % 2},{k}\n" for k in range(5000))
    command = [sys.executable, "-m", "minidistill", "predict", teacher, "/dev/stdin"]
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    done = subprocess.run(command, input=rows, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 5000


# ---------------------------------------------------------------------------------------------- Ctrl-C, pipes


def start(*arguments, backend="numpy"):
    return subprocess.Popen(
        [sys.executable, "-m", "minidistill", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MINIDISTILL_BACKEND": backend},
    )


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=[pytest.mark.compiles, pytest.mark.one_width])])
def test_ctrl_c_keeps_the_best_network_so_far(folder, backend):
    train = ("train", "digits", "--hidden", "16", "--out", "x.npz", "--epochs")
    start(*train, "1", backend=backend).communicate(timeout=120)  # compiles, where that is needed
    os.unlink("x.npz")
    process = start(*train, "1000000", backend=backend)
    assert "training" in process.stderr.readline()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "saved the best network to x.npz" in said
    assert "Traceback" not in said
    assert os.listdir() == ["x.npz"]
    assert MLP.load("x.npz").sizes == (64, 16, 10)


def test_a_reader_that_stops_reading_is_no_error(teacher, folder):
    np.savez(folder / "many.npz", x=np.zeros((50_000, 2), np.float32))
    process = start("predict", teacher, "many.npz")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr.read() == ""
    assert process.returncode == 0
    process.stderr.close()
