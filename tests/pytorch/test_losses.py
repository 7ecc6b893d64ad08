# SPDX-License-Identifier: MIT
"""The losses beside PyTorch, which differentiates the formulas as the papers have them: float64, 1e-9."""

import numpy as np
import pytest

from minidistill import (
    DIST,
    NKD,
    CrossEntropy,
    DecoupledKD,
    JensenShannon,
    LogitMatching,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    SoftTarget,
    StandardizedTarget,
    TotalVariation,
    VirtualTeacher,
)

torch = pytest.importorskip("torch")
F = pytest.importorskip("torch.nn.functional")

B, C, T = 7, 5, 3.0
RANDOM = np.random.default_rng(0)
S, T_LOGITS, Y = 2 * RANDOM.standard_normal((B, C)), 2 * RANDOM.standard_normal((B, C)), np.arange(B) % C


def kl(p, q):
    return (p * (p / q).log()).sum(dim=1).mean()


def squared_error(s, t, y):
    return ((s - t) ** 2).sum(dim=1).mean() / (2 * C)


def virtual_teacher(s, t, y):
    p = torch.full_like(s, 0.1 / (C - 1)).scatter(1, y[:, None], 0.9) ** (1 / T)
    return T**2 * kl(p / p.sum(dim=1, keepdim=True), F.softmax(s / T, dim=1))


def decoupled(s, t, y):
    is_label = F.one_hot(y, C).bool()
    q, p = F.softmax(s / T, dim=1), F.softmax(t / T, dim=1)
    pairs = [torch.stack((x[is_label], 1 - x[is_label]), dim=1) for x in (p, q)]
    others = [x[~is_label].reshape(B, C - 1) for x in (p, q)]
    others = [x / x.sum(dim=1, keepdim=True) for x in others]
    return T**2 * (1.5 * kl(*pairs) + 2.5 * kl(*others))


def standardised(s, t, y):
    z = [(x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True, correction=0) for x in (s, t)]
    return T**2 * kl(F.softmax(z[1] / T, dim=1), F.softmax(z[0] / T, dim=1))


def correlated(s, t, y):
    def distance(a, b):
        a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
        return 1 - F.cosine_similarity(a, b, dim=1).mean()

    q, p = F.softmax(s / T, dim=1), F.softmax(t / T, dim=1)
    return 1.5 * distance(q, p) + 2.5 * distance(q.T, p.T)


def normalised(s, t, y):
    is_label = F.one_hot(y, C).bool()
    q, p = F.softmax(s, dim=1), F.softmax(t, dim=1)
    label = -(p[is_label] * q[is_label].log()).mean()
    others = [F.softmax(x / T, dim=1)[~is_label].reshape(B, C - 1) for x in (s, t)]
    others = [x / x.sum(dim=1, keepdim=True) for x in others]
    return label - 1.5 * T**2 * (others[1] * others[0].log()).sum(dim=1).mean()


def of_probabilities(divergence, scale=T**2):
    return lambda s, t, y: scale * divergence(F.softmax(t / T, dim=1), F.softmax(s / T, dim=1))


def generalised_jensen_shannon(beta):
    def divergence(p, q):
        m = beta * p + (1 - beta) * q
        return (beta * kl(p, m) + (1 - beta) * kl(q, m)) / (beta * (1 - beta))

    return divergence


PEERS = {  # ours at alpha, and the term alone
    "LogitMatching": (lambda a: LogitMatching(a), squared_error),
    "VirtualTeacher": (lambda a: VirtualTeacher(0.9, T, a), virtual_teacher),
    "DecoupledKD": (lambda a: DecoupledKD(1.5, 2.5, T, a), decoupled),
    "StandardizedTarget": (lambda a: StandardizedTarget(T, a), standardised),
    "DIST": (lambda a: DIST(1.5, 2.5, T, a), correlated),
    "NKD": (lambda a: NKD(1.5, T, a), normalised),
    "forward KL": (lambda a: SoftTarget(T, a), of_probabilities(kl)),
    "ReverseKL": (lambda a: ReverseKL(T, a), of_probabilities(lambda p, q: kl(q, p))),
    "SkewKL": (lambda a: SkewKL(T, a, skew=0.3), of_probabilities(lambda p, q: kl(p, 0.3 * p + 0.7 * q))),
    "SkewReverseKL": (lambda a: SkewReverseKL(T, a, skew=0.3), of_probabilities(lambda p, q: kl(q, 0.7 * p + 0.3 * q))),
    "JensenShannon 0.3": (lambda a: JensenShannon(T, a, beta=0.3), of_probabilities(generalised_jensen_shannon(0.3))),
    "JensenShannon 0.5": (lambda a: JensenShannon(T, a), of_probabilities(generalised_jensen_shannon(0.5))),
    "JensenShannon 0": (lambda a: JensenShannon(T, a, beta=0), of_probabilities(kl)),
    "JensenShannon 1": (lambda a: JensenShannon(T, a, beta=1), of_probabilities(lambda p, q: kl(q, p))),
    "TotalVariation": (
        lambda a: TotalVariation(T, a), of_probabilities(lambda p, q: (p - q).abs().sum(dim=1).mean() / 2, scale=T)
    ),
}  # fmt: skip


def assert_same(ours, theirs, s):
    """Value and gradient to 1e-9 of the largest entry."""
    theirs.backward()
    for found, wanted in ((ours[0], theirs.item()), (ours[1], s.grad.numpy())):
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("name", PEERS)
def test_a_method(name, alpha):
    ours, term = PEERS[name]
    s, t, y = torch.tensor(S, requires_grad=True), torch.tensor(T_LOGITS), torch.tensor(Y)
    theirs = (1 - alpha) * F.cross_entropy(s, y) + alpha * term(s, t, y)
    assert_same(ours(alpha)(S, T_LOGITS, Y), theirs, s)


def test_a_sum():
    s, t, y = torch.tensor(S, requires_grad=True), torch.tensor(T_LOGITS), torch.tensor(Y)
    theirs = 0.7 * F.cross_entropy(s, y) + 1.3 * decoupled(s, t, y) + 0.1 * squared_error(s, t, y)
    ours = 0.7 * CrossEntropy() + 1.3 * DecoupledKD(1.5, 2.5, T, 1.0) + 0.1 * LogitMatching(1.0)
    assert_same(ours(S, T_LOGITS, Y), theirs, s)
