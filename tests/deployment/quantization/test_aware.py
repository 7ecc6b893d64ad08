# SPDX-License-Identifier: MIT
"""Training with rounding: the network of the integer codes, its gradients, and what it recovers."""

import pickle

import numpy as np
import pytest
from quantizable import ACTIVATIONS, DATA, X, network

from minidistill import MLP, SGD, CrossEntropy, QuantizationAwareMLP, SoftTarget, distill, fit, quantize
from minidistill.deployment.quantization.codes import TOP, fake_quantize_forward


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_learns_with_rounding_answers_as_the_integer_network(activation, bits):
    """Each code is the same, or where rounding could go either way its neighbour."""
    aware = QuantizationAwareMLP(network((6, 20, 15, 3), activation=activation, dtype=np.float64), X, bits)
    found, wanted = quantize(aware).outputs(X), aware.outputs(X)
    first, grid = found.hidden[0], aware.grids.hidden[0]
    steps = np.abs(first - wanted.hidden[0]) / grid.scale
    assert steps.max() < 1.01 if activation == "relu" else steps.max() < 2.01
    assert (steps > 0.01).mean() < 0.002
    assert np.abs(found.logits - wanted.logits).max() < 0.02 * np.abs(wanted.logits).max()


def held_fast(aware, x):
    """The aware network's logits as a function of its parameters, with what rounding adds and clips held as at x."""
    added, index = [], iter(())

    def frozen(y, before, inside):
        nonlocal index
        if recording:
            added.append((y - before, inside))
            return y
        offset, inside = next(index)
        return np.where(inside, before + offset, y)

    def logits():
        nonlocal index
        index = iter(added)
        grids, last = aware.grids, len(aware.weights) - 1
        a = frozen(*rounded(x, grids.inputs))
        for k, b in enumerate(aware.biases):
            if recording:
                W, rounded_b, inside = aware.rounded(k)
                held.append((W, W - aware.weights[k], inside, rounded_b - b))
            W, offset, inside, b_offset = held[k]
            a = a @ np.where(inside, aware.weights[k] + offset, W) + (b + b_offset)
            if k < last:
                if grids.before[k] is not None:
                    a = frozen(*rounded(a, grids.before[k]))
                a, _ = aware.activate(a)
                a = frozen(*rounded(a, grids.hidden[k]))
        return a

    def rounded(x, grid):
        y, inside = fake_quantize_forward(x, grid.scale, *grid.limits)
        return y, x, inside

    held, recording = [], True
    np.testing.assert_allclose(logits(), aware.forward(x)[0], rtol=1e-12, atol=1e-12)
    recording = False
    return logits


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_its_gradients_are_those_of_the_network_with_what_rounding_added_held_fast(activation, bits):
    """[Q-3] through a whole network: that is the lie, and all of it."""
    net = network((6, 9, 5, 3), activation=activation, dtype=np.float64)
    aware = QuantizationAwareMLP(net, X, bits, "percentile", 95.0)  # something is clipped
    x, y = X[:12].astype(np.float64), DATA.y[:12]
    logits = held_fast(aware, x)

    def loss():
        value, _ = aware.ops.cross_entropy_forward(logits(), y)
        return float(value)

    scores, cache = aware.forward(x)
    _, ds = CrossEntropy()(scores, None, y, aware.ops)
    aware.backward(ds, cache)
    gradients = aware.gradients.copy()
    slopes = np.zeros_like(gradients)
    for i in range(len(slopes)):
        kept = aware.parameters[i]
        values = []
        for step in (1e-6, -1e-6):
            aware.parameters[i] = kept + step
            values.append(loss())
        aware.parameters[i] = kept
        slopes[i] = (values[0] - values[1]) / 2e-6
    np.testing.assert_allclose(gradients, slopes, rtol=1e-5, atol=1e-8)


def test_learning_with_it_from_a_teacher_wins_back_what_4_bits_cost(trained):
    teacher, training, test = trained

    def accuracy(model):
        return (model.predict(test.x) == test.y).mean()

    student = MLP((64, 8, 10))
    fit(student, training, epochs=15)
    rounded = quantize(student, training.x[:500], 4)
    aware = QuantizationAwareMLP(student, training.x[:500], 4)
    distill(teacher, aware, training, SoftTarget(), epochs=8, optimizer=SGD(0.01))
    assert accuracy(quantize(aware)) > accuracy(rounded) + 0.005


def test_it_learns_from_labels_alone_and_the_same_seed_gives_the_same_bits():
    parameters = []
    for _ in range(2):
        aware = QuantizationAwareMLP(network(dropout=0.2), X)
        history = fit(aware, DATA, epochs=5)
        parameters.append(aware.parameters)
    assert history.epochs[-1].loss < history.epochs[0].loss
    np.testing.assert_array_equal(*parameters)


def test_a_run_that_was_cut_short_ends_with_the_same_bits(tmp_path):
    whole, half = (QuantizationAwareMLP(network(), X) for _ in range(2))
    fit(whole, DATA, epochs=4)

    def stop(_, history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(half, DATA, epochs=4, checkpoint=tmp_path / "c", callbacks=[stop])
    again = QuantizationAwareMLP(network(), X)
    fit(again, DATA, epochs=4, checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_copies_keep_the_ranges_and_the_network_it_came_from_stays():
    net = network(dropout=0.1)
    before = net.parameters.copy()
    aware = QuantizationAwareMLP(net, X, 4)
    fit(aware, DATA, epochs=1)
    np.testing.assert_array_equal(net.parameters, before)
    for twin in (aware.copy(), pickle.loads(pickle.dumps(aware))):
        assert type(twin) is QuantizationAwareMLP and (twin.bits, twin.grids) == (4, aware.grids)
        np.testing.assert_array_equal(twin.logits(X), aware.logits(X))
        assert twin.dropout == aware.dropout


def test_the_gradient_of_a_clipped_weight_is_zero():
    """[Q-3] With 4 bits the largest weight of a unit is clipped where that rounds the others better."""
    net = network((6, 9, 3), dtype=np.float64)
    net.weights[0][:] = 0.1 * np.sign(net.weights[0])
    net.weights[0][0] = 0.16
    aware = QuantizationAwareMLP(net, X, 4)
    clipped = ~aware.rounded(0)[2]
    assert clipped[0].all() and not clipped[1:].any()
    scores, cache = aware.forward(X.astype(np.float64))
    aware.backward(np.random.default_rng(0).standard_normal(scores.shape), cache)
    assert (aware.weight_gradients[0][clipped] == 0).all()
    assert (aware.weight_gradients[0][~clipped] != 0).any()


def test_the_gradient_for_the_inputs_is_zero_where_they_are_clipped():
    aware = QuantizationAwareMLP(network(dtype=np.float64), X)
    x = np.vstack([X[:3], 100 * X[3:6]]).astype(np.float64)
    scores, cache = aware.forward(x)
    dx = aware.backward(np.ones_like(scores), cache, input_gradient=True)
    assert (dx[np.abs(x) > 10] == 0).all() and (dx[:3] != 0).any()


def test_it_computes_on_the_backend_of_the_network(monkeypatch):
    net = network()
    monkeypatch.setattr("minidistill.network.resolved", lambda name: name or "another")
    assert QuantizationAwareMLP(net, X).backend == "numpy"
