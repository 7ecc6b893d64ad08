# SPDX-License-Identifier: MIT
"""losses/probabilistic.py: probabilities worked by hand, opposite rows, PyTorch's gradient of the paper's formula."""

import numpy as np
import pytest

from minidistill import ProbabilisticTransfer, check_gradient
from minidistill.losses.probabilistic import EPSILON, _neighbors


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


H, G = awkward(6, 4), awkward(6, 3, seed=1)


def test_neighbors_by_hand():
    """[PKT-1], [PKT-2]: a right angle has the kernel 1/2, the same direction 1, the opposite one EPSILON."""
    h, g = np.array([[1.0, 0], [0, 2], [3, 0]]), np.array([[1.0, 0], [0, 1], [-1, 0]])
    # rows of q: (1/3, 2/3), (1/2, 1/2), (2/3, 1/3); of p: (1, 0), (1/2, 1/2), (0, 1), all but for EPSILON
    value, _ = ProbabilisticTransfer().between(h, g)
    assert value == pytest.approx((np.log(3) + 0 + np.log(3)) / 3, abs=50 * EPSILON)


def test_the_teacher_comes_first_in_the_kl():
    """A student that makes likely what is impossible for the teacher loses little, the other way round much."""
    wide, opposite = np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([[1.0, 0], [0, 1], [-1, 0]])
    forward, backward = (ProbabilisticTransfer().between(*pair)[0] for pair in ((wide, opposite), (opposite, wide)))
    assert backward > 5 * forward


def test_the_gradient_is_right_near_to_opposite_rows():
    """[PKT-3]"""
    loss, h = ProbabilisticTransfer(), np.array([[1.0, 0], [-1, 0.05], [0.3, 1]])
    check_gradient(lambda x: loss.between(x, G[:3])[0], h, loss.between(h, G[:3])[1])


def test_a_cosine_that_rounding_takes_below_minus_1_is_still_possible():
    """In float32 it may fall short by more than EPSILON."""
    u = np.array([[1 + 5e-7, 0], [-1 - 5e-7, 0], [0, 1]], np.float32)
    p, _ = _neighbors(u, ~np.eye(3, dtype=bool))
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_two_rows_have_one_neighbour_each_and_nothing_to_learn():
    value, dh = ProbabilisticTransfer().between(H[:2], G[:2])
    assert value == 0
    np.testing.assert_array_equal(dh, np.zeros((2, 4)))


def test_the_loss_and_its_gradient_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    h, g = torch.tensor(H, requires_grad=True), torch.tensor(G)

    def conditional(x):
        """p[i, j] of the paper's equation: j given i."""
        K = (torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2) + 1) / 2 + EPSILON
        K = K * (1 - torch.eye(6))
        return K / K.sum(dim=1, keepdim=True)

    p, q = conditional(g), conditional(h)
    theirs = sum(p[i, j] * torch.log(p[i, j] / q[i, j]) for i in range(6) for j in range(6) if i != j) / 6
    theirs.backward()
    value, dh = ProbabilisticTransfer().between(H, G)
    assert value == pytest.approx(theirs.item(), rel=1e-10)
    np.testing.assert_allclose(dh, h.grad, rtol=0, atol=1e-10 * np.abs(dh).max())


def divergence(q_of, p_of, epsilon=0.0):
    return (p_of * np.log((p_of + epsilon) / (q_of + epsilon))).sum()


def kernel(x):
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    return (1 + u @ u.T) / 2


def test_the_value_against_the_paper_and_the_authors_program():
    """[PKT-1], [PKT-2]: what docs/maths/features.md states."""
    B, off_diagonal = len(H), ~np.eye(len(H), dtype=bool)
    value, _ = ProbabilisticTransfer().between(H, G)

    paper = [K[off_diagonal].reshape(B, -1) for K in (kernel(H), kernel(G))]
    paper = divergence(*(K / K.sum(axis=1, keepdims=True) for K in paper))
    assert value == pytest.approx(paper / B, rel=1e-5)

    program = divergence(*(K / K.sum(axis=1, keepdims=True) for K in (kernel(H), kernel(G))), EPSILON) / B**2
    assert 0.5 < program * B / value < 0.9  # the diagonal is 1 in both kernels


def test_epsilon_in_the_kernel_bounds_the_loss_where_a_sample_lies_opposite():
    """The paper's formula is infinite there; the program adds epsilon to both probabilities inside the logarithm."""
    h, g = np.array([[1.0, 0], [-1, 0], [0, 1]]), np.array([[1.0, 0], [0.9, 0.1], [0, 1]])
    value, dh = ProbabilisticTransfer().between(h, g)
    assert 1 < value < -np.log(EPSILON)
    assert np.isfinite(dh).all()


@pytest.mark.parametrize("apart", [0, 1e-7, 1e-5, 1e-3])
def test_the_value_is_never_negative_in_float32(apart):
    for seed in range(20):
        h, change = np.random.default_rng(seed).standard_normal((2, 8, 5))
        g = (h + apart * change).astype(np.float32)
        value, _ = ProbabilisticTransfer().between(h.astype(np.float32), g)
        assert value >= 0
