# SPDX-License-Identifier: MIT
"""compress() puts a student's forms beside its teacher, and its table says what each kept and costs."""

import json
import math

import numpy as np
import pytest

from minidistill import MLP, Dataset, TrainingDiverged, compress, digits, distill, fit
from minidistill.cli import main
from minidistill.deployment.compression import RATES, Compression
from minidistill.deployment.quantization import QuantizedMLP
from minidistill.training.evaluation import Report, ReportRow

TRAINING, TEST = digits()
FORMS = ["teacher", "teacher int8", "alone", "distilled", "pruned", "int8", "int8-aware"]


@pytest.fixture(scope="module")
def teacher():
    network = MLP((64, 64, 10), dropout=0.2)
    fit(network, TRAINING, epochs=8)
    return network


@pytest.fixture(scope="module")
def found(teacher):
    return compress(teacher, TRAINING.take(200), TEST, (16,), epochs=20, seeds=2, price=0.36)


def row(name, accuracy, latency, throughput=1000.0):
    return ReportRow(name, accuracy, 0.0, [accuracy], 1.0, 1.0, 0.0, 10, 40, 9, latency, throughput)


def test_the_forms_stand_beside_the_teacher_and_each_is_as_small_as_it_says(found):
    rows = {row.name: row for row in found.report.rows}
    assert list(rows) == FORMS
    assert rows["distilled"].parameters == rows["alone"].parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert rows["pruned"].parameters == 64 * 8 + 8 + 8 * 10 + 10
    for name in ("int8", "int8-aware"):
        assert rows[name].multiply_adds == rows["distilled"].multiply_adds
        assert rows[name].bytes < 0.4 * rows["distilled"].bytes
    assert all(len(rows[name].accuracies) == 2 for name in FORMS[2:])
    assert rows["teacher int8"].multiply_adds == rows["teacher"].multiply_adds
    assert rows["teacher int8"].bytes < 0.3 * rows["teacher"].bytes
    assert all(rows[name].agreement > 0.6 for name in FORMS[1:])


def test_the_same_seed_gives_the_same_accuracies(teacher, found):
    again = compress(teacher, TRAINING.take(200), TEST, (16,), epochs=20, seeds=2)
    assert [row.accuracies for row in again.report.rows] == [row.accuracies for row in found.report.rows]


def test_the_cost_of_a_million_is_the_price_of_the_hours_that_it_takes():
    quick, slow = row("quick", 0.8, 1.0, throughput=1e6 / 3600), row("slow", 0.9, 9.0, throughput=1e5 / 3600)
    found = Compression(Report([slow, quick]), 0.36, {}, 1.0)
    assert found.cost(quick) == pytest.approx(0.36)
    assert found.cost(slow) == pytest.approx(3.6)
    assert "3.60" in str(found)
    assert found.to_dict()["models"]["slow"]["cost_of_a_million"] == pytest.approx(3.6)


def test_the_front_is_what_nothing_beats_in_accuracy_and_latency():
    rows = [row("large", 0.95, 50.0), row("beaten", 0.90, 20.0), row("small", 0.92, 5.0), row("tiny", 0.80, 1.0)]
    found = Compression(Report(rows), 1.0, {}, 1.0)
    assert found.front == ["tiny", "small", "large"]


def test_the_table_and_the_picture_name_every_form(found, tmp_path):
    text = str(found)
    assert all(name in text for name in FORMS)
    figure = found.plot(tmp_path / "forms.png")
    assert [label.get_text().split(",")[0] for label in figure.legends[0].get_texts()] == FORMS
    assert (tmp_path / "forms.png").stat().st_size > 0
    json.dumps(found.to_dict())


def test_the_test_rows_choose_nothing(teacher):
    """With other test rows the settings, and so the students, are the same."""
    settings = [
        compress(teacher, TRAINING.take(120), TEST.subset(np.arange(*rows)), (8,), epochs=6, seeds=1).settings
        for rows in ((0, 50), (300, 350))
    ]
    assert settings[0] == settings[1]


def test_a_trial_that_diverges_is_not_chosen(teacher, monkeypatch):
    def fit_or_die(network, data, *, optimizer, **options):
        if optimizer.learning_rate.rate > RATES[0]:
            raise TrainingDiverged("too fast")
        return fit(network, data, optimizer=optimizer, **options)

    monkeypatch.setattr("minidistill.deployment.compression.fit", fit_or_die)
    found = compress(teacher, TRAINING.take(120), TEST, (8,), epochs=4, seeds=1)
    assert found.settings["rate_alone"] == RATES[0]


def test_distilled_students_have_a_rate_of_their_own(teacher, monkeypatch):
    def distill_or_die(teacher, student, data, loss, *, optimizer, **options):
        if optimizer.learning_rate.rate > RATES[1]:
            raise TrainingDiverged("too fast")
        return distill(teacher, student, data, loss, optimizer=optimizer, **options)

    monkeypatch.setattr("minidistill.deployment.compression.distill", distill_or_die)
    found = compress(teacher, TRAINING.take(120), TEST, (8,), epochs=4, seeds=1)
    assert found.settings["rate"] in RATES[:2]


def test_a_teacher_may_be_whatever_has_probabilities(teacher):
    class Opaque:
        def predict_proba(self, x):
            return teacher.predict_proba(x)

    found = compress(Opaque(), TRAINING.take(120), TEST, (8,), epochs=4, seeds=1)
    assert found.report.teacher.bytes is None
    assert "teacher int8" not in found.to_dict()["models"]
    assert math.isfinite(found.cost(found.report["int8"]))


def test_the_command_prints_one_object_and_saves_its_picture(teacher, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher.save("teacher.npz")
    command = ["compress", "digits", "--teacher", "teacher.npz", "--hidden", "8", "--rows", "120", "--epochs", "4",
               "--seeds", "1", "--json", "--figure", "forms.png"]  # fmt: skip
    assert main(command) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert list(models) == FORMS
    assert models["teacher"]["accuracy_mean"] == pytest.approx((teacher.predict(TEST.x) == TEST.y).mean(), abs=0.005)
    assert (tmp_path / "forms.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be"),
        ({"hidden": ()}, "hidden must name at least one hidden layer"),
        ({"epochs": 1}, "epochs must be at least 2"),
        ({"price": -1}, r"price must be in \[0, inf\), got -1"),
        ({"training": Dataset(TRAINING.x)}, "training must be a Dataset with labels"),
        ({"test": Dataset(TEST.x)}, "test must be a Dataset with labels"),
    ],
)
def test_what_is_no_setting_is_refused(teacher, options, message):
    with pytest.raises(ValueError, match=message):
        compress(teacher, **{"training": TRAINING, "test": TEST, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "0"), "argument --rows: must be a whole number from 1, below 2^63, got '0'"),
        (("--test", "1.5"), "argument --test: must be a number in (0, 1), got '1.5'"),
        (("--test", "0"), "argument --test: must be a number in (0, 1), got '0'"),
    ],
)
def test_the_command_refuses_what_is_no_setting(teacher, options, message, tmp_path, capsys):
    network = str(tmp_path / "teacher.npz")
    teacher.save(network)
    with pytest.raises(SystemExit) as stop:
        main(["compress", "digits", "--teacher", network, *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_rounded_forms_are_integer_networks(teacher, monkeypatch):
    seen = {}

    def compare(teacher, forms, test):
        seen.update(forms)
        return Report([row("teacher", 0.9, 1.0)])

    monkeypatch.setattr("minidistill.deployment.compression.compare", compare)
    compress(teacher, TRAINING.take(120), TEST, (8,), epochs=4, seeds=1)
    assert isinstance(seen["int8"][0], QuantizedMLP)
    assert isinstance(seen["int8-aware"][0], QuantizedMLP)
    assert not np.array_equal(seen["int8"][0].logits(TEST.x), seen["int8-aware"][0].logits(TEST.x))
