# SPDX-License-Identifier: MIT
"""Pruning cuts what it says, keeps what it can, and what it returns computes what the formulas promise."""

import numpy as np
import pytest

from minidistill import MLP, SGD, CosineSchedule, Dataset, SoftTarget, digits, distill, fit
from minidistill.deployment.prune import (
    cut_weights,
    density,
    gradient_saliency,
    prune_weights,
    remove_units,
    share_at,
    sparse_bytes,
    variance_saliency,
)

RANDOM = np.random.default_rng(0)
DATA = Dataset(RANDOM.standard_normal((70, 6)), RANDOM.integers(3, size=70))


def network(sizes=(6, 8, 5, 3), **options):
    """One whose biases are not zero, or mistakes in them would not show."""
    made = MLP(sizes, dtype=np.float64, **options)
    made.parameters += 0.1 * np.random.default_rng(1).standard_normal(made.num_parameters)
    return made


# ---------------------------------------------------------------------------------------------- single weights


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.999])
def test_the_smallest_weights_of_all_layers_are_cut_and_no_bias(share):
    """[PRUNE-1]"""
    before, after = network(), network()
    cut_weights(after, share)
    old, new = (np.concatenate([W.ravel() for W in one.weights]) for one in (before, after))
    gone = new == 0
    assert gone.sum() == int(share * old.size)
    np.testing.assert_array_equal(new[~gone], old[~gone])
    if gone.any():
        assert np.abs(old[gone]).max() < np.abs(old[~gone]).min()
    for b, kept in zip(before.biases, after.biases, strict=True):
        np.testing.assert_array_equal(b, kept)


def test_the_share_rises_from_nothing_to_all_of_it_and_ever_more_slowly():
    """[PRUNE-2]"""
    shares = [share_at(progress, 0.8) for progress in np.linspace(0, 0.75, 10)]
    assert shares[0] == 0
    assert shares[-1] == share_at(1.0, 0.8) == pytest.approx(0.8)
    steps = np.diff(shares)
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()
    assert share_at(0.375, 0.8) == pytest.approx(0.8 * 7 / 8)


@pytest.mark.parametrize("teacher", [None, network(seed=3)])
def test_after_the_last_epoch_the_share_is_zero_whoever_teaches(teacher):
    student = network()
    seen = []
    prune_weights(
        student, DATA, 0.7, teacher=teacher, epochs=8, callbacks=[lambda network, _: seen.append(density(network))]
    )
    assert density(student) == pytest.approx(0.3, abs=0.01)
    assert seen == pytest.approx([1 - share_at(epoch / 8, 0.7) for epoch in range(1, 9)], abs=0.01)


def test_learning_on_wins_back_what_one_cut_costs():
    training, test = digits()
    few = training.take(300)
    student = MLP((64, 32, 10))
    fit(student, few, epochs=40)
    cut, pruned = student.copy(), student.copy()
    cut_weights(cut, 0.9)
    prune_weights(pruned, few, 0.9, epochs=40, optimizer=SGD(CosineSchedule(0.05)))
    accuracies = [(one.predict(test.x) == test.y).mean() for one in (cut, pruned)]
    assert accuracies[1] > accuracies[0] + 0.05


def test_zeros_are_stored_as_bits():
    pruned = network()
    cut_weights(pruned, 0.5)
    weights, biases = 6 * 8 + 8 * 5 + 5 * 3, 8 + 5 + 3
    nonzero = weights - int(0.5 * weights)
    assert sparse_bytes(pruned) == 6 + 5 + 2 + 8 * (nonzero + biases)


# ---------------------------------------------------------------------------------------------- whole hidden units


def test_a_unit_that_never_changes_goes_without_a_trace():
    """[PRUNE-3]"""
    full = network()
    full.weights[0][:, 2], full.biases[0][2] = 0, 0.7
    full.weights[1][:, 4], full.biases[1][4] = 0, 0.3
    smaller = remove_units(full, [7, 4], DATA)
    assert smaller.sizes == (6, 7, 4, 3)
    np.testing.assert_allclose(smaller.logits(DATA.x), full.logits(DATA.x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_variance_is_what_the_next_layer_moves_by(activation):
    """[PRUNE-4], against doing it: hold each unit to its mean, and look at z."""
    net = network(activation=activation)
    h, W = net.outputs(DATA.x).hidden[0], net.weights[1]
    moved = []
    for unit in range(8):
        held = h.copy()
        held[:, unit] = h[:, unit].mean()
        moved.append(np.square(held @ W - h @ W).sum(axis=1).mean())
    np.testing.assert_allclose(variance_saliency(h, W), moved, rtol=1e-12)


def test_the_gradient_is_the_slope_of_the_loss_as_a_unit_fades():
    """[PRUNE-5], against finite differences: multiply what a unit says by 1 + e and 1 - e."""
    net, rows = network(), slice(0, 32)
    slopes = []
    for unit in range(8):
        losses = []
        for factor in (1 + 1e-5, 1 - 1e-5):
            faded = net.copy()
            faded.weights[1][unit] *= factor
            value, _ = faded.ops.cross_entropy_forward(faded.logits(DATA.x[rows]), DATA.y[rows])
            losses.append(float(value))
        slopes.append((losses[0] - losses[1]) / 2e-5)
    np.testing.assert_allclose(gradient_saliency(net, 0, DATA.x[rows], DATA.y[rows]), np.square(slopes), rtol=1e-6)


def test_the_gradients_of_batches_do_not_cancel_each_other():
    net = network()
    whole = gradient_saliency(net, 0, DATA.x[:64], DATA.y[:64])
    halves = [gradient_saliency(net, 0, DATA.x[rows], DATA.y[rows]) for rows in (slice(0, 32), slice(32, 64))]
    np.testing.assert_allclose(whole, np.mean(halves, axis=0), rtol=1e-12)


@pytest.mark.parametrize("by", ["variance", "gradient"])
def test_the_units_that_are_missed_most_stay_in_their_order(by):
    net = network((6, 8, 3))
    h = net.outputs(DATA.x).hidden[0]
    missed = (
        variance_saliency(h, net.weights[1]) if by == "variance" else gradient_saliency(net, 0, DATA.x, DATA.y)
    )
    smaller = remove_units(net, 5, DATA, by)
    kept = np.sort(np.argsort(missed)[3:])
    np.testing.assert_array_equal(smaller.weights[0], net.weights[0][:, kept])
    np.testing.assert_array_equal(smaller.weights[1], net.weights[1][kept])
    assert smaller.num_parameters < net.num_parameters
    assert smaller.multiply_adds < net.multiply_adds


def test_the_network_itself_stays_as_it_is_and_its_settings_go_on():
    net = network(dropout=(0.1, 0.2, 0.3), activation="tanh", seed=5)
    before = net.parameters.copy()
    smaller = remove_units(net, 4, DATA)
    np.testing.assert_array_equal(net.parameters, before)
    assert (smaller.dropout, smaller.activation, smaller.seed, smaller.dtype, smaller.backend) == (
        net.dropout, net.activation, net.seed, net.dtype, net.backend
    )  # fmt: skip


def test_keeping_all_units_changes_nothing():
    net = network()
    np.testing.assert_array_equal(remove_units(net, [8, 5], DATA).parameters, net.parameters)


def test_units_are_judged_without_labels_and_a_teacher_wins_back_what_they_knew():
    training, test = digits()
    teacher = MLP((64, 128, 10), dropout=0.3)
    fit(teacher, training, epochs=10)
    unlabelled = Dataset(training.x[:300])
    student = remove_units(teacher, 12, unlabelled)
    before = (student.predict(test.x) == test.y).mean()
    distill(teacher, student, unlabelled, SoftTarget(4.0, alpha=1.0), epochs=30)
    assert (student.predict(test.x) == test.y).mean() > before + 0.02


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cut_weights(network(), 1.0), r"share must be in \[0, 1\), got 1"),
        (lambda: prune_weights(network(), DATA, -0.1), r"share must be in \[0, 1\), got -0\.1"),
        (lambda: prune_weights(network(), DATA, patience=3), "patience must be None"),
        (lambda: remove_units(network(), [8, 5, 3], DATA), "keep must be one number for each of the 2 hidden layers"),
        (lambda: remove_units(network(), [8, 0], DATA), r"keep\[1\] must be at least 1, got 0"),
        (lambda: remove_units(network(), 6, DATA), r"keep\[1\] must be at most 5, the units of hidden layer 1, got 6"),
        (lambda: remove_units(network((6, 3)), 1, DATA), "keep must be one number for each of the 0 hidden layers"),
        (lambda: remove_units(network(), 3, DATA, "size"), "by must be"),
        (lambda: remove_units(network(), 3, Dataset(DATA.x), "gradient"), "data must have labels"),
        (lambda: remove_units(network(), 3, Dataset(DATA.x[:, :5])), "data.x must have 6 columns"),
    ],
)
def test_what_cannot_be_pruned_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_network_with_nan_is_refused():
    net = network()
    net.parameters[3] = np.nan
    with pytest.raises(ValueError, match=r"network\.parameters"):
        remove_units(net, 3, DATA)
    with pytest.raises(ValueError, match=r"network\.parameters"):
        cut_weights(net, 0.5)


def test_a_share_that_is_refused_leaves_the_network_untouched():
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="share"):
        prune_weights(net, DATA, 1.5)
    np.testing.assert_array_equal(net.parameters, before)


def test_a_share_of_one_weight_cuts_the_smallest_one():
    network = MLP((3, 2, 2))
    smallest = min(np.abs(W).min() for W in network.weights)
    cut_weights(network, 1.05 / 10)
    assert sum((W == 0).sum() for W in network.weights) == 1
    assert min(np.abs(W[W != 0]).min() for W in network.weights) > smallest
