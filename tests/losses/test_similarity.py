# SPDX-License-Identifier: MIT
"""losses/similarity.py: similarities worked by hand, and PyTorch's gradient of the paper's formula."""

import numpy as np
import pytest

from minidistill import SimilarityPreserving, check_gradient


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


H, G = awkward(6, 4), awkward(6, 3, seed=1)


def test_similarities_by_hand():
    """[SP-1]: A = [[9, 0], [0, 16]] becomes the identity, that of the teacher 1 / sqrt 2 everywhere."""
    value, _ = SimilarityPreserving().between(np.array([[3.0, 0], [0, 4]]), np.array([[5.0], [5.0]]))
    half = np.sqrt(0.5)
    assert value == pytest.approx((2 * (1 - half) ** 2 + 2 * half**2) / 4, rel=1e-15)


def test_the_gradient_by_hand():
    """[SP-2], [SP-3]: h = [[1, 0], [0, 1]], P is the identity; only h_12 and h_21 turn a row of A, both alike."""
    _, dh = SimilarityPreserving().between(np.eye(2), np.ones((2, 1)))
    # dP = 2 (P - Q) / 4, across its row -sqrt(1/2) / 2 at 12 and at 21; dA + dA^T doubles it
    np.testing.assert_allclose(dh, [[0, -np.sqrt(0.5)], [-np.sqrt(0.5), 0]], atol=1e-15)


@pytest.mark.parametrize("lengths", [1, np.array([[1e-3], [1], [1e3], [1], [2], [0.5]])])
def test_the_gradient_is_right_for_rows_of_any_length(lengths):
    """[SP-3]: rows of A are divided by different lengths, so its gradient is not symmetric."""
    h = lengths * H
    dh = SimilarityPreserving().between(h, G)[1]
    scale = np.abs(h).max(axis=1, keepdims=True)
    check_gradient(lambda x: SimilarityPreserving().between(x * scale, G)[0], h / scale, dh * scale)


def test_float32_holds_where_squares_do_not():
    value, dh = SimilarityPreserving().value_and_dh(H, G)
    for size in (1e25, 1e-25):
        h = (size * H).astype(np.float32)
        other, dother = SimilarityPreserving().value_and_dh(h, G.astype(np.float32))
        assert other == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(size * dother.astype(np.float64), dh, rtol=0, atol=1e-5 * np.abs(dh).max())


def test_the_loss_and_its_gradient_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    h, g = torch.tensor(H, requires_grad=True), torch.tensor(G)
    P, Q = (torch.nn.functional.normalize(x @ x.T, dim=1) for x in (h, g))
    theirs = (P - Q).norm() ** 2 / 6**2
    theirs.backward()
    value, dh = SimilarityPreserving().between(H, G)
    assert value == pytest.approx(theirs.item(), rel=1e-10)
    np.testing.assert_allclose(dh, h.grad, rtol=0, atol=1e-10 * np.abs(dh).max())
