# SPDX-License-Identifier: MIT
"""The leaderboard chooses by validation images, whoever does the work, and runs from the command line."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from minidistill import Dataset, digits
from minidistill.cli import main
from minidistill.experiments import leaderboard
from minidistill.experiments.leaderboard import BY_NAME, METHODS, NAMES, SETUPS, Classroom, contest, names_at_hand
from minidistill.experiments.reproduce.study import on_all_cores

ENVIRONMENT = {**os.environ, "NUMBA_NUM_THREADS": "1"}  # two collapse where another process wants a core


def numbered(start, count):
    """Points in two clouds; the first column is their number."""
    y = np.arange(count) % 2
    return Dataset(np.stack([np.arange(start, start + count), y], axis=1).astype(np.float32), y)


class Scripted:
    """A classroom that answers, in the place of training, what each method is to score."""

    def __init__(self, monkeypatch, validated, tested):
        self.validated, self.tested, self.calls = validated, tested, []
        monkeypatch.setattr(leaderboard, "_validated", self.validate)
        monkeypatch.setattr(leaderboard, "_tested", self.test)

    def validate(self, name, setting, seed):
        self.calls.append(("validated", name, seed))
        return self.validated(name, setting, seed)

    def test(self, name, setting, seed):
        self.calls.append(("tested", name, seed))
        return self.tested(name, setting, seed), 90.0, 0.5

    def run(self, jobs):
        return [function(*arguments) for function, *arguments in jobs]


TWO = (BY_NAME["SoftTarget"], BY_NAME["DIST"])


def test_the_setting_with_the_best_mean_on_validation_images_is_the_one_that_is_tested(monkeypatch):
    wanted = {"SoftTarget": TWO[0].trials[4], "DIST": TWO[1].trials[2]}

    def validated(name, setting, seed):
        lucky = 99.0 if setting == BY_NAME[name].trials[0] and seed == 0 else 50.0  # with one seed alone
        return 90.0 if setting == wanted[name] else lucky

    room = Scripted(monkeypatch, validated, lambda name, setting, seed: 80.0 + 5.0 * (setting == wanted[name]) + seed)
    rows = contest(TWO, room.run, [0, 1, 2], [0, 1], lambda line: None)
    assert {row.method: row.setting for row in rows} == wanted
    assert [row.accuracies for row in rows] == [[85.0, 86.0, 87.0]] * 2
    assert [row.validation for row in rows] == [90.0, 90.0]


def test_every_method_is_validated_as_often_and_tested_once_a_seed_at_the_end(monkeypatch):
    room = Scripted(monkeypatch, lambda *_: 50.0, lambda *_: 50.0)
    contest(METHODS, room.run, [0, 1, 2], [0, 1], lambda line: None)
    kinds = [kind for kind, _, _ in room.calls]
    assert kinds == sorted(kinds, key=["validated", "tested"].index)
    for method in METHODS:
        assert sum(call[:2] == ("validated", method.name) for call in room.calls) == 12
        assert [call for call in room.calls if call[:2] == ("tested", method.name)] == [
            ("tested", method.name, seed) for seed in range(3)
        ]


def test_differences_are_taken_seed_by_seed(monkeypatch):
    accuracies = {"SoftTarget": [90.0, 80.0], "DIST": [91.0, 79.0]}
    room = Scripted(monkeypatch, lambda *_: 50.0, lambda name, setting, seed: accuracies[name][seed])
    rows = contest(TWO, room.run, [0, 1], [0], lambda line: None)
    assert [row.differences for row in rows] == [[0.0, 0.0], [1.0, -1.0]]


def test_a_trial_that_diverges_is_not_chosen(monkeypatch):
    def fails(room, seed, **setting):
        raise ArithmeticError("diverged")

    monkeypatch.setitem(BY_NAME, "DIST", leaderboard.Method("DIST", [{}], fails))
    assert leaderboard._validated(None, "DIST", {}, 0) < 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quick", [False, True])
def test_nobody_learns_from_images_to_validate_or_test_on(name, quick):
    setup = SETUPS[name].quick() if quick else SETUPS[name]
    whole = {"digits": (1_297, 500)}.get(name, (60_000, 10_000))
    images, validation, test = leaderboard._parts(setup, numbered(0, whole[0]), numbered(100_000, whole[1]))
    numbers = [set(part.x[:, 0].tolist()) for part in (images, validation, test)]
    assert len(set.union(*numbers)) == setup.images + setup.tested
    assert min(numbers[2]) >= 100_000 > max(numbers[0] | numbers[1])
    assert setup.seen < len(images)


@pytest.mark.compiles
@pytest.mark.one_width
def test_results_do_not_depend_on_the_number_of_workers(monkeypatch):
    images, test = digits()
    teachers = [leaderboard.MLP((64, 16, 10), seed=seed) for seed in range(3)]
    room = Classroom(images, test, test, teachers, (8,), 12, seen=60, epochs=2, rate=0.01, batch_size=30)
    methods = (*TWO, BY_NAME["mutual"], BY_NAME["Hint"])
    found = []
    for cores in (1, 2):
        monkeypatch.setattr("minidistill.experiments.reproduce.study.usable_cores", lambda cores=cores: cores)
        with on_all_cores(room) as run:
            found.append(contest(methods, run, [0, 1], [0], lambda line: None))
    one, two = ([(row.setting, row.accuracies, row.agreements) for row in rows] for rows in found)
    assert one == two


# ---------------------------------------------------------------------------------------------- the command


@pytest.mark.compiles
@pytest.mark.one_width
def test_the_quick_form_ranks_every_method_on_the_digits(tmp_path):
    figure = tmp_path / "figure.png"
    command = [sys.executable, "-m", "minidistill", "leaderboard", "digits", "--quick", "--seeds", "1", "--json"]
    done = subprocess.run(
        [*command, "--figure", str(figure)], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    found = json.loads(done.stdout)
    assert found["data"] == "digits"
    assert found["settings"]["command"] == "minidistill leaderboard digits --seeds 1 --quick"
    assert {row["method"] for row in found["rows"]} == set(BY_NAME)
    means = [row["mean"] for row in found["rows"]]
    assert means == sorted(means, reverse=True)
    assert min(means) > 30  # chance is 10
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "choosing settings: 31 methods, 6 trials each, 1 seed" in done.stderr


def test_several_data_sets_are_an_object_a_line(monkeypatch, capsys):
    asked = []

    class Found:
        def __init__(self, name):
            self.name = name

        def to_dict(self):
            return {"data": self.name}

    monkeypatch.setattr(leaderboard, "leaderboard", lambda name, *rest, **_: asked.append((name, *rest)) or Found(name))
    assert main(["leaderboard", "mnist", "digits", "mnist", "--json", "--quick", "--seeds", "3"]) == 0
    assert asked == [("mnist", 3, True), ("digits", 3, True)]
    assert [json.loads(line)["data"] for line in capsys.readouterr().out.splitlines()] == ["mnist", "digits"]


def test_what_would_have_to_be_downloaded_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(leaderboard, "is_at_hand", lambda collection: collection.folder == "fashion-mnist")
    said = []
    assert names_at_hand(said.append) == ["digits", "fashion-mnist"]
    assert said == ["mnist is not on this machine and is left out; name it to have it downloaded"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits", "letters"], "DATA must be one of 'digits', 'mnist', 'fashion-mnist', got 'letters'"),
        (["digits", "--figure", "board.exe"], "--figure: must end in .png, .svg or .pdf, got board.exe"),
        (["digits", "--figure", "nowhere/board.png"], "--figure: cannot write nowhere/board.png"),
    ],
)
def test_a_mistake_gets_one_clear_line_before_the_work(arguments, said, capsys):
    assert main(["leaderboard", *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert len(found.err.splitlines()) == 1


@pytest.mark.compiles
@pytest.mark.one_width
def test_ctrl_c_ends_it_cleanly():
    command = [sys.executable, "-m", "minidistill", "leaderboard", "digits"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert "training 3 teachers" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().endswith("interrupted")
    assert "Traceback" not in said
    assert out == ""
