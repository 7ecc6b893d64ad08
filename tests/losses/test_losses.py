# SPDX-License-Identifier: MIT
"""What losses of logits share: dtypes, backends, and the refusal of what does not belong together."""

import dataclasses
import math
import types

import numpy as np
import pytest
from methods import T_LOGITS, S, Y, one_hot

from minidistill import ops
from minidistill.losses import CrossEntropy, SoftTarget
from minidistill.support.checks import NotFiniteError

LOSSES = [CrossEntropy(), CrossEntropy(0.1), SoftTarget(4.0, 0.0), SoftTarget(4.0, 0.5), SoftTarget(4.0, 1.0)]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_value_is_a_float_and_the_gradient_has_the_dtype_of_the_logits(loss):
    for dtype in ("float32", "float64"):
        value, ds = loss(S.astype(dtype), T_LOGITS.astype(dtype), Y)
        assert type(value) is float
        assert ds.dtype == dtype
        assert ds.shape == S.shape


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_nothing_that_is_given_is_changed(loss):
    s, t, y = S.copy(), T_LOGITS.copy(), Y.copy()
    loss(s, t, y)
    assert np.array_equal(s, S)
    assert np.array_equal(t, T_LOGITS)
    assert np.array_equal(y, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_arithmetic_is_done_by_the_given_backend(loss):
    used = []

    def watched(name):
        return lambda *given: (used.append(name), getattr(ops, name)(*given))[1]

    names = ("cross_entropy_forward", "cross_entropy_backward", "distillation_loss")
    loss(S, T_LOGITS, Y, types.SimpleNamespace(**{name: watched(name) for name in names}))
    alone = getattr(loss, "alpha", 0.0) == 0
    assert used == (["cross_entropy_forward", "cross_entropy_backward"] if alone else ["distillation_loss"])


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_cannot_be_changed_once_it_is_made(loss):
    field = dataclasses.fields(loss)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(loss, field, 2.0)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_0_is_refused(bad):
    with pytest.raises(ValueError, match=r"temperature must be in \[1e-6, 1e6\), got"):
        SoftTarget(temperature=bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_an_alpha_outside_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
        SoftTarget(alpha=bad)


@pytest.mark.parametrize("bad", [-0.1, 1, 1.0, math.nan])
def test_a_label_smoothing_outside_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got"):
        CrossEntropy(label_smoothing=bad)


@pytest.mark.parametrize("bad", ["4", None, True, [4.0], 4j])
def test_settings_that_are_no_numbers_are_refused(bad):
    with pytest.raises(TypeError, match="temperature must be a number in"):
        SoftTarget(temperature=bad)
    with pytest.raises(TypeError, match="alpha must be a number in"):
        SoftTarget(alpha=bad)
    with pytest.raises(TypeError, match="label_smoothing must be a number in"):
        CrossEntropy(label_smoothing=bad)


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: cross-entropy needs labels"):
        CrossEntropy()(S, None, None)
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: only alpha=1 learns without labels, alpha is 0\.3"):
        SoftTarget(4.0, 0.3)(S, T_LOGITS, None)


def test_a_missing_teacher_is_named():
    with pytest.raises(ValueError, match=r"t \(teacher logits\) is missing"):
        SoftTarget(4.0, 0.3)(S, None, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_logits_without_rows_are_refused(loss):
    with pytest.raises(ValueError, match=r"s must be logits of shape \(B, C\) with at least one row, got shape \(7,\)"):
        loss(S[0], T_LOGITS[0], Y[:1])


@pytest.mark.parametrize("t", [T_LOGITS[:1], T_LOGITS[:, :1], T_LOGITS[0], T_LOGITS[:-1]])
def test_teacher_logits_of_another_shape_are_refused_where_broadcasting_would_take_some(t):
    with pytest.raises(ValueError, match=r"t must have the shape of s, \(5, 7\), got"):
        SoftTarget()(S, t, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("y", [Y[:, None], one_hot(Y)[:, :-1]])
def test_labels_of_another_shape_are_refused(loss, y):
    with pytest.raises(ValueError, match=r"y must have shape \(5,\) \(labels\) or \(5, 7\) \(probabilities\), got"):
        loss(S, T_LOGITS, y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize(
    ("y", "said"),
    [
        (Y[:-1], "y must have a label for each of the 5 rows"),
        ([0, 1, 2, 3, -1], r"y must be 0 to 6 \(7 classes\), got -1 at row 4"),  # not the last class
        ([0, 1, 2, 3, 7], r"y must be 0 to 6 \(7 classes\), got 7 at row 4"),
        ([0, 1, 2, 3, 0.5], "y must be whole numbers from 0, got 0.5"),
        (np.full((5, 7), 0.4), "y must have rows of probabilities that sum to 1"),
        (np.full((5, 7), np.nan), "y must have rows of probabilities that sum to 1"),
    ],
)
def test_labels_that_are_none_are_refused(loss, y, said):
    with pytest.raises((ValueError, TypeError), match=said):
        loss(S, T_LOGITS, y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(ValueError, match="at least one row"):
        loss(np.ones((0, 7)), np.ones((0, 7)), np.zeros(0, int))


@pytest.mark.parametrize(
    "loss", [SoftTarget(np.float64(4), np.float64(0.5)), SoftTarget(4, 1), CrossEntropy(np.float64(0.1))], ids=repr
)
def test_float32_stays_float32_whatever_the_settings_teacher_and_rows_are(loss):
    _, ds = loss(S.astype(np.float32), T_LOGITS.astype(np.float64), one_hot(Y))
    assert ds.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_student_logits_that_are_not_finite_are_refused_and_located(loss, bad):
    s = S.copy()
    s[3, 2] = bad
    with (
        np.errstate(invalid="ignore"),  # NumPy's own warning comes first
        pytest.raises(NotFiniteError, match=rf"s \(student logits\) must be finite, got {bad} at row 3, column 2"),
    ):
        loss(s, T_LOGITS, Y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_teacher_logits_that_are_not_finite_are_refused_and_located(alpha, bad):
    t = T_LOGITS.copy()
    t[3, 2] = bad
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(NotFiniteError, match=rf"t \(teacher logits\) must be finite, got {bad} at row 3, column 2"),
    ):
        SoftTarget(4.0, alpha)(S, t, Y)
