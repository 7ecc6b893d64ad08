# SPDX-License-Identifier: MIT
"""A training run: its steps, the order of its rows, augmentation, targets and divergence."""

import math

import numpy as np
import pytest
from small_runs import Watch, noise, note_parameters, small, trained

from minidistill import (
    MLP,
    SGD,
    Adam,
    CrossEntropy,
    Dataset,
    LogitMatching,
    SoftTarget,
    TrainingDiverged,
    VirtualTeacher,
    WeightedSum,
    fit,
    spirals,
)
from minidistill.losses import base


class LabelSmoothed(CrossEntropy):
    """A loss without a kernel."""

    def __init__(self):
        super().__init__(0.1)


# ---------------------------------------------------------------------------------------------- order and seeds


def test_the_same_seed_gives_the_same_bits(data):
    np.testing.assert_array_equal(trained(data, seed=4), trained(data, seed=4))


def test_another_seed_gives_another_order(data):
    assert (trained(data, seed=4) != trained(data, seed=5)).any()


def test_numpys_global_randomness_plays_no_part(data):
    np.random.seed(1)  # noqa: NPY002  the very thing that must not matter
    first = trained(data).copy()
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(trained(data), first)


def rows_of_epochs(network, epochs, seed=4, **options):
    """Which rows each epoch took, in order: the labels are the numbers of the rows."""
    numbered = Dataset(np.eye(10, dtype=np.float32), np.arange(10))
    watch = Watch()
    fit(network, numbered, watch, epochs=epochs, batch_size=4, seed=seed, **options)
    return np.concatenate(watch.labels).reshape(epochs, 10)


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    orders = rows_of_epochs(MLP((10, 10)), 2)
    other = rows_of_epochs(
        MLP((10, 7, 10), dropout=0.5, seed=9), 5, optimizer=Adam(), augment=lambda x, y, g: (x + g.normal(), y)
    )
    np.testing.assert_array_equal(other[:2], orders)
    assert len({tuple(order) for order in other}) == 5
    assert (rows_of_epochs(MLP((10, 10)), 1, seed=5)[0] != orders[0]).any()


def test_every_epoch_takes_every_row_once():
    for order in rows_of_epochs(MLP((10, 10)), 3):
        assert sorted(order) == list(range(10))


def test_the_last_smaller_batch_is_used_and_the_mean_loss_is_over_samples(data):
    watch, network = Watch(), small()
    history = fit(network, data, watch, epochs=1, batch_size=8)
    assert [len(y) for y in watch.labels] == [8, 8, 4]
    losses = [CrossEntropy()(s, None, y)[0] for s, y in zip(watch.logits, watch.labels, strict=True)]
    assert history.epochs[0].loss == pytest.approx((8 * losses[0] + 8 * losses[1] + 4 * losses[2]) / 20, rel=1e-12)


def test_a_batch_may_be_all_rows(data):
    watch = Watch()
    fit(small(), data, watch, epochs=2, batch_size=20)
    assert [len(y) for y in watch.labels] == [20, 20]


def test_each_step_has_a_dropout_mask_of_its_own():
    network, masks = MLP((2, 40, 2), dropout=0.5), []

    def forward(x, training=False, step=0, **how):
        masks.append((training, step))
        return MLP.forward(network, x, training, step, **how)

    network.forward = forward
    fit(network, spirals(20, classes=2), epochs=2, batch_size=8)
    assert masks == [(True, step) for step in range(6)]


def test_the_schedule_sees_progress_from_0_to_just_below_1(data):
    seen = []
    history = fit(small(), data, epochs=2, batch_size=8, optimizer=SGD(lambda progress: seen.append(progress) or 0.1))
    assert {round(6 * progress, 9) for progress in seen} == {0, 1, 2, 3, 4, 5}
    assert history.column("learning_rate").tolist() == [0.1, 0.1]


def test_float64_networks_train_on_float32_rows_and_the_other_way_round(data):
    for dtype, other in ((np.float32, np.float64), (np.float64, np.float32)):
        network = small(dtype=dtype)
        fit(network, Dataset(data.x.astype(other), data.y), epochs=1, batch_size=8)
        assert network.parameters.dtype == dtype


# ---------------------------------------------------------------------------------------------- augmentation


def test_augmentation_changes_what_is_seen_and_goes_by_the_seed(data):
    np.testing.assert_array_equal(trained(data, augment=noise), trained(data, augment=noise))
    assert (trained(data, augment=noise) != trained(data)).any()
    assert (trained(data, augment=noise, seed=1) != trained(data, augment=noise)).any()


def test_each_epoch_is_augmented_anew(data):
    seen = []
    fit(small(), data, epochs=2, batch_size=20, augment=lambda x, y, g: (seen.append(noise(x, y, g)[0]) or seen[-1], y))
    assert not np.isin(seen[0], seen[1]).any()


def test_an_augmentation_in_place_does_not_reach_the_data(data):
    before = data.x.copy()

    def erase(x, y, generator):
        x[:] = 0
        return x, y

    fit(small(), data, epochs=1, batch_size=8, augment=erase)
    np.testing.assert_array_equal(data.x, before)


# ---------------------------------------------------------------------------------------------- NaN


class Breaks:
    """A loss that is right until its `at`-th call, and then gives this value or this gradient."""

    def __init__(self, at, value=None, gradient=None):
        self.at, self.value, self.gradient, self.calls = at, value, gradient, 0

    def __call__(self, s, t, y, ops):
        self.calls += 1
        value, ds = CrossEntropy()(s, t, y, ops)
        if self.calls != self.at:
            return value, ds
        return self.value or value, ds if self.gradient is None else np.full_like(ds, self.gradient)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_epoch_and_step(data, value):
    network, notes = small(), []
    with pytest.raises(TrainingDiverged, match=rf"the loss became {value} at epoch 3, step 2 of 3: try a learning rate "
                                               r"below 0\.1, clip_norm=1\.0 in the optimizer, or standardised inputs"):
        fit(network, data, Breaks(8, value), epochs=9, batch_size=8, callbacks=[note_parameters(notes)])
    assert len(notes) == 2
    np.testing.assert_array_equal(network.parameters, notes[1])


def test_a_gradient_of_nan_in_the_last_step_of_all_does_not_pass(data):
    network, notes = small(), []
    with pytest.raises(TrainingDiverged, match="the parameters are no longer finite at epoch 2, step 3 of 3"):
        fit(network, data, Breaks(6, gradient=math.nan), epochs=2, batch_size=8, callbacks=[note_parameters(notes)])
    np.testing.assert_array_equal(network.parameters, notes[0])


def test_a_rate_far_too_large_diverges_without_a_warning_of_numpy_and_the_network_stays_finite(data):
    network = small()
    with pytest.raises(TrainingDiverged, match=r"try a learning rate below 1e\+20"):
        fit(network, data, epochs=50, batch_size=8, optimizer=SGD(1e20))
    assert np.isfinite(network.parameters).all()


def test_nan_from_an_augmentation_is_not_trained_on(data):
    network, before = small(), small().parameters
    with pytest.raises((TrainingDiverged, ValueError)):
        fit(network, data, epochs=1, batch_size=8, augment=lambda x, y, g: (np.full_like(x, np.nan), y))
    np.testing.assert_array_equal(network.parameters, before)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("loss", [None, LabelSmoothed(), 1.0 * CrossEntropy() + 0.0 * SoftTarget()], ids=repr)
def test_labels_that_an_augmentation_puts_out_of_range_are_refused(data, backend, loss):
    network = MLP((2, 3, 2), backend=backend)
    with pytest.raises(ValueError, match=r"labels after augment must be 0 to 1 \(2 classes\), got 2"):
        fit(network, data, loss, epochs=1, batch_size=8, augment=lambda x, y, g: (x, y + 1))
    with pytest.raises(ValueError, match="labels after augment must have 2 columns"):
        fit(network, data, loss, epochs=1, batch_size=8, augment=lambda x, y, g: (x, np.full((len(x), 3), 1 / 3)))


# ---------------------------------------------------------------------------------------------- loss


def test_labels_are_checked_at_the_beginning_and_not_in_each_step(data, monkeypatch):
    calls = []
    monkeypatch.setattr(base, "check_labels", lambda name, y, *shape: calls.append(shape) or y)
    fit(small(backend="numpy"), data, 0.5 * CrossEntropy() + VirtualTeacher() + LabelSmoothed(), epochs=1)
    assert not calls
    CrossEntropy()(np.zeros((1, 2)), None, np.zeros(1, int))
    assert calls == [(1, 2)]


class Doubling:
    def __call__(self, *arguments):
        value, ds = super().__call__(*arguments)
        return 2 * value, 2 * ds


@pytest.mark.parametrize("mixed_in", [True, False])
@pytest.mark.parametrize("parent", [CrossEntropy, VirtualTeacher, SoftTarget, LogitMatching, WeightedSum])
def test_a_call_that_a_subclass_changes_is_the_one_of_the_steps(data, parent, mixed_in):
    class Doubled(*((Doubling, parent) if mixed_in else (parent,))):
        if not mixed_in:

            def __call__(self, *arguments):
                value, ds = super().__call__(*arguments)
                return 2 * value, 2 * ds

    arguments = ((CrossEntropy(),), (1.0,)) if parent is WeightedSum else ()
    options = {"epochs": 1, "targets": np.ones((len(data), 2), np.float32)}
    doubled, weighted, plain = small(), small(), small()
    (first,) = fit(doubled, data, Doubled(*arguments), **options).epochs
    (again,) = fit(weighted, data, 2 * parent(*arguments), **options).epochs
    assert first.loss == pytest.approx(again.loss, rel=1e-6)
    np.testing.assert_allclose(doubled.parameters, weighted.parameters, rtol=1e-5, atol=1e-7)
    fit(plain, data, parent(*arguments), **options)
    assert np.abs(doubled.parameters - plain.parameters).max() > 1e-4


# ---------------------------------------------------------------------------------------------- targets


def test_targets_go_to_the_loss_row_for_row():
    numbered = Dataset(np.eye(10, dtype=np.float32), np.arange(10))
    logits = np.repeat(np.arange(10.0, dtype=np.float32)[:, None], 10, axis=1)  # row i says i
    pairs = []

    def loss(s, t, y, ops):
        pairs.extend(zip(t[:, 0], y, strict=True))
        return SoftTarget()(s, t, y, ops)

    fit(MLP((10, 10)), numbered, loss, targets=logits, epochs=2, batch_size=4)
    assert len(pairs) == 20
    assert all(t == y for t, y in pairs)


def test_a_function_for_targets_is_asked_about_what_the_network_sees(data):
    asked, seen = [], []

    def augment(x, y, generator):
        seen.append(x + 1)
        return seen[-1], y

    def targets(x):
        asked.append(x)
        return np.zeros((len(x), 2), np.float32)

    fit(small(), data, SoftTarget(), targets=targets, augment=augment, epochs=2, batch_size=8)
    assert len(asked) == 6
    assert all(a is s for a, s in zip(asked, seen, strict=True))
