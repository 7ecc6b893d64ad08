# SPDX-License-Identifier: MIT
"""The known mistakes that check_loss names in wrong losses that are in no zoo; test_zoo has the others."""


import numpy as np
import pytest
from float32 import in_float32

from minidistill import CrossEntropy, ReverseKL, SoftTarget, check_loss
from minidistill.diagnosis.mistakes import (
    DETACHED,
    ELEMENT_MEAN,
    LABELS_SOFTENED,
    NO_TEMPERATURE,
    NOT_LOGARITHMS,
    RAW_LOGITS,
    SOFTMAX_TWICE,
    SWAPPED,
    T_SQUARED_MISSING,
    UNDERFLOW,
    WITHOUT_ENTROPY,
)
from minidistill.ops import log_softmax_forward, softmax_backward, softmax_forward

in_either_dtype = pytest.mark.parametrize("as_dtype", [lambda loss: loss, in_float32], ids=["float64", "float32"])

# ---------------------------------------------------------------------------------------------- gradients of 0


def detached(loss):
    """The loss as it is after detach(): its value moves with s, its gradient is 0."""
    return lambda s, t, y: (loss(s, t, y)[0], np.zeros_like(s))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@in_either_dtype
def test_a_gradient_of_0_is_named_as_cut_off(as_dtype, alpha):
    found = check_loss(as_dtype(detached(SoftTarget(4.0, alpha))), 4.0, alpha)
    assert found.mistakes == (DETACHED,)
    assert "gradient" in found.broken


@pytest.mark.parametrize("attached", ["labels", "teacher"])
@in_either_dtype
def test_one_of_two_parts_that_is_cut_off_is_named(as_dtype, attached):
    def loss(s, t, y):
        (value, ds), (ce, dce) = SoftTarget(4.0, 1.0)(s, t, None), CrossEntropy()(s, None, y)
        return 0.3 * ce + 0.7 * value, 0.3 * dce if attached == "labels" else 0.7 * ds

    assert check_loss(as_dtype(loss), 4.0, 0.7).mistakes == (DETACHED,)


# ---------------------------------------------------------------------------------------------- reverse KL


def reverse_kl_that_underflows(s, t, y):
    """KL(q || p) by the logarithms of softmaxes, each 0 for logits far apart."""
    q, cache = softmax_forward(s, 4.0)
    p, _ = softmax_forward(t, 4.0)
    share = q * (np.log(q) - np.log(p))
    return 16 * share.sum(axis=1).mean(), softmax_backward(16 * (np.log(q) - np.log(p) + 1) / len(s), cache)


@in_either_dtype
def test_a_reverse_kl_that_is_meant_is_not_called_swapped(as_dtype):
    assert check_loss(as_dtype(lambda s, t, y: ReverseKL(4.0, 1.0)(s, t, y)), 4.0, 1.0, exempt=["soft target"])
    found = check_loss(as_dtype(reverse_kl_that_underflows), 4.0, 1.0, exempt=["soft target"])
    assert found.mistakes == (UNDERFLOW,)
    assert set(found.broken) == {"finite", "two classes"}


def test_a_reverse_kl_that_is_not_meant_is_swapped_and_underflows():
    found = check_loss(reverse_kl_that_underflows)
    assert set(found.mistakes) == {SWAPPED, UNDERFLOW}
    by_invariant = {finding.invariant: finding.mistakes for finding in found.findings}
    assert by_invariant["finite"] == (UNDERFLOW,)
    assert by_invariant["soft target"] == (SWAPPED,)


# ---------------------------------------------------------------------------------------------- slips with PyTorch
# Each value is what the functions of torch.nn.functional compute; the gradients are finite differences of it.


def kl_div(log_q, p, mean_over_elements=False):
    """F.kl_div(log_q, p, reduction="batchmean"), or "mean"."""
    terms = np.where(p == 0, 0, p * np.log(p)) - p * log_q
    return terms.mean() if mean_over_elements else terms.sum(axis=1).mean()


def cross_entropy(s, target):
    """F.cross_entropy, of labels or of probabilities."""
    log_q = log_softmax_forward(s)[0]
    return -log_q[np.arange(len(s)), target].mean() if target.ndim == 1 else -(target * log_q).sum(axis=1).mean()


def q_of(s, T=4.0):
    return softmax_forward(s, T)[0]


def log_q_of(s, T=4.0):
    return log_softmax_forward(s, T)[0]


def with_gradient(value):
    """A loss of its value alone."""

    def loss(s, t, y):
        s, t = s.astype(np.float64), t.astype(np.float64)
        with np.errstate(all="ignore"):
            ds = np.zeros_like(s)
            for place in np.ndindex(s.shape):
                step = np.zeros_like(s)
                step[place] = 1e-5
                ds[place] = (value(s + step, t, y) - value(s - step, t, y)) / 2e-5
            return value(s, t, y), ds

    return loss


TERMS = {
    "kl_div(s, t)": (lambda s, t: kl_div(s, t), {RAW_LOGITS}),
    "kl_div(s, t), mean": (lambda s, t: kl_div(s, t, True), {RAW_LOGITS}),
    "kl_div(s / T, t / T)": (lambda s, t: 16 * kl_div(s / 4, t / 4), {RAW_LOGITS}),
    "kl_div(log_q, t)": (lambda s, t: 16 * kl_div(log_q_of(s), t), {RAW_LOGITS}),
    "kl_div(s, p)": (lambda s, t: 16 * kl_div(s, q_of(t)), {RAW_LOGITS}),
    "kl_div(s, t, log_target=True)": (lambda s, t: kl_div(s, np.exp(t)), {RAW_LOGITS}),
    "kl_div(log_q, t / T, log_target=True)": (lambda s, t: 16 * kl_div(log_q_of(s), np.exp(t / 4)), {RAW_LOGITS}),
    "kl_div(q, p)": (lambda s, t: 16 * kl_div(q_of(s), q_of(t)), {NOT_LOGARITHMS}),
    "kl_div(q, p), mean, no T^2": (
        lambda s, t: kl_div(q_of(s), q_of(t), True),
        {NOT_LOGARITHMS, ELEMENT_MEAN, T_SQUARED_MISSING},
    ),
    "kl_div(log_softmax(q), softmax(p))": (lambda s, t: kl_div(log_q_of(q_of(s)), q_of(q_of(t))), {SOFTMAX_TWICE}),
    "kl_div(log_softmax(q), p)": (lambda s, t: 16 * kl_div(log_q_of(q_of(s), 1.0), q_of(t)), {SOFTMAX_TWICE}),
    "kl_div(log_softmax(s), p)": (lambda s, t: 16 * kl_div(log_q_of(s, 1.0), q_of(t)), {NO_TEMPERATURE}),
    "cross_entropy(q, p)": (lambda s, t: 16 * cross_entropy(q_of(s), q_of(t)), {SOFTMAX_TWICE, WITHOUT_ENTROPY}),
    "cross_entropy(softmax(s), softmax(t))": (
        lambda s, t: cross_entropy(q_of(s, 1.0), q_of(t, 1.0)),
        {SOFTMAX_TWICE, WITHOUT_ENTROPY, NO_TEMPERATURE},
    ),
    "cross_entropy(s / T, p)": (lambda s, t: 16 * cross_entropy(s / 4, q_of(t)), {WITHOUT_ENTROPY}),
    "cross_entropy(s / T, t)": (lambda s, t: 16 * cross_entropy(s / 4, t), {RAW_LOGITS, WITHOUT_ENTROPY}),
}
LABELS = {
    "cross_entropy(softmax(s), y)": (lambda s, y: cross_entropy(q_of(s, 1.0), y), SOFTMAX_TWICE),
    "cross_entropy(softmax(s / T), y)": (lambda s, y: cross_entropy(q_of(s), y), SOFTMAX_TWICE),
    "cross_entropy(s / T, y)": (lambda s, y: cross_entropy(s / 4, y), LABELS_SOFTENED),
    "nll_loss(softmax(s), y)": (lambda s, y: -q_of(s, 1.0)[np.arange(len(s)), y].mean(), NOT_LOGARITHMS),
    "nll_loss(s, y)": (lambda s, y: -s[np.arange(len(s)), y].mean(), RAW_LOGITS),
}


@pytest.mark.parametrize("slip", TERMS)
def test_a_slip_in_the_teachers_term_is_named(slip):
    term, mistakes = TERMS[slip]
    assert set(check_loss(with_gradient(lambda s, t, y: term(s, t))).mistakes) == mistakes


@pytest.mark.parametrize("slip", TERMS)
def test_a_slip_in_the_teachers_term_is_named_beside_the_labels(slip):
    term, mistakes = TERMS[slip]
    loss = with_gradient(lambda s, t, y: 0.3 * cross_entropy(s, y) + 0.7 * term(s, t))
    assert set(check_loss(loss, 4.0, 0.7).mistakes) == mistakes


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("slip", LABELS)
def test_a_slip_in_the_labels_part_is_named(slip, alpha):
    labels, mistake = LABELS[slip]

    def value(s, t, y):
        return (1 - alpha) * labels(s, y) + alpha * 16 * kl_div(log_q_of(s), q_of(t))

    assert set(check_loss(with_gradient(value), 4.0, alpha).mistakes) == {mistake}


def test_slips_in_both_parts_are_both_named():
    loss = with_gradient(
        lambda s, t, y: 0.5 * cross_entropy(q_of(s, 1.0), y) + 0.5 * kl_div(log_q_of(s), q_of(t), True)
    )
    assert set(check_loss(loss, 4.0, 0.5).mistakes) == {SOFTMAX_TWICE, ELEMENT_MEAN, T_SQUARED_MISSING}
