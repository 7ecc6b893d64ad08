# SPDX-License-Identifier: MIT
"""The commands that train: train, distill and sweep."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from minidistill import MLP
from minidistill.cli import main


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
    assert main([*sweep, "--num-seeds", "1"]) == 0
    assert "Best on the validation data, mean of 1 seed" in capsys.readouterr().out
    assert main([*sweep, "--num-seeds", "2", "--figure", "sweep.png", "--json"]) == 0
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


def test_the_same_seed_writes_the_same_network(table):
    for name, seed in (("a.npz", "3"), ("b.npz", "3"), ("c.npz", "4")):
        assert main(["train", table, "--epochs", "3", "--seed", seed, "--out", name]) == 0
    a, b, c = (MLP.load(name).parameters for name in ("a.npz", "b.npz", "c.npz"))
    assert (a == b).all()
    assert (a != c).any()


@pytest.mark.parametrize(
    "augment",
    [["--max-shift", "1"], ["--mixup", "0.2"], ["--max-shift", "1", "--mixup", "0.4", "--label-noise", "0.1"]],
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
    command = ["distill", pictures, "--epochs", "1", "--teacher", "t.npz", "--max-shift", "1", "--out", "s.npz"]
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
    train = ["train", pictures, "--epochs", "6", "--hidden", "8", "--dropout", "0.2", "--max-shift", "1", "--out"]
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
    assert "resuming from run.npz" in capsys.readouterr().err
    np.testing.assert_array_equal(MLP.load("killed.npz").parameters, MLP.load("whole.npz").parameters)
    distill = ["distill", pictures, "--teacher", "whole.npz", "--epochs", "2", "--out", "s.npz"]
    with pytest.warns(UserWarning, match=r"the teacher's accuracy on the labeled rows is 50\.0%"):  # of six epochs
        assert main([*distill, "--checkpoint", "student.npz"]) == 0
    assert os.path.exists("student.npz")


def test_one_class_only_is_refused(folder, refusal):
    (folder / "one.csv").write_text("1,0\n2,0\n3,0\n")
    assert "at least two classes" in refusal("train", "one.csv", "--out", "x.npz", "--validation", "0")
