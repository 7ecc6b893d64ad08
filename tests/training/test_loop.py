# SPDX-License-Identifier: MIT
"""fit(): that it learns, when it stops, which parameters it keeps, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_runs import Watch, noise, note_parameters, scripted, small

from minidistill import (
    MLP,
    SGD,
    Adam,
    CosineSchedule,
    CrossEntropy,
    Dataset,
    SoftTarget,
    TrainingDiverged,
    digits,
    distill,
    fit,
    mutual_learning,
    spirals,
)

# ---------------------------------------------------------------------------------------------- it learns


@pytest.mark.parametrize("backend", ["numpy", None], ids=["readable", "default"])
def test_a_batch_larger_than_the_data_is_all_rows(data, backend):
    networks = [small(dropout=0.2, backend=backend) for _ in range(2)]
    for network, batch_size in zip(networks, (20, 1000), strict=True):
        history = fit(network, data, epochs=3, batch_size=batch_size)
        assert np.isfinite(history.column("loss")).all()
    np.testing.assert_array_equal(networks[0].parameters, networks[1].parameters)


@pytest.mark.parametrize("optimizer", [SGD(CosineSchedule(0.3)), SGD(0.1, nesterov=True), Adam(0.01)], ids=repr)
def test_a_network_learns_spirals(optimizer):
    data, new = spirals(300, noise=0.1, seed=0), spirals(300, noise=0.1, seed=1)
    network = MLP((2, 32, 32, 3), activation="tanh")
    fit(network, data, epochs=100, batch_size=30, optimizer=optimizer)
    assert (network.predict(new.x) == new.y).mean() > 0.9  # a straight line gets about 0.5


def test_a_network_learns_digits():
    train, test = digits()
    network = MLP((64, 32, 10))
    history = fit(network, train, epochs=8)
    assert (network.predict(test.x) == test.y).mean() > 0.92
    assert history.epochs[-1].loss < 0.2 * history.epochs[0].loss


def test_one_row_a_class_and_one_row_a_batch_are_enough():
    data, network = Dataset([[0.0, 1.0], [1.0, 0.0]], [1, 0]), small()
    fit(network, data, epochs=60, batch_size=1)
    assert network.predict(data.x).tolist() == [1, 0]


def test_one_step_of_a_run_is_forward_loss_backward_update(data):
    network, by_hand = small(dtype=np.float64), small(dtype=np.float64)
    fit(network, data, epochs=1, batch_size=20, optimizer=SGD(0.3, momentum=0.0))
    logits, cache = by_hand.forward(data.x.astype(np.float64))
    by_hand.backward(CrossEntropy()(logits, None, data.y)[1], cache)
    by_hand.parameters -= 0.3 * by_hand.gradients
    np.testing.assert_allclose(network.parameters, by_hand.parameters, rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------------------------------------- when it stops


def test_early_stopping_waits_for_patience_and_restores_the_best(data):
    network, validation = scripted(small(), 0.5, 0.8, 0.7, 0.6, 0.9)
    notes = []
    history = fit(
        network, data, epochs=9, batch_size=8, validation=validation, patience=2, callbacks=[note_parameters(notes)]
    )
    assert history.stopped_early
    assert (len(history.epochs), history.best.epoch) == (4, 2)
    np.testing.assert_array_equal(network.parameters, notes[1])
    assert (network.parameters != notes[-1]).any()


def test_a_run_that_is_not_stopped_goes_back_to_the_best_as_well(data):
    network, validation = scripted(small(), 0.5, 0.8, 0.7)
    notes = []
    history = fit(
        network, data, epochs=3, batch_size=8, validation=validation, patience=9, callbacks=[note_parameters(notes)]
    )
    assert not history.stopped_early
    np.testing.assert_array_equal(network.parameters, notes[1])


def test_without_patience_the_last_epoch_stays(data):
    network, validation = scripted(small(), 0.5, 0.8, 0.7)
    notes = []
    history = fit(network, data, epochs=3, batch_size=8, validation=validation, callbacks=[note_parameters(notes)])
    assert history.best.epoch == 2
    np.testing.assert_array_equal(network.parameters, notes[2])


def test_validation_is_measured_on_the_network_after_the_epoch_and_never_trained_on(data):
    validation, network = spirals(30, classes=2, seed=8), small(dropout=0.3)
    history = fit(network, data, epochs=2, batch_size=8, validation=validation)
    assert history.epochs[-1].validation_accuracy == (network.predict(validation.x) == validation.y).mean()
    loss, _ = CrossEntropy()(network.logits(validation.x), None, validation.y)
    assert history.epochs[-1].validation_loss == loss
    np.testing.assert_array_equal(network.parameters, trained_with_dropout(data, validation=None))


def trained_with_dropout(data, validation):
    network = small(dropout=0.3)
    fit(network, data, epochs=2, batch_size=8, validation=validation)
    return network.parameters


# ---------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_in_a_callback_keeps_the_epoch_that_is_whole(data):
    network, notes = small(), []

    def interrupt(network, history):
        notes.append(network.parameters.copy())
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network, data, epochs=9, batch_size=8, callbacks=[interrupt])
    np.testing.assert_array_equal(network.parameters, notes[1])


def test_ctrl_c_in_mid_epoch_keeps_the_last_whole_epoch(data):
    network, notes = small(), []
    with pytest.raises(KeyboardInterrupt):
        fit(network, data, Watch(fail_at=8, error=KeyboardInterrupt()), epochs=9, batch_size=8,
            callbacks=[note_parameters(notes)])  # three steps an epoch: this is the second step of the third
    assert len(notes) == 2
    np.testing.assert_array_equal(network.parameters, notes[1])


def test_ctrl_c_in_mid_epoch_keeps_the_best_epoch_where_there_is_validation(data):
    network, validation = scripted(small(), 0.5, 0.8, 0.7)
    notes = []
    with pytest.raises(KeyboardInterrupt):
        fit(network, data, Watch(fail_at=11, error=KeyboardInterrupt()), epochs=9, batch_size=8,
            validation=validation, callbacks=[note_parameters(notes)])
    assert len(notes) == 3
    np.testing.assert_array_equal(network.parameters, notes[1])


def test_ctrl_c_in_the_first_epoch_leaves_the_network_as_it_came(data):
    network, before = small(), small().parameters
    with pytest.raises(KeyboardInterrupt):
        fit(network, data, Watch(fail_at=2, error=KeyboardInterrupt()), epochs=9, batch_size=8)
    np.testing.assert_array_equal(network.parameters, before)


# ---------------------------------------------------------------------------------------------- callbacks and progress


def test_callbacks_are_called_in_order_after_each_epoch_with_network_and_history(data):
    network, calls = small(), []
    callbacks = [
        lambda trained, history: calls.append(("first", trained is network, len(history.epochs))),
        lambda trained, history: calls.append(("second", trained is network, len(history.epochs))),
    ]
    fit(network, data, epochs=2, batch_size=8, callbacks=callbacks)
    assert calls == [("first", True, 1), ("second", True, 1), ("first", True, 2), ("second", True, 2)]


def test_callbacks_from_a_generator_are_called_after_each_epoch_too(data):
    calls = []
    fit(small(), data, epochs=3, batch_size=8, callbacks=(call for call in [lambda *given: calls.append(given)]))
    assert len(calls) == 3


def test_an_error_in_a_callback_is_the_callers(data):
    with pytest.raises(ZeroDivisionError):
        fit(small(), data, epochs=2, batch_size=8, callbacks=[lambda network, history: 1 / 0])


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_a_progress_bar_is_shown_where_it_is_asked_for_and_by_default_only_in_a_terminal(data, capsys, progress, shown):
    history = fit(small(), data, epochs=2, batch_size=8, progress=progress)
    captured = capsys.readouterr()
    assert ("epoch" in captured.err) == shown
    assert captured.out == ""
    assert len(history.epochs) == 2


# ---------------------------------------------------------------------------------------------- what it refuses


ROWS, LABELS = np.ones((20, 2), np.float32), np.arange(20) % 2
GOOD = Dataset(ROWS, LABELS)
ZEROS = np.zeros((20, 2), np.float32)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (ROWS, {}, TypeError, r"data must be a Dataset, got ndarray: Dataset\(x, y\) makes one"),
        (Dataset(ROWS), {}, ValueError, "data must have labels where no teacher gives targets"),
        (Dataset(ROWS[:, :1], LABELS), {}, ValueError, r"data.x must have 2 columns, got shape \(20, 1\)"),
        (Dataset(ROWS, LABELS + 1), {}, ValueError, r"data.y must be 0 to 1 \(2 classes\), got 2 at row 1"),
        (Dataset(ROWS, LABELS * 0 + 1), {}, ValueError, "at least two classes to learn from, every label is 1"),
        (GOOD, {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        (GOOD, {"batch_size": 2.5}, TypeError, "batch_size must be a whole number, got 2.5"),
        (GOOD, {"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        (GOOD, {"epochs": "many"}, TypeError, "epochs must be a whole number, got 'many'"),
        (GOOD, {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (GOOD, {"patience": 2}, ValueError, "patience needs validation data to be judged on"),
        (GOOD, {"patience": 0, "validation": GOOD}, ValueError, "patience must be at least 1, got 0"),
        (GOOD, {"validation": (ROWS, LABELS)}, TypeError, "validation must be a Dataset, got tuple"),
        (GOOD, {"validation": Dataset(ROWS)}, ValueError, "validation must have labels"),
        (GOOD, {"validation": Dataset(ROWS[:, :1], LABELS)}, ValueError, "validation.x must have 2 columns"),
        (GOOD, {"validation": Dataset(ROWS, LABELS + 1)}, ValueError, r"validation.y must be 0 to 1 \(2 classes\)"),
        (GOOD, {"targets": ZEROS[:19]}, ValueError, r"targets must have shape \(20, 2\), got \(19, 2\)"),
        (GOOD, {"targets": ZEROS[:, :1]}, ValueError, r"targets must have shape \(20, 2\), got \(20, 1\)"),
        (GOOD, {"targets": ZEROS + np.nan}, ValueError, "targets must be finite, got nan at row 0, column 0"),
        (GOOD, {"targets": ZEROS, "augment": noise}, ValueError, "targets must be a function where augment changes"),
        (GOOD, {"loss": SoftTarget()}, ValueError, r"t \(teacher logits\) is missing: train with distill"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name_before_anything_is_trained(data, options, error, message):
    network = small()
    with pytest.raises(error, match=message):
        fit(network, data, **{"epochs": 1, "batch_size": 8, **options})
    np.testing.assert_array_equal(network.parameters, small().parameters)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"targets": "soft"}, "targets"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"loss": "cross-entropy"}, "loss"),
        ({"augment": 3}, "augment"),
        ({"callbacks": print}, "callbacks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(options, name):
    with pytest.raises((TypeError, ValueError), match=f"{name} must"):
        fit(small(), GOOD, epochs=1, batch_size=8, **options)


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="network must be an MLP, got str"):
        fit("network", GOOD)


@pytest.mark.parametrize("shape", [(8, 3), (7, 2), (8,)])
def test_a_function_for_targets_that_answers_in_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"t must have the shape of s, \(8, 2\)|targets must have 2 dimensions"):
        fit(small(), GOOD, SoftTarget(), epochs=1, batch_size=8, targets=lambda x: np.zeros(shape, np.float32))


def test_a_float64_number_too_large_for_a_float32_network_is_refused():
    huge = Dataset(np.array([[1e300, 0.0], [0.0, 1.0]]), [0, 1])
    with pytest.raises(ValueError, match="must be finite, got inf at row 0, column 0"), np.errstate(over="ignore"):
        fit(small(), huge, batch_size=1)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_a_network_is_trained_by_one_thread_at_a_time(data, backend):
    network, other = small(backend=backend), small(seed=1, backend=backend)
    refused, options = [], {"epochs": 1, "batch_size": 8}

    def train_in_another_thread(network, history):
        before = network.parameters.copy()
        trainings = (
            lambda: fit(network, data, **options),
            lambda: distill(other, network, data, **options),
            lambda: mutual_learning([other, network], data, **options),
        )
        with ThreadPoolExecutor(1) as pool:
            for train in trainings:
                with pytest.raises(RuntimeError, match="network is being trained by another thread"):
                    pool.submit(train).result()
                refused.append(train)
            pool.submit(fit, network.copy(), data, **options).result()
            pool.submit(fit, other, data, **options).result()
        np.testing.assert_array_equal(network.parameters, before)

    fit(network, data, epochs=2, batch_size=8, callbacks=[train_in_another_thread])
    assert len(refused) == 6
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fit, network, data, **options).result()


def test_a_training_run_that_fails_releases_the_network(data):
    network = small()
    with pytest.raises(TrainingDiverged):
        fit(network, data, epochs=2, batch_size=8, optimizer=SGD(1e30))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fit, network, data, epochs=1, batch_size=8).result()


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_validation_logits_that_overflow_are_a_divergence(data, backend):
    network = small(backend=backend)
    before = network.parameters.copy()
    validation = Dataset(np.full((3, 2), 3e38, np.float32), [0, 1, 0])
    with pytest.raises(TrainingDiverged, match="the validation logits are not finite at epoch 1"):
        fit(network, data, epochs=2, batch_size=8, validation=validation)
    np.testing.assert_array_equal(network.parameters, before)
