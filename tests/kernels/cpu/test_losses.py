# SPDX-License-Identifier: MIT
"""kernels/cpu/losses.py: the distillation loss in one pass is that of losses/, at every temperature and scale."""

import numpy as np
import pytest
from agreement import TOLERANCE, assert_same, numbers
from exact import TEMPERATURES, assert_exact, pairs_of_logits

from minidistill import CrossEntropy, SoftTarget, ops
from minidistill.kernels import cpu

pytestmark = pytest.mark.compiles


@pytest.mark.parametrize(("T", "alpha", "smoothing"), [(4, 0.7, 0.0), (1.5, 1.0, 0.0), (1, 0.0, 0.1), (3, 0.2, 0.1)])
@pytest.mark.parametrize("C", [3, 70])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_operation_is_that_of_ops(C, dtype, T, alpha, smoothing):
    s, t = (numbers(k, 21, C, dtype=dtype) for k in range(2))
    y = np.arange(21) % C
    for targets in (y, ops.one_hot(y, C, dtype)):
        arguments = s, t, targets, T, alpha, smoothing
        for mine, reference in zip(cpu.distillation_loss(*arguments), ops.distillation_loss(*arguments), strict=True):
            assert_same(mine, reference)


@pytest.mark.parametrize("C", [2, 10, 64, 65, 3000])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_loss_in_one_pass(C, dtype):
    s, t = (numbers(k, 21, C, dtype=dtype) * 3 for k in range(2))
    y = np.arange(21) % C
    soft = (SoftTarget(T, alpha) for T in (1.0, 2.0, 3.0, 4.0) for alpha in (0.4, 1.0))
    for loss in (CrossEntropy(0.1), *soft):
        options = (
            {"label_smoothing": loss.label_smoothing}
            if isinstance(loss, CrossEntropy)
            else {"temperature": loss.temperature, "alpha": loss.alpha}
        )
        value, ds = loss(s, t, y)
        mine, slope = cpu.distillation_loss(s, t, y, **options)
        np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype])
        np.testing.assert_allclose(slope, ds, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("T", TEMPERATURES)
@pytest.mark.parametrize("C", [2, 10, 64, 65, 1000])
def test_soft_targets_are_right_at_every_temperature_and_never_negative(C, T, dtype):
    for s, t in pairs_of_logits(C, T):
        value, ds = cpu.distillation_loss(s.astype(dtype), t.astype(dtype), None, T, 1.0)
        assert value.dtype == ds.dtype == dtype
        assert_exact(value, ds, s, t, T, tolerance=5e-5)


def test_labels_weigh_as_before_where_student_and_teacher_nearly_match():
    for C in (10, 100):
        for T in (2.0, 3.0, 1e4):
            s = numbers(0, 21, C, dtype=np.float32)
            t, y = s + numbers(1, 21, C, dtype=np.float32) * np.float32(1e-3), np.arange(21) % C
            value, ds = SoftTarget(T, 0.4)(s, t, y)
            mine, slope = cpu.distillation_loss(s, t, y, T, 0.4)
            np.testing.assert_allclose(mine, value, rtol=1e-5)
            np.testing.assert_allclose(slope, ds, atol=1e-7)


@pytest.mark.parametrize("C", [3, 70])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("T", "alpha"), [(0.05, 0.5), (1.0, 0.0), (4.0, 0.5), (1e5, 1.0)])
def test_the_loss_of_rows_on_very_different_levels(C, dtype, T, alpha):
    """Each row has a largest logit of its own; a class that is never meant costs nothing and gets no gradient."""
    s, t = (numbers(k, 5, C, dtype=dtype) * 3 for k in range(2))
    s += np.array([[1e4], [0], [-1e4], [300], [-300]], dtype)
    s[:3, 2] = t[1:, 2] = -1e30
    y = np.arange(5) % 2
    value, ds = SoftTarget(T, alpha)(s.astype(np.float64), t.astype(np.float64), y)
    mine, slope = cpu.distillation_loss(s, t, y, T, alpha)
    size = max(abs(s[s > -1e30]).max() * T, T * T)
    np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype] * size)
    np.testing.assert_allclose(slope, ds, atol=max(1, T) * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("above", [20, 60, 200, 3e4])  # 3e4: what the first logits promise would overflow float64 too
@pytest.mark.parametrize("T", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_the_largest_logit_of_a_long_row_may_stand_anywhere(T, above, dtype):
    s, t = (numbers(k, 3, 1003, dtype=dtype) for k in range(2))
    s[0, 1002], s[1, 700], t[1, 1001], t[2, 600] = [above] * 4
    for alpha in (0.0, 0.5, 1.0):
        value, ds = SoftTarget(T, alpha)(s.astype(np.float64), t.astype(np.float64), np.array([5, 700, 0]))
        mine, slope = cpu.distillation_loss(s, t, np.array([5, 700, 0]), T, alpha)
        np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype])
        np.testing.assert_allclose(slope, ds, atol=max(1, T) * TOLERANCE[dtype])


def test_the_gradient_goes_where_it_is_wanted():
    s, t = (numbers(k, 4, 70, dtype=np.float32) for k in range(2))
    out = np.full((4, 70), np.nan, np.float32)
    _, ds = cpu.distillation_loss(s, t, None, 4.0, 1.0, out=out)
    assert ds is out
    np.testing.assert_array_equal(ds, cpu.distillation_loss(s, t, None, 4.0, 1.0)[1])
    for wrong, error in (
        (out[:3], "out must have shape \\(4, 70\\), got \\(3, 70\\)"),
        (out.astype(np.float64), "out must be contiguous float32"),
        (np.asfortranarray(out), "out must be contiguous float32"),
    ):
        with pytest.raises((ValueError, TypeError), match=error):
            cpu.distillation_loss(s, t, None, 4.0, 1.0, out=wrong)
    for read in (s, t):
        with pytest.raises(ValueError, match="out must have memory of its own"):
            cpu.distillation_loss(s, t, None, 4.0, 1.0, out=read)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be contiguous and writeable"):
        cpu.distillation_loss(s, t, None, 4.0, 1.0, out=out)


def test_the_loss_has_the_same_bits_on_any_number_of_threads():
    s, t = (numbers(k, 19, 3000, dtype=np.float32) for k in range(2))
    value, ds = cpu.distillation_loss(s, t, np.arange(19), 4.0, 0.5, threads=1)
    for threads in (2, 3):
        mine, slope = cpu.distillation_loss(s, t, np.arange(19), 4.0, 0.5, threads=threads)
        assert mine == value
        np.testing.assert_array_equal(slope, ds)
