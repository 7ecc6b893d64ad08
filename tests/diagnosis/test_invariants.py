# SPDX-License-Identifier: MIT
"""invariants.py: what check_loss says of right losses, and of wrong ones that are in no zoo; test_zoo has those."""

import warnings

import numpy as np
import pytest
from methods import METHODS
from zoo.exhibits import EXHIBITS

import minidistill
from minidistill import (
    DIST,
    CrossEntropy,
    DecoupledKD,
    LogitMatching,
    ReverseKL,
    SoftTarget,
    TopK,
    TopKTarget,
    check_loss,
)
from minidistill.diagnosis.invariants import EXEMPT, INVARIANTS, STATEMENTS
from minidistill.diagnosis.mistakes import (
    BATCH_TWICE,
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
    WEIGHTS_EXCHANGED,
    WITHOUT_ENTROPY,
)
from minidistill.ops import log_softmax_forward, softmax_backward, softmax_forward


def right(s, t, y):
    """A soft-target loss of temperature 4 and alpha 1, as a user would hand it over."""
    return SoftTarget(4.0, 1.0)(s, t, y)


def in_float32(loss, returned="float32"):
    """The loss as JAX computes it: the logits and all results are float32."""

    def rounded(s, t, y):
        value, ds = loss(s.astype(np.float32), t.astype(np.float32), y)
        return np.dtype(returned).type(value), ds.astype(np.float32).astype(returned)

    return rounded


in_either_dtype = pytest.mark.parametrize("as_dtype", [lambda loss: loss, in_float32], ids=["float64", "float32"])

# ---------------------------------------------------------------------------------------------- what is right


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_library_passes(name, alpha):
    found = check_loss(METHODS[name](alpha))
    assert found, str(found)


@pytest.mark.parametrize("T", [0.1, 0.5, 1.0, 2.0, 20.0, 1000.0, 10_000.0])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_soft_targets_pass_at_every_temperature(T, alpha):
    found = check_loss(SoftTarget(T, alpha))
    assert found, str(found)


def test_the_losses_of_labels_alone_pass():
    assert check_loss(CrossEntropy())
    assert check_loss(CrossEntropy(label_smoothing=0.1))


def test_a_sum_of_losses_passes_where_each_of_them_does():
    assert check_loss(0.5 * SoftTarget(4.0, 1.0) + 0.1 * LogitMatching(1.0) + CrossEntropy())
    wrong = check_loss(0.5 * SoftTarget(4.0, 1.0) + (lambda s, t, y: scaled(1 / s.shape[1])(s, t, y)))
    assert wrong.mistakes == (ELEMENT_MEAN,)


def test_a_top_k_loss_that_names_all_classes_but_one_passes_as_soft_targets():
    def loss(s, t, y):
        return TopKTarget(4.0, 0.5)(s, TopK.of(t, t.shape[1] - 1, 4.0), y)

    found = check_loss(loss, 4.0, 0.5)
    assert found, str(found)


def test_a_loss_that_must_have_a_backend_gets_one():
    assert check_loss(lambda s, t, y, ops: SoftTarget(4.0, 1.0)(s, t, y, ops))


def test_every_invariant_is_tried_of_a_loss_that_claims_them_all():
    assert check_loss(right, same_as=right).held == tuple(STATEMENTS)
    assert len(STATEMENTS) == len(INVARIANTS)


def test_the_exemptions_are_of_methods_and_invariants_that_there_are():
    assert {name for names in EXEMPT.values() for name in names} <= set(STATEMENTS)
    assert set(EXEMPT) - {"Divergence"} <= set(minidistill.__all__)


@pytest.mark.parametrize("name", METHODS)
def test_no_method_is_exempt_from_what_it_holds(name):
    """But for settings at which one is soft targets, or nearly: what is claimed less is looked at here."""
    loss = METHODS[name](1.0)
    names = {each for cls in type(loss).__mro__ for each in EXEMPT.get(cls.__name__, ())}

    def stranger(s, t, y):
        return loss(s, t, y)

    broken = set(check_loss(stranger, getattr(loss, "temperature", 4.0), 1.0).broken)
    if name != "JensenShannon at 0":  # which is KL(p || q)
        assert broken == names | ({"sure and wrong"} & broken)


# ---------------------------------------------------------------------------------------------- settings


def test_temperature_and_alpha_are_those_of_the_loss_unless_told():
    assert "temperature 3 and alpha 0.2" in str(check_loss(SoftTarget(3.0, 0.2)))
    assert "temperature 4 and alpha 1" in str(check_loss(right))
    assert check_loss(lambda s, t, y: SoftTarget(3.0, 0.2)(s, t, y), 3.0, 0.2)
    assert not check_loss(SoftTarget(3.0, 0.2), temperature=2.0)
    assert not check_loss(SoftTarget(3.0, 0.2), alpha=0.3)


def test_an_exempt_invariant_is_not_tried():
    def shifted(s, t, y):
        return LogitMatching(1.0)(s, t, y)

    assert set(check_loss(shifted).broken) == {"shift", "soft target", "sure and wrong"}
    assert check_loss(shifted, exempt=("shift", "soft target"))
    assert check_loss(shifted, exempt=["soft target"]).broken == ("shift",)


# ---------------------------------------------------------------------------------------------- what is wrong


def scaled(factor, gradient_factor=None):
    def loss(s, t, y):
        value, ds = right(s, t, y)
        return factor * value, (factor if gradient_factor is None else gradient_factor) * ds

    return loss


def test_t_squared_in_the_value_alone_is_named():
    found = check_loss(scaled(1.0, 1 / 4.0))
    assert "gradient" in found.broken
    assert T_SQUARED_MISSING in found.mistakes
    assert "it is 0.25 times what it should be" in str(found)


def test_a_wrong_sign_is_seen():
    found = check_loss(scaled(1.0, -1.0))
    assert "gradient" in found.broken
    assert "the sign is wrong" in str(found)


def test_the_gradient_of_the_teachers_side_is_named():
    found = check_loss(lambda s, t, y: right(t, s, y))
    assert found.mistakes == (SWAPPED,)
    assert "gradient" in found.broken


def test_exchanged_weights_are_named():
    found = check_loss(lambda s, t, y: SoftTarget(4.0, 0.3)(s, t, y), 4.0, 0.7)
    assert WEIGHTS_EXCHANGED in found.mistakes
    assert "the labels have the weight 0.7, where alpha = 0.7 leaves them 0.3" in str(found)


def test_labels_beside_an_alpha_of_1_are_seen_and_not_called_exchanged():
    found = check_loss(lambda s, t, y: SoftTarget(4.0, 0.5)(s, t, y), 4.0, 1.0)
    assert "the labels have the weight 0.5, where alpha = 1 leaves them 0" in str(found)
    assert WEIGHTS_EXCHANGED not in found.mistakes


def test_a_batch_divided_out_twice_is_named_in_a_loss_of_another_measure_too():
    def loss(s, t, y):
        value, ds = DecoupledKD(alpha=1.0)(s, t, y)
        return value / len(s), ds / len(s)

    found = check_loss(loss, 4.0, 1.0, exempt=("soft target", "labels"))
    assert found.mistakes == (BATCH_TWICE,)
    assert found.broken == ("batch",)


def test_an_underflow_and_a_factor_are_both_named():
    def loss(s, t, y):
        with np.errstate(all="ignore"):
            q, p = (np.exp(x / 4) / np.exp(x / 4).sum(axis=1, keepdims=True) for x in (s, t))
            return (p * (np.log(p) - np.log(q))).sum(axis=1).mean(), (q - p) / 4 / len(s)

    assert set(check_loss(loss).mistakes) == {T_SQUARED_MISSING, UNDERFLOW}


def test_a_loss_that_writes_into_what_it_is_given_is_seen():
    def loss(s, t, y):
        s -= s.max(axis=1, keepdims=True)
        return right(s, t, y)

    found = check_loss(loss)
    assert found.broken == ("repeatable",)
    assert "it writes into s" in str(found)


@pytest.mark.parametrize(
    ("loss", "seen"),
    [
        (lambda s, t, y: 1 / 0, "it raises ZeroDivisionError"),
        (lambda s, t, y: 1.0, "a number, and ds, an array of shape (5, 7); <lambda> returned 1.0"),
        (lambda s, t, y: None, "ds, an array of shape (5, 7); <lambda> returned None"),
        (lambda s, t, y: (s, 1.0), "<lambda> returned an array of shape (5, 7) and 1.0"),
        (lambda s: (1.0, s), "it raises TypeError"),
        (lambda s, t, y: (right(s, t, y)[0], s[0]), r"and an array of shape (7,)"),
        (lambda s, t, y: (np.nan, s), "for logits a few units apart the value is nan"),
        (lambda s, t, y: (1.0, np.full_like(s, np.inf)), "and 0% of the gradient is finite"),
    ],
)
def test_what_is_no_loss_is_a_finding_and_no_error(loss, seen):
    found = check_loss(loss)
    assert found.broken == ("form",)
    assert seen in str(found)


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, t, y: (0.0, np.zeros_like(s)),
        lambda s, t, y: (1.0, np.zeros_like(s)),
        lambda s, t, y: (float(s.sum()), np.zeros_like(s)),
        lambda s, t, y: (0.0, np.ones_like(s)),
        lambda s, t, y: (float((s**2).sum()), s),
        lambda s, t, y: (len(s) - 1.0, s * 0),
        lambda s, t, y: DIST(beta=0.0, alpha=1.0)(s, t, y),
        lambda s, t, y: right(s, t, y) if len(s) > 1 else 1 / 0,
        lambda s, t, y: right(s, t, y) if s.dtype == np.float64 else 1 / 0,
        lambda s, t, y: right(s, t, y) if y[0] == 6 else 1 / 0,
        lambda s, t, y: (1e308 * right(s, t, y)[0], s),
    ],
)
def test_strange_losses_are_findings_without_a_warning_and_without_an_error(loss):
    assert not check_loss(loss)
    assert not check_loss(loss, exempt=["soft target"])
    assert not check_loss(loss, 2.0, 0.0)
    assert "hold" in str(check_loss(loss, 2.0, 0.5, same_as=right))


def test_a_loss_that_fails_for_two_classes_alone_is_a_finding_of_that():
    def loss(s, t, y):
        if s.shape[1] == 2:
            raise ValueError("needs three classes")
        return right(s, t, y)

    found = check_loss(loss)
    assert found.broken == ("two classes",)
    assert "it raises ValueError: needs three classes" in str(found)


def test_another_path_for_one_row_is_found_by_the_path_it_must_agree_with():
    def fast(s, t, y):
        return right(s, t, y) if len(s) > 1 else scaled(0.5)(s, t, y)

    found = check_loss(right, same_as=fast)
    assert found.broken == ("same path",)
    assert "at B = 1, C = 7" in str(found)


def test_warnings_of_a_wrong_loss_stay_with_it():
    def loss(s, t, y):
        warnings.warn("mine", stacklevel=1)
        return np.log(np.zeros(1))[0], s

    assert check_loss(loss).broken == ("form",)


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


# ---------------------------------------------------------------------------------------------- float32


@pytest.mark.parametrize("returned", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_passes_in_float32(name, alpha, returned):
    loss = METHODS[name](alpha)
    exempt = {each for cls in type(loss).__mro__ for each in EXEMPT.get(cls.__name__, ())}
    found = check_loss(in_float32(loss, returned), getattr(loss, "temperature", 4.0), alpha, exempt=exempt)
    assert found, str(found)


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0, 20.0, 1000.0, 10_000.0])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_soft_targets_pass_in_float32_at_every_temperature(T, alpha):
    found = check_loss(in_float32(SoftTarget(T, alpha)), T, alpha)
    assert found, str(found)


def test_a_loss_that_is_float32_inside_alone_passes():
    def loss(s, t, y):
        log_q, log_p = (log_softmax_forward(x, 4.0)[0].astype(np.float32) for x in (s, t))
        p, q = np.exp(log_p), np.exp(log_q)
        return 16 * float((p * (log_p - log_q)).sum(axis=1).mean()), 4.0 * (q - p) / len(s)

    found = check_loss(loss)
    assert found, str(found)


def in_bfloat16(x):
    """As JAX and PyTorch round to it: 8 bits of the significand."""
    significand, exponent = np.frexp(x.astype(np.float32))
    return np.ldexp(np.round(significand * 256) / 256, exponent)


@pytest.mark.parametrize(
    ("loss", "bits"),
    [
        (lambda s, t, y: right(in_bfloat16(s), in_bfloat16(t), y), 8),
        (lambda s, t, y: right(s.astype(np.float16), t.astype(np.float16), y), 11),
    ],
)
def test_a_loss_in_half_precision_is_a_finding_of_its_form(loss, bits):
    found = check_loss(loss)
    assert found.broken == ("form",)
    assert f"the same for logits rounded to {bits} bits: half precision leaves too few digits" in str(found)


def test_a_fast_path_in_float32_agrees_with_a_slow_one_in_float64():
    assert check_loss(right, same_as=in_float32(right))
    assert check_loss(in_float32(right), same_as=right)
    assert check_loss(right, same_as=in_float32(scaled(1.001))).broken == ("same path",)


@pytest.mark.parametrize("factor", [0.99, 1.01, -1.0])
def test_a_wrong_gradient_in_float32_is_seen(factor):
    assert "gradient" in check_loss(in_float32(scaled(1.0, factor))).broken


@pytest.mark.parametrize("T", [1.5, 4.0, 20.0])
@pytest.mark.parametrize("exhibit", [e for e in EXHIBITS if e.has_loss], ids=lambda exhibit: exhibit.mistake.name)
def test_a_wrong_loss_in_float32_is_called_by_its_name_and_no_other(exhibit, T):
    found = exhibit.check(in_float32(exhibit.wrong_loss(T, exhibit.alpha)), T)
    assert set(found.mistakes) == {exhibit.mistake, *exhibit.also}


@pytest.mark.parametrize("T", [1.0, 4.0, 20.0, 1000.0, 10_000.0])
@pytest.mark.parametrize("name", METHODS)
def test_a_loss_in_float64_is_held_to_the_digits_of_float64(name, T):
    loss = METHODS[name](1.0)
    off = check_loss(lambda s, t, y: (loss(s, t, y)[0], 1.00001 * loss(s, t, y)[1]), getattr(loss, "temperature", 4.0))
    assert "tolerance 1.0e-06" in str(off)


# ---------------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match=r"loss must be a loss, such as CrossEntropy\(\), got 3"):
        check_loss(3)
    with pytest.raises(TypeError, match=r"same_as must be a loss, such as CrossEntropy\(\), got 3"):
        check_loss(right, same_as=3)


@pytest.mark.parametrize(("name", "bad"), [("temperature", 0), ("temperature", 1e5), ("alpha", 1.1), ("alpha", -0.1)])
def test_settings_out_of_bounds_are_refused(name, bad):
    with pytest.raises(ValueError, match=rf"{name} must be in .*, got {bad}"):
        check_loss(right, **{name: bad})


@pytest.mark.parametrize("bad", [("batches",), "batches", ["shift", "batches"]])
def test_exemptions_from_what_there_is_not_are_refused(bad):
    with pytest.raises(ValueError, match=r"exempt must hold names of invariants, form, .*; got .*'batches'"):
        check_loss(right, exempt=bad)
