# SPDX-License-Identifier: MIT
"""The demo keeps what the README promises of it. One run, looked at from several sides."""

from itertools import pairwise

import numpy as np
import pytest

from minidistill.experiments.demo import STUDENT_SIZES, TEACHER_SIZES, run_demo


@pytest.fixture(scope="module")
def demo():
    return run_demo()


def test_distilling_gains_two_points_on_the_mean_and_something_with_every_seed(demo):
    found = demo.to_dict()
    assert found["gain_mean"] >= 2
    assert found["gain_min"] > 0
    assert len(demo.gains) == 5


def test_the_student_keeps_97_percent_at_a_fiftieth_of_the_multiply_adds(demo):
    found = demo.to_dict()
    assert found["retention"] >= 0.97
    assert found["distilled"]["multiply_adds"] < found["teacher"]["multiply_adds"] / 50


def test_the_distilled_student_agrees_more_with_its_teacher(demo):
    found = demo.to_dict()
    assert found["agreement_distilled"] > found["agreement_alone"]


def test_a_teacher_whose_answers_were_shuffled_does_harm(demo):
    found = demo.to_dict()
    assert found["controls"]["shuffled_teacher"]["accuracy_mean"] < found["alone"]["accuracy_mean"]


def test_label_smoothing_does_not_explain_the_gain(demo):
    found = demo.to_dict()
    assert found["controls"]["label_smoothing"]["accuracy_mean"] < found["distilled"]["accuracy_mean"]


def test_the_figures_are_complete_and_finite(demo):
    found = demo.to_dict()
    for name in ("teacher", "alone", "distilled"):
        row = found[name]
        figures = [row[key] for key in ("accuracy_mean", "accuracy_std", "parameters", "multiply_adds", "latency_us")]
        assert np.isfinite(figures).all()
        assert 0 <= row["accuracy_mean"] <= 1
    assert found["teacher"]["multiply_adds"] == sum(a * b for a, b in pairwise(TEACHER_SIZES))
    assert found["alone"]["parameters"] == sum((a + 1) * b for a, b in pairwise(STUDENT_SIZES))
    assert found["seconds"] > 0


def test_the_text_has_the_table_and_three_sentences(demo):
    text = str(demo)
    assert "retention" in text
    story = text.split("\n\n")[-1]
    assert len(story.splitlines()) == 3
    assert all(line.endswith(".") for line in story.splitlines())


def test_the_picture_is_saved(demo, tmp_path):
    pytest.importorskip("matplotlib")
    demo.plot(tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1
