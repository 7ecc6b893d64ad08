# SPDX-License-Identifier: MIT
"""What is claimed of a deployed student follows from its figures, and its stream is watched as it says."""

import subprocess
import sys

import numpy as np
import pytest

from minidistill import MLP, Dataset, QualityGate
from minidistill.experiments.reproduce import deploy as experiment
from minidistill.experiments.reproduce.deploy import (
    AFFORDED,
    BUDGETS,
    CALM,
    DRIFT,
    Course,
    Deployed,
    _claims,
    _panels,
    cascade_of,
    drifts,
    narrowest,
    watched,
)
from minidistill.training.evaluation import Report, ReportRow

WITHOUT_PHOTOGRAPHS = """
import importlib
importlib.import_module("minidistill.data.mnist").is_at_hand = lambda collection: False
from minidistill.experiments.reproduce import deploy
print(deploy.DATA)
"""
CASCADE = cascade_of(AFFORDED)
DRIFTS = [name for name in drifts(np.zeros((1, 4))) if name != CALM]


def row(name, accuracy, latency, throughput):
    return ReportRow(name, accuracy, 0.0, [accuracy], accuracy / 0.9, 1.0, 0.0, 10, 40, 9, latency, throughput)


def deployed(rows=(), **alarms):
    """A teacher that is right about 90%, takes 200 us, and 1 ms in a long call; of others what `rows` changes."""
    given = {
        "teacher": (0.9, 200.0, 1e3), "student": (0.882, 20.0, 1e4), "int8": (0.8811, 16.0, 2e4),
        **{cascade_of(budget): (0.8964, 50.0, 1e3 / (1.2 * budget)) for budget in BUDGETS}, **dict(rows),
    }  # fmt: skip
    drifted = dict.fromkeys(DRIFTS, DRIFT + 299)
    courses = {name: Course(0.9, [1.0, 2.0], 11.5, at) for name, at in ({CALM: None} | drifted | alarms).items()}
    return Deployed(Report([row(name, *figures) for name, figures in given.items()]), courses)


def refuted(*found):
    return [k for k, claim in enumerate(_claims(list(found))) if not claim.holds]


def test_each_figure_is_one_a_student_beside_its_teacher():
    claims = _claims([deployed(), deployed({"int8": (0.9, 10.0, 1e4)})])
    assert [claim.values for claim in claims] == [
        pytest.approx(values)
        for values in ([12.5, 20.0], [5.0, 10.0], [97.9, 100.0], [0.09, -1.8], [99.6, 99.6], [24.0, 24.0], [0.0, 0.0],
                       *[[300.0, 300.0]] * len(DRIFTS))
    ]  # fmt: skip
    assert refuted(deployed()) == []


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"int8": (0.8811, 21.0, 2e4)}, [0]),
        ({"int8": (0.8811, 16.0, 4e3)}, [1]),
        ({"student": (0.872, 20.0, 1e4), "int8": (0.872, 16.0, 2e4)}, [2]),
        ({"int8": (0.878, 16.0, 2e4)}, [3]),
        ({CASCADE: (0.895, 50.0, 4.1e3)}, [4]),
        ({CASCADE: (0.8964, 50.0, 3.9e3)}, [5]),
    ],
)
def test_each_model_refutes_its_own_claims(changed, wrong):
    assert refuted(deployed(changed)) == wrong


def test_an_alarm_in_vain_and_one_that_comes_too_late_or_never_refute_the_claims_of_the_gate():
    assert refuted(deployed(**{CALM: 50_000})) == [6]
    assert refuted(deployed(), deployed(**{CALM: 50_000})) == [6]  # no mean hides it
    for late in (DRIFT + 2000, None):
        assert refuted(deployed(**{DRIFTS[0]: late})) == [7]


def test_the_narrowest_student_that_is_good_enough_is_chosen_at_its_best_temperature():
    trials = [(8, 1.0), (8, 4.0), (16, 1.0), (16, 4.0), (32, 1.0), (32, 4.0)]
    scores = [80.0, 81.0, 85.0, 84.0, 86.0, 87.0]
    assert narrowest(trials, scores, enough=84.5) == (16, 1.0)
    assert narrowest(trials, scores, enough=81.0) == (8, 4.0)
    assert narrowest(trials, scores, enough=88.0) == (32, 4.0)  # the best there is


def test_a_stream_drifts_where_it_should_and_is_watched_until_the_alarm(monkeypatch):
    """The student names class 1 where the second column says so; the teacher knows of no other class than 0."""
    monkeypatch.setattr(experiment, "INPUTS", 8_000)
    calm, drifted = np.tile([1.0, 0.0], (50, 1)), np.tile([0.0, 1.0], (50, 1))

    def gate():
        return QualityGate(lambda x: 2 * x, lambda x: 2 - x * 0 - [0, 2], 0.95, sample_rate=0.5, classes=2)

    course = watched(gate(), calm, drifted)
    assert DRIFT < course.alarmed_at < DRIFT + 100
    assert course.inputs == course.alarmed_at + 1 - DRIFT
    assert course.evidence[-2] < course.level <= course.evidence[-1]
    quiet = watched(gate(), calm, calm)
    assert quiet.alarmed_at is None
    assert quiet.inputs == 8_000 - DRIFT


def test_a_student_is_deployed_with_all_its_helpers(monkeypatch):
    monkeypatch.setattr(experiment, "INPUTS", 6_000)
    random = np.random.default_rng(0)
    x = random.random((300, 16), dtype=np.float32)
    data = Dataset(x, (x[:, :8].sum(axis=1) > x[:, 8:].sum(axis=1)).astype(int))
    teacher, student = MLP((16, 64, 64, 2), seed=0, backend="numpy"), MLP((16, 4, 2), seed=1, backend="numpy")
    with pytest.warns(UserWarning, match="the teacher's accuracy"):  # it is not trained
        found = experiment.deploy(teacher, student, data, data, data, drifts(data.x))
    assert [row.name for row in found.report.rows] == ["teacher", "student", "int8", *map(cascade_of, BUDGETS)]
    assert list(found.courses) == [CALM, *DRIFTS]
    assert found.report["int8"].bytes < found.report["student"].bytes
    assert found.cost_share("teacher") == pytest.approx(100)


def test_the_picture_shows_every_model_and_the_gate_of_the_first_student():
    costs, gate = _panels([deployed(), deployed({"student": (0.8, 20.0, 5e3)})])
    assert [curve.label for curve in costs.curves][:3] == ["teacher", "student", "int8"]
    teacher, student, _, cascade = costs.curves
    assert teacher.x == pytest.approx([100.0])
    assert student.x == pytest.approx([15.0])
    assert student.values == [pytest.approx([88.2, 80.0])]
    assert cascade.x == pytest.approx([120 * budget for budget in BUDGETS])
    assert [curve.label for curve in gate.curves] == [CALM, *DRIFTS, "alarm"]
    assert gate.curves[-1].values == [[11.5], [11.5]]


def test_digits_take_the_place_of_photographs_that_are_not_there():
    command = [sys.executable, "-c", WITHOUT_PHOTOGRAPHS]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "digits\n"
