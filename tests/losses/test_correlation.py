# SPDX-License-Identifier: MIT
"""losses/correlation.py: a kernel worked by hand, the paper's series, and PyTorch's gradient."""

import math

import numpy as np
import pytest

from minidistill import CorrelationCongruence, check_gradient
from minidistill.losses.features import unit_forward


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


H, G = awkward(6, 4), awkward(6, 3, seed=1)


def test_a_kernel_by_hand():
    """[CC-1], [CC-2]: a right angle in the student, |u_1 - u_2|^2 = 2, an opposite in the teacher, 4."""
    value, _ = CorrelationCongruence(gamma=0.5).between(np.array([[3.0, 0], [0, 1]]), np.array([[1.0], [-2.0]]))
    assert value == pytest.approx(2 * (np.exp(-1) - np.exp(-2)) ** 2 / 4, rel=1e-14)


def test_the_series_of_the_paper_tends_to_the_kernel():
    """[CC-1]: with two powers it is within 0.05, with twenty it is the same."""
    u, _ = unit_forward(H)
    cosines, gamma = u @ u.T, 0.4

    def series(powers):
        return math.exp(-2 * gamma) * sum((2 * gamma * cosines) ** m / math.factorial(m) for m in range(powers + 1))

    kernel = CorrelationCongruence(gamma=gamma).kernel(u)
    assert 0.01 < np.abs(series(2) - kernel).max() < 0.05
    np.testing.assert_allclose(series(20), kernel, rtol=1e-13)


@pytest.mark.parametrize("gamma", [0.1, 0.4, 3.0])
def test_the_gradient_is_right_for_any_gamma(gamma):
    """[CC-3]"""
    loss = CorrelationCongruence(gamma=gamma)
    check_gradient(lambda x: loss.between(x, G)[0], H, loss.between(H, G)[1])


def test_a_row_of_zeros_is_near_to_itself_and_to_another():
    kernel = CorrelationCongruence(gamma=1.0).kernel(np.array([[0.0, 0], [0, 0], [1, 0]]))
    np.testing.assert_allclose(kernel, np.exp([[0, 0, -1], [0, 0, -1], [-1, -1, 0]]))


def test_a_kernel_so_narrow_that_no_sample_is_near_is_finite():
    value, dh = CorrelationCongruence(gamma=1e6).between(H.astype(np.float32), G.astype(np.float32))
    assert np.isfinite(value)
    assert np.isfinite(dh).all()


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf])
def test_a_gamma_that_is_not_above_0_is_refused(bad):
    with pytest.raises(ValueError, match=r"gamma must be in \(0, inf\), got"):
        CorrelationCongruence(gamma=bad)


def test_the_loss_and_its_gradient_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    h, g = torch.tensor(H, requires_grad=True), torch.tensor(G)

    def kernel(x):
        u = torch.nn.functional.normalize(x, dim=1)
        return torch.exp(-0.4 * ((u[:, None] - u[None]) ** 2).sum(dim=2))

    theirs = ((kernel(h) - kernel(g)) ** 2).sum() / 6**2
    theirs.backward()
    value, dh = CorrelationCongruence().between(H, G)
    assert value == pytest.approx(theirs.item(), rel=1e-10)
    np.testing.assert_allclose(dh, h.grad, rtol=0, atol=1e-10 * np.abs(dh).max())
