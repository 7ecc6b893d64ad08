# SPDX-License-Identifier: MIT
"""Each exhibit of the bug zoo is caught, and called by its name; the right code beside it is not."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from zoo import loops
from zoo.exhibits import EXHIBITS, T

from minidistill import check_training
from minidistill.diagnosis.gradcheck import GradientError, check_gradient
from minidistill.diagnosis.mistakes import GRADIENT_INTO_TEACHER, MISTAKES, TEACHER_IN_TRAINING_MODE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evidence" / "bug_zoo.md").read_text()
MEASURED = json.loads((DOCS / "evidence" / "results" / "zoo.json").read_text())["exhibits"]
WITH_A_LOSS = [exhibit for exhibit in EXHIBITS if exhibit.has_loss]
WITH_A_TERM = [exhibit for exhibit in EXHIBITS if exhibit.term is not None]
WITH_A_LOOP = [exhibit for exhibit in EXHIBITS if exhibit.loop is not None]


def every(exhibits):
    return pytest.mark.parametrize("exhibit", exhibits, ids=lambda exhibit: exhibit.mistake.name)


def test_there_is_an_exhibit_of_each_mistake_in_order():
    assert tuple(exhibit.mistake for exhibit in EXHIBITS) == MISTAKES
    assert len(MISTAKES) == 18


def test_check_loss_names_sixteen_and_check_training_the_other_two():
    assert len(WITH_A_LOSS) == 16
    assert [exhibit.number for exhibit in EXHIBITS if not exhibit.has_loss] == [5, 8]


@every(WITH_A_LOSS)
def test_a_wrong_loss_is_called_by_its_name_and_no_other(exhibit):
    found = exhibit.check(exhibit.wrong_loss(T, exhibit.alpha))
    assert not found
    assert set(found.mistakes) == {exhibit.mistake, *exhibit.also}
    assert set(found.broken) == set(exhibit.breaks)


@every(WITH_A_LOSS)
def test_the_right_loss_beside_it_is_found_right(exhibit):
    found = exhibit.check(exhibit.right(T, exhibit.alpha))
    assert found, str(found)


@every(WITH_A_LOOP)
def test_a_wrong_loop_is_called_by_its_name_and_no_other(exhibit):
    found = check_training(exhibit.loop)
    assert found.mistakes == (exhibit.mistake,)
    assert found.broken == exhibit.loop_breaks


def test_the_right_loop_is_found_right():
    assert check_training(loops.right)


@pytest.mark.parametrize("temperature", [1.5, 8.0, 20.0, 100.0])
@every(WITH_A_TERM)
def test_it_is_called_by_the_same_name_at_other_temperatures(exhibit, temperature):
    assert exhibit.check(exhibit.wrong_loss(temperature, 1.0), temperature).mistakes == (exhibit.mistake,)


@every(WITH_A_TERM)
def test_it_is_called_by_the_same_name_beside_the_labels(exhibit):
    assert exhibit.check(exhibit.wrong_loss(T, 0.7), T, 0.7).mistakes == (exhibit.mistake,)


@every([exhibit for exhibit in WITH_A_LOSS if exhibit.mistake is not TEACHER_IN_TRAINING_MODE])
def test_the_gradient_that_a_wrong_loss_is_shown_with_is_its_values(exhibit):
    """But for the one whose mistake is that it is not."""
    s, t, y = *1.5 * np.random.default_rng(0).standard_normal((2, 4, 6)), np.array([0, 5, 2, 2])
    loss = exhibit.wrong_loss(T, exhibit.alpha)
    if exhibit.mistake is GRADIENT_INTO_TEACHER:
        with pytest.raises(GradientError):
            check_gradient(lambda s: loss(s, t, y)[0], s, loss(s, t, y)[1])
    else:
        check_gradient(lambda s: loss(s, t, y)[0], s, loss(s, t, y)[1])


# ---------------------------------------------------------------------------------------------- the way round


@every(EXHIBITS)
def test_the_page_has_a_section_with_the_code(exhibit):
    title = f"## {exhibit.number}. {exhibit.mistake.name[0].upper()}{exhibit.mistake.name[1:]}\n"
    assert PAGE.count(title) == 1
    section = PAGE.split(title)[1].split("\n## ")[0]
    for code in (exhibit.term, exhibit.loss, exhibit.loop):
        if code is not None:
            file = Path(code.__code__.co_filename).name
            assert f"```{{literalinclude}} ../../tests/material/zoo/{file}\n:pyobject: {code.__name__}\n```" in section
    assert exhibit.shipped in " ".join(section.split())


@every(EXHIBITS)
def test_the_results_file_tells_of_the_exhibit_as_it_is(exhibit):
    measured = MEASURED[exhibit.number - 1]
    assert measured["mistake"] == exhibit.mistake.name
    assert tuple(measured["broken"]) == exhibit.diagnosis().broken
    if exhibit.has_loss and exhibit.mistake is not TEACHER_IN_TRAINING_MODE:
        s, t, y = *1.5 * np.random.default_rng(0).standard_normal((2, 32, 10)), np.arange(32) % 10
        for row in measured["gradient"]:
            wrong, right = (
                make(row["temperature"], exhibit.alpha)(s, t, y)[1] for make in (exhibit.wrong_loss, exhibit.right)
            )
            assert np.isclose(np.linalg.norm(wrong) / np.linalg.norm(right), row["ratio"], rtol=1e-6)


def test_the_page_quotes_only_code_that_is_there():
    for file, name in re.findall(r"\{literalinclude\} \.\./\.\./(\S+)\n:pyobject: (\w+)", PAGE):
        assert f"\ndef {name}(" in (DOCS.parent / file).read_text()
