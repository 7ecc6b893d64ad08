# SPDX-License-Identifier: MIT
"""losses/relational.py: distances and angles worked by hand, PyTorch's gradient of the paper's formulas."""

import itertools

import numpy as np
import pytest

from minidistill import RelationalAngle, RelationalDistance, check_gradient
from minidistill.losses.features import unit_forward
from minidistill.losses.relational import huber


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


H, G = awkward(6, 4), awkward(6, 3, seed=1)


def test_the_huber_loss_is_a_square_up_to_1_and_a_line_beyond():
    """[RKD-2]"""
    value, slope = huber(np.array([0, 0.5, -1, 1, 3, -4]))
    np.testing.assert_array_equal(value, [0, 0.125, 0.5, 0.5, 2.5, 3.5])
    np.testing.assert_array_equal(slope, [0, 0.5, -1, 1, 1, -1])


def test_relative_distances_by_hand():
    """[RKD-1]: distances 3, 4, 5 with mean 4 against 1, 1, 2 with mean 4/3."""
    h, g = np.array([[0.0, 0], [3, 0], [0, 4]]), np.array([[0.0], [1], [-1]])
    differences = np.array([3 / 4 - 3 / 4, 4 / 4 - 3 / 4, 5 / 4 - 6 / 4])
    assert RelationalDistance().between(h, g)[0] == pytest.approx((differences**2 / 2).mean(), rel=1e-15)


def test_the_gradient_goes_through_the_mean_distance():
    """[RKD-3]: without the mean's share, growing h along itself would change the loss; it does not."""
    _, dh = RelationalDistance().between(H, G)
    assert abs((dh * H).sum()) < 1e-14
    assert np.abs(dh).max() > 1e-3


def test_angles_by_hand():
    """[RKD-4]: the cosines at the corners of a triangle of sides 3, 4, 5 against those of one with equal sides."""
    h = np.array([[0.0, 0], [3, 0], [0, 4]])
    g = np.array([[0, 0], [2, 0], [1, np.sqrt(3)]])
    differences = np.array([0, 3 / 5, 4 / 5]) - 1 / 2
    assert RelationalAngle().between(h, g)[0] == pytest.approx((differences**2 / 2).mean(), rel=1e-14)


def test_angles_of_samples_far_from_the_origin_and_near_to_each_other_are_exact():
    """Scalar products of rows would lose them."""
    h = 1 + 2.0**-12 * np.array([[0, 0], [3, 0], [0, 4]], np.float32)
    value, _ = RelationalAngle().between(h, np.array([[0, 0], [3, 0], [0, 4]], np.float32))
    assert abs(value) < 1e-12


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_the_gradient_of_angles_is_right_where_rows_are_equal_to_others_of_the_teacher_only(scale):
    """[RKD-5]"""
    g = G[[0, 0, 1, 2, 3, 3]]
    h = scale * H
    check_gradient(lambda x: RelationalAngle().between(x, g)[0], h, RelationalAngle().between(h, g)[1])


def test_equal_rows_push_nothing_and_angles_with_them_are_0():
    h = H[[0, 0, 1]]
    _, dh = RelationalDistance().between(h, G[:3])
    away = unit_forward(h[:2] - h[2])[0]  # the only direction that there is for the two
    np.testing.assert_allclose(dh[:2], (dh[:2] * away).sum(axis=1, keepdims=True) * away, rtol=0, atol=1e-15)
    assert np.abs(dh).max() > 1e-3
    value, _ = RelationalAngle().between(np.tile(H[:1], (3, 1)), np.array([[0, 0], [2, 0], [1, np.sqrt(3)]]))
    assert value == pytest.approx(1 / 8)


def test_all_equal_rows_have_a_value_and_no_gradient():
    value, dh = RelationalDistance().between(np.tile(H[:1], (6, 1)), G)
    assert value > 0
    np.testing.assert_array_equal(dh, np.zeros_like(H))


def test_distances_and_angles_are_those_of_pytorch():
    """The paper's formulas, pair by pair and triple by triple."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    h, g = torch.tensor(3 * H, requires_grad=True), torch.tensor(G)

    def distances(x):
        d = torch.stack([(x[i] - x[j]).norm() for i, j in itertools.permutations(range(6), 2)])
        return d / d.mean()

    def angles(x):
        triples = itertools.permutations(range(6), 3)
        return torch.stack([F.cosine_similarity(x[i] - x[j], x[k] - x[j], dim=0) for i, j, k in triples])

    for relation, loss in ((distances, RelationalDistance()), (angles, RelationalAngle())):
        h.grad = None
        theirs = F.huber_loss(relation(h), relation(g))
        theirs.backward()
        value, dh = loss.between(h.detach().numpy(), G)
        assert value == pytest.approx(theirs.item(), rel=1e-10)
        np.testing.assert_allclose(dh, h.grad, rtol=0, atol=1e-10 * np.abs(dh).max())


def entries(x, y):
    """The Huber losses of all pairs and of all triples, those with equal members included: (B,B) and (B,B,B)."""
    pairs, triples = [], []
    for h in (x, y):
        d = np.linalg.norm(h[:, None] - h, axis=2)
        pairs.append(d / d[d > 0].mean())
        u = (h[:, None] - h) / np.where(d > 0, d, 1)[:, :, None]
        triples.append(np.einsum("jid,jkd->jik", u, u))
    return huber(pairs[0] - pairs[1])[0], huber(triples[0] - triples[1])[0]


@pytest.mark.parametrize(("loss", "entry"), [(RelationalDistance(), 0), (RelationalAngle(), 1)])
def test_the_value_against_the_sum_of_the_paper_and_the_mean_of_the_authors_program(loss, entry):
    """[RKD-2], [RKD-4]: the factors that docs/maths/features.md states."""
    B, terms = len(H), entries(H, G)[entry]
    value, _ = loss.between(H, G)
    tuples = [B * (B - 1), B * (B - 1) * (B - 2)][entry]  # whose members differ
    assert value == pytest.approx(terms.sum() / tuples, rel=1e-12)
    assert terms.mean() == pytest.approx(value * [(B - 1) / B, (B - 1) * (B - 2) / B**2][entry], rel=1e-12)
