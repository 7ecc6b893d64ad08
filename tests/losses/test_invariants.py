# SPDX-License-Identifier: MIT
"""What holds for every method that learns from a teacher's logits, and which method each exception is."""

import dataclasses
import math

import numpy as np
import pytest
from methods import METHODS, T_LOGITS, B, C, S, Y, logits

import minidistill
from minidistill import MLP, CrossEntropy, Dataset, check_gradient, distill, fit
from minidistill.support.checks import NotFiniteError

ALL = set(METHODS)
NEED_LABELS = {"VirtualTeacher", "DecoupledKD", "NKD"}  # to tell the label's class from the others
NOT_ZERO_AT_THE_MATCH = {"VirtualTeacher", "NKD"}  # the one is no function of t, the other a cross-entropy
OF_A_WHOLE_BATCH = {"DIST"}  # relates its samples to each other
FEEL_A_SHIFT = {"LogitMatching"}
WITHOUT_TEACHER = {"VirtualTeacher"}
FAR_APART = (  # s, t and y: gaps of up to 20,000, and a row without spread
    [[1e4, -1e4, 0], [0, 60, -60], [-1e4, -1e4, -1e4], [3, 2, 1e4]],
    [[-1e4, 1e4, 3], [60, -60, 0], [1e4, -1e4, 1e4], [-1, 1, 0]],
    [2, 0, 1, 0],
)


def every(names):
    return pytest.mark.parametrize("name", sorted(names))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [1, 2, B])
@every(ALL)
def test_the_gradient_agrees_with_finite_differences(name, rows, alpha):
    loss, s, t, y = METHODS[name](alpha), S[:rows], T_LOGITS[:rows], Y[:rows]
    check_gradient(lambda s: loss(s, t, y)[0], s, loss(s, t, y)[1])


@every(ALL)
def test_the_gradient_of_two_classes_agrees_with_finite_differences(name):
    loss, s, t, y = METHODS[name](1.0), logits(4, 5, 2), logits(5, 5, 2), np.array([0, 1, 1, 0, 1])
    value, ds = loss(s, t, y)
    assert math.isfinite(value)
    check_gradient(lambda s: loss(s, t, y)[0], s, ds)


@every(ALL - NOT_ZERO_AT_THE_MATCH)
def test_value_and_gradient_are_zero_where_the_student_is_the_teacher(name):
    for s in (S, S[:1], logits(6, 4, 2)):
        value, ds = METHODS[name](1.0)(s, s.copy(), np.zeros(len(s), int))
        assert abs(value) < 1e-14
        np.testing.assert_allclose(ds, 0, atol=1e-14)


@pytest.mark.parametrize("T", [1e-3, 0.1, 1.0, 20.0, 60.0, 70.0, 1e4, 9e5])
@every(ALL - {"LogitMatching", "VirtualTeacher"})
def test_float32_is_right_at_every_temperature(name, T):
    """No term is negative, near the match least of all, and value and gradient are those of float64."""
    loss = dataclasses.replace(METHODS[name](1.0), temperature=T)
    for apart in (1.0, 1e-3):
        s = S.astype(np.float32)
        t = (S + apart * T_LOGITS).astype(np.float32)
        exact, slope = loss(s.astype(np.float64), t.astype(np.float64), Y)
        value, ds = loss(s, t, Y)
        assert value >= 0 and ds.dtype == np.float32
        assert math.isclose(value, exact, rel_tol=1e-3, abs_tol=1e-10 * T * T)
        np.testing.assert_allclose(ds, slope, rtol=0, atol=1e-3 * np.abs(slope).max() + 1e-7 * T)


@every(NOT_ZERO_AT_THE_MATCH)
def test_others_are_not_zero_there(name):
    value, ds = METHODS[name](1.0)(S, S.copy(), Y)
    assert value > 0.1
    assert np.abs(ds).max() > 0.01


@every(ALL)
def test_no_term_is_negative(name):
    assert METHODS[name](1.0)(S, T_LOGITS, Y)[0] > 0


SHIFT = np.array([[3.7], [-20.1], [0.3], [100.0], [-5.5]])


@every(ALL - FEEL_A_SHIFT)
def test_a_constant_added_to_a_row_changes_nothing(name):
    loss = METHODS[name]()
    value, ds = loss(S, T_LOGITS, Y)
    for s, t in ((S + SHIFT, T_LOGITS), (S, T_LOGITS + SHIFT)):
        shifted_value, shifted_ds = loss(s, t, Y)
        assert math.isclose(shifted_value, value, rel_tol=1e-12)
        np.testing.assert_allclose(shifted_ds, ds, atol=1e-13)


@every(ALL - FEEL_A_SHIFT)
def test_the_rows_of_the_gradient_sum_to_zero(name):
    _, ds = METHODS[name]()(S, T_LOGITS, Y)
    np.testing.assert_allclose(ds.sum(axis=1), 0, atol=1e-15)


@every(FEEL_A_SHIFT)
def test_matching_logits_feels_a_shift(name):
    loss = METHODS[name](1.0)
    assert loss(S + SHIFT, T_LOGITS, Y)[0] > 2 * loss(S, T_LOGITS, Y)[0]
    assert np.abs(loss(S, T_LOGITS, Y)[1].sum(axis=1)).max() > 0.01


@every(ALL)
def test_a_batch_repeated_has_the_same_value_and_half_the_gradient(name):
    loss = METHODS[name]()
    value, ds = loss(S, T_LOGITS, Y)
    twice_value, twice_ds = loss(np.tile(S, (2, 1)), np.tile(T_LOGITS, (2, 1)), np.tile(Y, 2))
    assert math.isclose(twice_value, value, rel_tol=1e-13)
    np.testing.assert_allclose(twice_ds, np.tile(ds / 2, (2, 1)), atol=1e-14)


def mean_of_single_rows(loss):
    return np.mean([loss(S[n : n + 1], T_LOGITS[n : n + 1], Y[n : n + 1])[0] for n in range(B)])


@every(ALL - OF_A_WHOLE_BATCH)
def test_a_loss_is_the_mean_of_its_samples_losses(name):
    loss = METHODS[name]()
    assert math.isclose(loss(S, T_LOGITS, Y)[0], mean_of_single_rows(loss), rel_tol=1e-13)


@every(OF_A_WHOLE_BATCH)
def test_a_loss_that_relates_samples_is_not(name):
    loss = METHODS[name]()
    assert abs(loss(S, T_LOGITS, Y)[0] - mean_of_single_rows(loss)) > 0.1


@every(ALL)
def test_identical_rows_are_finite_and_treated_alike(name):
    s, t, y = np.tile(S[:1], (B, 1)), np.tile(T_LOGITS[:1], (B, 1)), np.full(B, 2)
    value, ds = METHODS[name]()(s, t, y)
    assert math.isclose(value, METHODS[name]()(s[:1], t[:1], y[:1])[0], rel_tol=1e-13)
    np.testing.assert_allclose(ds, np.tile(ds[:1], (B, 1)), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every(ALL)
def test_rows_without_spread_give_finite_values(name, dtype):
    flat = np.full((3, 4), 0.1, dtype)
    other = logits(7, 3, 4).astype(dtype)
    for s, t in ((flat, other), (other, flat), (flat, flat)):
        value, ds = METHODS[name](1.0)(s, t, np.array([0, 3, 3]))
        assert math.isfinite(value)
        assert np.abs(ds).max() < 10


@every(ALL)
def test_logits_of_1e4_are_right_in_float32(name):
    s, t, y = FAR_APART
    wanted_value, wanted_ds = METHODS[name]()(np.array(s), np.array(t), np.array(y))
    value, ds = METHODS[name]()(np.array(s, np.float32), np.array(t, np.float32), np.array(y))
    assert math.isfinite(wanted_value)
    assert math.isclose(value, wanted_value, rel_tol=1e-6)
    np.testing.assert_allclose(ds, wanted_ds, rtol=0, atol=1e-6 * np.abs(wanted_ds).max())
    assert ds.dtype == np.float32


@every(ALL)
def test_alpha_0_is_cross_entropy_to_the_last_bit(name):
    wanted_value, wanted_ds = CrossEntropy()(S, None, Y)
    value, ds = METHODS[name](0.0)(S, None, Y)
    assert value == wanted_value
    assert np.array_equal(ds, wanted_ds)


@every(ALL)
def test_alpha_weighs_labels_and_teacher(name):
    ce, dce = CrossEntropy()(S, None, Y)
    term, dterm = METHODS[name](1.0)(S, T_LOGITS, Y)
    value, ds = METHODS[name](0.3)(S, T_LOGITS, Y)
    assert math.isclose(value, 0.7 * ce + 0.3 * term, rel_tol=1e-14)
    np.testing.assert_allclose(ds, 0.7 * dce + 0.3 * dterm, atol=1e-15)


@every(ALL - NEED_LABELS)
def test_alpha_1_does_without_labels(name):
    loss = METHODS[name](1.0)
    value, ds = loss(S, T_LOGITS, None)
    assert value == loss(S, T_LOGITS, Y)[0]
    assert np.array_equal(ds, loss(S, T_LOGITS, (Y + 1) % C)[1])


@every(ALL - {"DecoupledKD", "NKD"})
def test_labels_may_be_rows_of_probabilities(name):
    rows = np.exp(logits(8)) / np.exp(logits(8)).sum(axis=1, keepdims=True)
    loss = METHODS[name]()
    check_gradient(lambda s: loss(s, T_LOGITS, rows)[0], S, loss(S, T_LOGITS, rows)[1])
    assert math.isclose(loss(S, T_LOGITS, np.eye(C)[Y])[0], loss(S, T_LOGITS, Y)[0], rel_tol=1e-15)


@every(ALL)
def test_what_is_given_stays_as_it_is(name):
    s, t, y = S.copy(), T_LOGITS.copy(), Y.copy()
    value, ds = METHODS[name]()(s, t, y)
    ds += 1
    assert type(value) is float
    assert np.array_equal(s, S) and np.array_equal(t, T_LOGITS) and np.array_equal(y, Y)


@every(ALL)
def test_float32_stays_float32(name):
    _, ds = METHODS[name]()(S.astype(np.float32), T_LOGITS, Y)
    assert ds.dtype == np.float32


@every(ALL)
def test_whole_numbers_and_lists_are_logits_too(name):
    whole = np.round(S).astype(int)
    value, ds = METHODS[name]()(whole.tolist(), T_LOGITS.tolist(), Y.tolist())
    wanted_value, wanted_ds = METHODS[name]()(whole.astype(float), T_LOGITS, Y)
    assert value == wanted_value
    assert np.array_equal(ds, wanted_ds)


@every(ALL)
def test_a_loss_cannot_be_changed_and_prints_as_it_is_made(name):
    loss = METHODS[name]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.alpha = 0.1
    assert eval(repr(loss), {name: getattr(minidistill, name) for name in minidistill.__all__}) == loss


# ---------------------------------------------------------------------------------------------- bad input


@every(ALL)
def test_settings_out_of_bounds_are_refused_and_named(name):
    example = METHODS[name]()
    for field in dataclasses.fields(example):
        for bad in (-0.1, math.nan, math.inf):
            interval = r"[\[(](0|1e-6), (1|inf|1e6)[\])]"
            with pytest.raises(ValueError, match=f"{field.name} must be in {interval}, got {bad}"):
                dataclasses.replace(example, **{field.name: bad})
        with pytest.raises(TypeError, match=f"{field.name} must be a number in"):
            dataclasses.replace(example, **{field.name: "0.5"})
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 1.1"):
        METHODS[name](1.1)


@every(ALL - WITHOUT_TEACHER)
def test_a_missing_teacher_is_named(name):
    with pytest.raises(ValueError, match=r"t \(teacher logits\) is missing"):
        METHODS[name]()(S, None, Y)


@every(ALL)
def test_missing_labels_are_named(name):
    with pytest.raises(ValueError, match=r"y \(labels\) is missing"):
        METHODS[name]()(S, T_LOGITS, None)


@every(ALL - WITHOUT_TEACHER)
def test_teacher_logits_of_another_shape_are_refused(name):
    for t in (T_LOGITS[:1], T_LOGITS[:, :1], T_LOGITS[0]):
        with pytest.raises(ValueError, match=r"t must have the shape of s, \(5, 7\), got"):
            METHODS[name]()(S, t, Y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every(ALL)
def test_logits_that_are_not_finite_are_refused_and_located(name, bad):
    wrong = S.copy()
    wrong[3, 2] = bad
    where = f"must be finite, got {bad} at row 3, column 2"
    for alpha in (0.5, 1.0):
        with pytest.raises(NotFiniteError, match=rf"s \(student logits\) {where}"):
            METHODS[name](alpha)(wrong, T_LOGITS, Y)
        if name not in WITHOUT_TEACHER:
            with pytest.raises(NotFiniteError, match=rf"t \(teacher logits\) {where}"):
                METHODS[name](alpha)(S, wrong, Y)


# ---------------------------------------------------------------------------------------------- training

RANDOM = np.random.default_rng(3)
DATA = Dataset(RANDOM.standard_normal((70, 9)), np.arange(70) % 5)
TEACHER = 2 * RANDOM.standard_normal((70, 5)) + 3 * (np.arange(5) == DATA.y[:, None])


def distilled(name, backend):
    student = MLP((9, 8, 5), seed=4, dtype=np.float64, backend=backend)
    history = distill(TEACHER, student, DATA, METHODS[name](), epochs=3, batch_size=16)
    return student.parameters, history.column("loss")


@every(ALL)
def test_a_student_learns(name):
    _, losses = distilled(name, "numpy")
    assert losses[-1] < losses[0]


@pytest.mark.compiles
@every(ALL)
def test_both_backends_train_alike(name):
    (wanted, wanted_losses), (found, losses) = distilled(name, "numpy"), distilled(name, "cpu")
    np.testing.assert_allclose(found, wanted, atol=1e-11)
    np.testing.assert_allclose(losses, wanted_losses, rtol=1e-11)


def test_a_virtual_teacher_needs_no_distill():
    student = MLP((9, 8, 5), seed=4)
    history = fit(student, DATA, METHODS["VirtualTeacher"](), epochs=3)
    assert history.epochs[-1].loss < history.epochs[0].loss
