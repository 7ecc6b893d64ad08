# SPDX-License-Identifier: MIT
"""The commands that apply and measure saved networks: evaluate, predict and gate."""

import json
import os

import numpy as np
import pytest

from minidistill import MLP, quantize
from minidistill.cli import main
from minidistill.data import load_table


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
    gate = ["gate", "student.npz", "--teacher", teacher, "--state", "gate.npz", "--sample-rate", "1"]
    return [*gate, "--min-agreement", "0.9"]


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


def test_what_a_gate_cannot_go_on_from_is_refused_in_a_line(batches, table, capsys, refusal):
    main([*batches, "monday.csv"])
    capsys.readouterr()
    assert "sample_rate was 1.0, is now 0.5" in refusal(*batches, "--sample-rate", "0.5", "monday.csv")
    assert "batch: clouds.csv has 3 columns, and student takes 2" in refusal(*batches, table)
    assert "either --min-agreement or --reference" in refusal(*batches[:-2], "monday.csv")
    assert "--sample-rate: must be a number in (0, 1], got '2'" in refusal(*batches, "--sample-rate", "2", "monday.csv")
    os.truncate("gate.npz", os.path.getsize("gate.npz") // 2)
    assert "delete it to begin anew" in refusal(*batches, "monday.csv")


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
    gate = ["gate", "integers.npz", table, "--label", "cloud", "--teacher", teacher, "--state", "gate.npz"]
    assert main([*gate, "--min-agreement", "0.1", "--sample-rate", "1"]) == 0
    assert "of 80 watched agree" in capsys.readouterr().out
