# SPDX-License-Identifier: MIT
"""What check_loss says of right losses, and of wrong ones that are in no zoo; test_zoo has those."""

import warnings

import numpy as np
import pytest
from float32 import in_float32
from methods import METHODS
from zoo.exhibits import EXHIBITS

from minidistill import (
    DIST,
    CrossEntropy,
    DecoupledKD,
    LogitMatching,
    SoftTarget,
    TopK,
    TopKTarget,
    check_loss,
)
from minidistill.diagnosis import mistakes
from minidistill.diagnosis.invariants import INVARIANTS, STATEMENTS
from minidistill.ops import log_softmax_forward


def right(s, t, y):
    """A soft-target loss of temperature 4 and alpha 1, as a user would hand it over."""
    return SoftTarget(4.0, 1.0)(s, t, y)


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
    assert wrong.mistakes == (mistakes.ELEMENT_MEAN,)


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


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_only_known_invariants_unclaimed(name):
    assert set(METHODS[name](1.0).unclaimed) <= set(STATEMENTS)


@pytest.mark.parametrize("name", METHODS)
def test_no_method_is_exempt_from_what_it_holds(name):
    """But for settings at which one is soft targets, or nearly: what is claimed less is looked at here."""
    loss = METHODS[name](1.0)
    names = set(loss.unclaimed)

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
    assert mistakes.T_SQUARED_MISSING in found.mistakes
    assert "it is 0.25 times what it should be" in str(found)


def test_a_wrong_sign_is_seen():
    found = check_loss(scaled(1.0, -1.0))
    assert "gradient" in found.broken
    assert "the sign is wrong" in str(found)


def test_the_gradient_of_the_teachers_side_is_named():
    found = check_loss(lambda s, t, y: right(t, s, y))
    assert found.mistakes == (mistakes.SWAPPED,)
    assert "gradient" in found.broken


@pytest.mark.parametrize("of", ["s", "t"])
def test_a_loss_that_a_constant_added_to_one_of_the_two_changes_is_named(of):
    def loss(s, t, y):
        value, ds = right(s, t, y)
        mean = {"s": s, "t": t}[of].mean()
        return value + 0.01 * mean**2, ds + 0.02 * mean / s.size * (of == "s")

    assert f"constants added to the rows of {of}" in str(check_loss(loss, 4.0, 1.0, exempt=["match"]))


@pytest.mark.parametrize("factor", [0.95, 0.999, 1.001, 1.05])
def test_a_gradient_or_a_value_that_is_a_little_off_is_seen(factor):
    for wrong in (lambda value, ds: (value, factor * ds), lambda value, ds: (factor * value, ds)):
        found = check_loss(lambda s, t, y, wrong=wrong: wrong(*right(s, t, y)), 4.0, 1.0)
        assert not found, str(found)


def test_exchanged_weights_are_named():
    found = check_loss(lambda s, t, y: SoftTarget(4.0, 0.3)(s, t, y), 4.0, 0.7)
    assert mistakes.WEIGHTS_EXCHANGED in found.mistakes
    assert "the labels have the weight 0.7, where alpha = 0.7 leaves them 0.3" in str(found)


def test_labels_beside_an_alpha_of_1_are_seen_and_not_called_exchanged():
    found = check_loss(lambda s, t, y: SoftTarget(4.0, 0.5)(s, t, y), 4.0, 1.0)
    assert "the labels have the weight 0.5, where alpha = 1 leaves them 0" in str(found)
    assert mistakes.WEIGHTS_EXCHANGED not in found.mistakes


def test_a_batch_divided_out_twice_is_named_in_a_loss_of_another_measure_too():
    def loss(s, t, y):
        value, ds = DecoupledKD(alpha=1.0)(s, t, y)
        return value / len(s), ds / len(s)

    found = check_loss(loss, 4.0, 1.0, exempt=("soft target", "labels"))
    assert found.mistakes == (mistakes.BATCH_TWICE,)
    assert found.broken == ("batch",)


def test_an_underflow_and_a_factor_are_both_named():
    def loss(s, t, y):
        with np.errstate(all="ignore"):
            q, p = (np.exp(x / 4) / np.exp(x / 4).sum(axis=1, keepdims=True) for x in (s, t))
            return (p * (np.log(p) - np.log(q))).sum(axis=1).mean(), (q - p) / 4 / len(s)

    assert set(check_loss(loss).mistakes) == {mistakes.T_SQUARED_MISSING, mistakes.UNDERFLOW}


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


# ---------------------------------------------------------------------------------------------- float32


@pytest.mark.parametrize("returned", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_passes_in_float32(name, alpha, returned):
    loss = METHODS[name](alpha)
    found = check_loss(in_float32(loss, returned), getattr(loss, "temperature", 4.0), alpha, exempt=loss.unclaimed)
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
