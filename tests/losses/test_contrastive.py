# SPDX-License-Identifier: MIT
"""losses/contrastive.py: a choice worked by hand, its bounds, PyTorch's gradient, and views that find each other."""

import math

import numpy as np
import pytest

from minidistill import MLP, Adam, ContrastiveRepresentation, digits, distill, fit


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def started(H, G, width=4, temperature=0.5):
    loss = ContrastiveRepresentation(width=width, temperature=temperature)
    loss = loss.start(MLP((2, H, 2), dtype=np.float64), (G,), 3)
    for embedding in loss.learners:
        embedding.parameters += 0.3 * awkward(len(embedding.parameters))
    return loss


def with_plain_embeddings(temperature):
    """Of two units each, which stay what they are."""
    loss = started(2, 2, 2, temperature)
    for embedding in loss.learners:
        embedding.parameters[:] = [1, 0, 0, 1, 0, 0]
    return loss


def test_a_choice_by_hand():
    """[CRD-1], [CRD-2]: z = [[1, 0], [0.6, 0.8]] / T, looked at along its rows and along its columns."""
    value, _ = with_plain_embeddings(0.5).between(np.array([[2.0, 0], [3, 4]]), np.array([[1.0, 0], [0, 5]]))
    rows = math.log(1 + math.exp(0 - 2)) + math.log(1 + math.exp(1.2 - 1.6))
    columns = math.log(1 + math.exp(1.2 - 2)) + math.log(1 + math.exp(0 - 1.6))
    assert value == pytest.approx((rows / 2 + columns / 2) / 2, rel=1e-12)


def test_samples_that_cannot_be_told_apart_cost_the_logarithm_of_their_number_and_those_that_can_nothing():
    same = np.ones((5, 2))
    assert with_plain_embeddings(0.1).between(same, same)[0] == pytest.approx(math.log(5), rel=1e-12)
    circle = np.linspace(0, 2 * np.pi, 6)[:5]
    apart = np.column_stack([np.cos(circle), np.sin(circle)])
    assert with_plain_embeddings(0.01).between(apart, apart)[0] < 1e-12


def test_one_sample_cannot_be_mistaken():
    value, dh = started(4, 3).between(awkward(1, 4), awkward(1, 3))
    assert value == 0
    np.testing.assert_array_equal(dh, np.zeros((1, 4)))


def test_the_two_embeddings_start_from_different_weights():
    loss = ContrastiveRepresentation().start(MLP((2, 7, 2)), (7,), 0)
    assert loss.student_embedding.sizes == loss.teacher_embedding.sizes == (7, 128)
    assert (loss.student_embedding.parameters != loss.teacher_embedding.parameters).any()


def test_a_large_batch_of_large_activations_is_finite_in_float32():
    loss = ContrastiveRepresentation(temperature=1e-3).start(MLP((2, 4, 2)), (3,), 3)
    value, dh = loss.between(1e6 * awkward(300, 4).astype(np.float32), 1e-6 * awkward(300, 3).astype(np.float32))
    assert np.isfinite(value)
    assert np.isfinite(dh).all()


def test_after_training_samples_find_their_teacher_among_others_also_new_ones():
    train, test = digits()
    teacher, student = MLP((64, 32, 10), seed=1), MLP((64, 32, 10))
    fit(teacher, train, epochs=5)
    loss = ContrastiveRepresentation(width=16)
    history = distill(teacher, student, train, loss, epochs=15, batch_size=64, optimizer=Adam(0.003))
    untrained, trained = (found(network, teacher, train, test) for network in (MLP((64, 32, 10)), student))
    assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss < math.log(64)
    assert trained > untrained


def found(student, teacher, train, test):
    """Share of new samples whose hidden layer leads, by least squares, to their own in the teacher's, among 500."""
    h, g = student.outputs(train.x).hidden[0], teacher.outputs(train.x).hidden[0]
    map_ = np.linalg.lstsq(h, g, rcond=None)[0]
    led, own = student.outputs(test.x).hidden[0] @ map_, teacher.outputs(test.x).hidden[0]
    distances = np.square(led[:, None] - own).sum(axis=2)
    return (distances.argmin(axis=1) == np.arange(len(own))).mean()


@pytest.mark.parametrize("bad", [1, 0, -3])
def test_a_width_below_2_is_refused(bad):
    with pytest.raises(ValueError, match=f"width must be at least 2, got {bad}"):
        ContrastiveRepresentation(width=bad)


@pytest.mark.parametrize("bad", [0, -0.1, math.nan])
def test_a_temperature_that_is_not_above_0_is_refused(bad):
    with pytest.raises(ValueError, match=r"temperature must be in \[1e-6, 1e6\), got"):
        ContrastiveRepresentation(temperature=bad)


def test_the_loss_and_its_gradients_are_those_of_pytorch():
    """[CRD-3]"""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    loss, h, g = started(5, 3), awkward(7, 5), awkward(7, 3, seed=1)
    parts = [part for one in loss.learners for part in (*one.weights, *one.biases)]
    x, W, b, V, c = (torch.tensor(part.copy(), requires_grad=True) for part in (h, *parts))
    z = F.normalize(x @ W + b, dim=1) @ F.normalize(torch.tensor(g) @ V + c, dim=1).T / 0.5
    theirs = (F.cross_entropy(z, torch.arange(7)) + F.cross_entropy(z.T, torch.arange(7))) / 2
    theirs.backward()
    value, dh = loss.between(h, g)
    assert value == pytest.approx(theirs.item(), rel=1e-10)
    mine, other = (np.concatenate([weight.grad.ravel(), bias.grad]) for weight, bias in ((W, b), (V, c)))
    pairs = ((dh, x.grad), (loss.student_embedding.gradients, mine), (loss.teacher_embedding.gradients, other))
    for ours, wanted in pairs:
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(ours).max())
