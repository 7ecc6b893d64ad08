# SPDX-License-Identifier: MIT
"""The bounds are those of the textbooks, and hold as often as they say, in simulations that can refute them."""

import numpy as np
import pytest

from minidistill.deployment.bounds import (
    ODDS,
    add_evidence,
    alarm_level,
    binomial_tail,
    confidence_sequence,
    evidence,
    lower_bound,
)

stats = pytest.importorskip("scipy.stats")  # comes with scikit-learn; the package itself does without
COUNTS = [(0, 1), (1, 1), (0, 30), (17, 30), (30, 30), (1, 1000), (997, 1000), (48_000, 50_000)]
DELTAS = (1e-6, 0.05, 0.5)


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("p", [0.0, 1e-9, 0.3, 0.96, 1 - 1e-9, 1.0])
def test_the_tail_is_that_of_the_binomial_distribution(k, n, p):
    """[SERVE-1]"""
    assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("delta", DELTAS)
def test_the_bound_is_a_quantile_of_the_beta_distribution(k, n, delta):
    """[SERVE-2]"""
    low = stats.beta.ppf(delta, k, n - k + 1) if k > 0 else 0.0
    assert lower_bound(k, n, delta) == pytest.approx(low, rel=1e-8)


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("delta", DELTAS)
def test_the_ends_of_the_confidence_sequence_are_where_it_says(k, n, delta):
    """[SERVE-3]"""
    low, high = confidence_sequence(k, n, delta)
    assert low <= k / n <= high
    for end in (low, high):
        if 0 < end < 1:
            assert (n + 1) * stats.binom.pmf(k, n, end) == pytest.approx(delta, rel=1e-6)
    assert (low == 0) == (k == 0)
    assert (high == 1) == (k == n)


def test_before_the_first_input_nothing_is_known():
    assert confidence_sequence(0, 0, 0.05) == (0.0, 1.0)


def test_the_confidence_sequence_is_wrong_at_any_time_as_rarely_as_it_says_and_one_for_a_single_look_is_not():
    """[SERVE-3]"""
    runs, steps, p, delta = 400, 3000, 0.95, 0.05
    n = np.arange(1, steps + 1)
    k = np.cumsum(np.random.default_rng(0).random((runs, steps)) < p, axis=1)   # (runs,steps)
    outside = (n + 1) * stats.binom.pmf(k, n, p) <= delta
    assert 0 < outside.any(axis=1).mean() <= delta
    single = np.minimum(stats.binom.cdf(k, n, p), stats.binom.sf(k - 1, n, p)) <= delta / 2
    assert single.any(axis=1).mean() > 4 * delta


def test_evidence_is_the_sum_over_all_beginnings_of_a_fall():
    """[SERVE-4]"""
    promised, agreed = 0.9, np.random.default_rng(1).random(12) < 0.6
    log_R = np.full(len(ODDS), -np.inf)
    for same in agreed:
        log_R = add_evidence(log_R, same, promised)
    worse = ODDS * 0.1 / (0.9 + ODDS * 0.1)  # disagreement whose odds are so much greater
    ratios = np.where(agreed[:, None], (1 - worse) / 0.9, worse / 0.1)          # (12,K) of likelihoods
    since = [ratios[start:].prod(axis=0) for start in range(12)]
    np.testing.assert_allclose(np.exp(log_R), np.sum(since, axis=0), rtol=1e-12)
    assert float(np.exp(evidence(log_R))) == pytest.approx(np.sum(since, axis=0).mean())


@pytest.mark.parametrize("promised", [0.5, 0.97])
def test_an_input_adds_no_evidence_on_average_while_the_promise_is_kept(promised):
    """[SERVE-4]"""
    start = np.log(np.array([0.0, 1.0, 5.0, 100.0, 1e4]) + 1e-300)
    agreed, disagreed = (np.exp(add_evidence(start, same, promised)) for same in (True, False))
    before = np.exp(start)
    for agreement in (promised, (1 + promised) / 2, 1.0):
        after = agreement * agreed + (1 - agreement) * disagreed
        assert (after <= (before + 1) * (1 + 1e-12)).all()
    np.testing.assert_allclose(promised * agreed + (1 - promised) * disagreed, before + 1, rtol=1e-12)


def test_evidence_neither_overflows_nor_sinks_so_low_that_a_later_fall_is_missed():
    log_R = np.full(len(ODDS), -np.inf)
    assert evidence(log_R) == -np.inf
    for _ in range(20_000):
        log_R = add_evidence(log_R, True, 0.95)
    assert evidence(log_R) > 0
    for _ in range(2000):
        log_R = add_evidence(log_R, False, 0.95)
    assert np.isfinite(evidence(log_R)) and evidence(log_R) > 1000


def test_the_alarm_level_is_what_the_expected_evidence_makes_rare():
    """[SERVE-5]"""
    assert alarm_level(5000, 0.05) == pytest.approx(np.log(100_000))
