# SPDX-License-Identifier: MIT
"""MLP: gradients of the whole network, flat views, initialisation, prediction, and files that come back bit for bit."""

import contextlib
import copy
import os
import pickle

import numpy as np
import pandas
import pytest
from hypothesis import given, settings, strategies as st

from minidistill import (
    MLP,
    Cascade,
    CrossEntropy,
    Dataset,
    QualityGate,
    check_direction,
    check_gradient,
    distill,
    fit,
    quantize,
    remove_units,
)
from minidistill.export.c import to_c
from minidistill.network import ACTIVATIONS, ROWS_AT_ONCE
from minidistill.support.files import read_npz, write_npz

DEPTHS = {1: (3, 4), 2: (3, 5, 4), 3: (3, 5, 2, 4)}  # layers: sizes, odd on purpose
NAMES = ("sizes", "activation", "dropout", "seed", "parameters")



def rows(n, columns, dtype=np.float64, seed=7):
    return np.random.default_rng(seed).standard_normal((n, columns)).astype(dtype)


def awkward(sizes, **options):
    """A float64 network whose biases are not zero: zeros hide wrong gradients."""
    network = MLP(sizes, dtype=np.float64, **options)
    network.parameters += 0.3 * np.random.default_rng(5).standard_normal(network.num_parameters)
    return network


def loss_of_parameters(network, x, y, **how):
    """The loss as a function of the flat parameter vector, for finite differences."""

    def loss(parameters):
        network.parameters[:] = parameters
        return CrossEntropy()(network.forward(x, **how)[0], None, y)[0]

    return loss


def backward_once(network, x, y, input_gradient=False, **how):
    logits, cache = network.forward(x, **how)
    _, dlogits = CrossEntropy()(logits, None, y)
    return network.backward(dlogits, cache, input_gradient)


# ---------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", DEPTHS)
@pytest.mark.parametrize("batch", [1, 7])
def test_the_gradient_of_every_parameter_is_right(activation, layers, batch):
    network = awkward(DEPTHS[layers], activation=activation)
    x, y = rows(batch, 3), np.arange(batch) % 4
    backward_once(network, x, y)
    check_gradient(loss_of_parameters(network, x, y), network.parameters.copy(), network.gradients)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_is_right_under_dropout_of_inputs_and_of_hidden_units(activation):
    network = awkward((4, 6, 5, 3), activation=activation, dropout=(0.2, 0.5, 0.4))
    x, y, how = rows(5, 4), np.arange(5) % 3, {"training": True, "step": 11}
    backward_once(network, x, y, **how)
    check_gradient(loss_of_parameters(network, x, y, **how), network.parameters.copy(), network.gradients)


@pytest.mark.parametrize("dropout", [0.0, (0.3, 0.4)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_of_the_input_is_right(activation, dropout):
    network = awkward((5, 6, 3), activation=activation, dropout=dropout)
    x, y, how = rows(4, 5), np.array([2, 0, 1, 2]), {"training": True, "step": 3}
    dx = backward_once(network, x, y, input_gradient=True, **how)
    check_gradient(lambda x: CrossEntropy()(network.forward(x, **how)[0], None, y)[0], x, dx)


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), classes=st.integers(2, 6), batch=st.integers(1, 9),
       activation=st.sampled_from(["tanh", "gelu"]))  # smooth ones: a drawn case may not stand on ReLU's kink
def test_the_gradient_is_right_for_any_shape(sizes, classes, batch, activation):
    network = awkward((*sizes, classes), activation=activation)
    x, y = rows(batch, sizes[0]), np.arange(batch) % classes
    backward_once(network, x, y)
    check_direction(loss_of_parameters(network, x, y), network.parameters.copy(), network.gradients)


def test_a_larger_network_is_right_along_a_direction():
    network = awkward((64, 40, 30, 10), dropout=0.3)
    x, y, how = rows(33, 64), np.arange(33) % 10, {"training": True, "step": 2}
    backward_once(network, x, y, **how)
    check_direction(loss_of_parameters(network, x, y, **how), network.parameters.copy(), network.gradients)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("looked_at", [(0,), (1,), (0, 1)])
def test_the_gradient_is_right_where_the_loss_looks_at_hidden_activations_under_dropout(activation, looked_at):
    network = awkward((4, 6, 5, 3), activation=activation, dropout=(0.2, 0.5, 0.4))
    x, y, how = rows(5, 4), np.arange(5) % 3, {"training": True, "step": 11}
    weights = [rows(5, width, seed=3) if k in looked_at else None for k, width in enumerate((6, 5))]

    def loss(x):
        """Cross-entropy plus a weighted sum of the hidden activations, whose gradient the weights are."""
        logits, cache = network.forward(x, **how)
        hidden = sum((w * h).sum() for w, h in zip(weights, cache.hidden, strict=True) if w is not None)
        return CrossEntropy()(logits, None, y)[0] + hidden

    def loss_of(parameters):
        network.parameters[:] = parameters
        return loss(x)

    logits, cache = network.forward(x, **how)
    dx = network.backward(CrossEntropy()(logits, None, y)[1], cache, input_gradient=True, dhidden=weights)
    check_gradient(loss, x, dx)
    check_gradient(loss_of, network.parameters.copy(), network.gradients)


def test_backward_writes_and_does_not_add():
    network, x, y = awkward((3, 5, 4)), rows(6, 3), np.arange(6) % 4
    network.gradients[:] = 1e6  # rubbish that must not show
    backward_once(network, x, y)
    once = network.gradients.copy()
    backward_once(network, x, y)
    np.testing.assert_array_equal(network.gradients, once)
    assert np.abs(once).max() < 100


def test_backward_leaves_the_parameters_the_input_and_the_logit_gradient_alone():
    network, x = awkward((3, 5, 4), dropout=0.5), rows(6, 3)
    dlogits, before = rows(6, 4, seed=1), network.parameters.copy()
    _, cache = network.forward(x, training=True)
    network.backward(dlogits, cache, input_gradient=True)
    np.testing.assert_array_equal(network.parameters, before)
    np.testing.assert_array_equal(x, rows(6, 3))
    np.testing.assert_array_equal(dlogits, rows(6, 4, seed=1))


def test_the_input_gradient_comes_only_where_it_is_asked_for():
    assert backward_once(awkward((3, 5, 4)), rows(2, 3), np.array([0, 1])) is None


def test_two_forward_passes_can_be_walked_back_in_either_order():
    network, y = awkward((3, 5, 4)), np.array([0, 1])
    first, second = rows(2, 3, seed=1), rows(2, 3, seed=2)
    backward_once(network, first, y)
    alone = network.gradients.copy()
    logits, cache = network.forward(first)
    network.forward(second)  # the cache is the caller's: this one does not overwrite it
    network.backward(CrossEntropy()(logits, None, y)[1], cache)
    np.testing.assert_array_equal(network.gradients, alone)


# ---------------------------------------------------------------------------------------------- one flat vector


def test_weights_and_biases_are_views_that_fill_the_flat_vectors():
    network = MLP((3, 5, 4))
    for flat, weights, biases in (
        (network.parameters, network.weights, network.biases),
        (network.gradients, network.weight_gradients, network.bias_gradients),
    ):
        flat[:] = np.arange(flat.size)
        in_order = [weights[0].ravel(), biases[0], weights[1].ravel(), biases[1]]
        np.testing.assert_array_equal(np.concatenate(in_order), flat)
        weights[1][4, 3] = -1
        assert (flat == -1).sum() == 1
    assert [W.shape for W in network.weights] == [(3, 5), (5, 4)]


def test_sizes_and_costs_against_hand_counts():
    network = MLP((64, 32, 10))
    assert network.num_parameters == 64 * 32 + 32 + 32 * 10 + 10 == network.parameters.size
    assert network.multiply_adds == 64 * 32 + 32 * 10
    assert network.nbytes == 4 * network.num_parameters
    assert MLP((64, 32, 10), dtype=np.float64).nbytes == 8 * network.num_parameters


def test_the_description_says_what_it_is():
    assert repr(MLP((64, 32, 10))) == "MLP(64-32-10, relu, 2,410 parameters, float32)"


# ---------------------------------------------------------------------------------------------- initialisation


@pytest.mark.parametrize(
    ("activation", "hidden_variance"), [("relu", 2 / 300), ("gelu", 2 / 300), ("tanh", 2 / (300 + 400))]
)
def test_weights_start_with_the_variances_of_he_and_glorot(activation, hidden_variance):
    network = MLP((300, 400, 200), activation=activation)
    hidden, last = network.weights
    assert hidden.var() == pytest.approx(hidden_variance, rel=0.02)  # 120,000 draws: spread of a variance is 0.4%
    assert last.var() == pytest.approx(2 / (400 + 200), rel=0.02)
    assert abs(hidden.mean()) < 4 * np.sqrt(hidden_variance / hidden.size)
    assert not any(b.any() for b in network.biases)


def test_the_seed_decides_the_weights():
    np.testing.assert_array_equal(MLP((3, 4, 2), seed=5).parameters, MLP((3, 4, 2), seed=5).parameters)
    assert (MLP((3, 4, 2), seed=5).parameters != MLP((3, 4, 2), seed=6).parameters).any()


# ---------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_network_is_that_of_its_logits_and_gradients(dtype):
    network = MLP((3, 5, 4), dropout=0.5, dtype=dtype)
    logits, cache = network.forward(rows(2, 3, dtype), training=True)
    assert {logits.dtype, network.parameters.dtype, network.gradients.dtype} == {np.dtype(dtype)}
    assert network.backward(logits, cache, input_gradient=True).dtype == dtype


def test_hidden_activations_are_what_the_next_layer_saw():
    network, x = awkward((3, 5, 6, 4), activation="tanh"), rows(2, 3)
    logits, cache = network.forward(x)
    first = np.tanh(x @ network.weights[0] + network.biases[0])
    second = np.tanh(first @ network.weights[1] + network.biases[1])
    assert [h.shape for h in cache.hidden] == [(2, 5), (2, 6)]
    np.testing.assert_allclose(cache.hidden[0], first, rtol=1e-14)
    np.testing.assert_allclose(cache.hidden[1], second, rtol=1e-14)
    np.testing.assert_allclose(logits, second @ network.weights[2] + network.biases[2], rtol=1e-14)


def test_outputs_are_the_logits_and_the_hidden_activations_of_evaluation_mode_whatever_the_number_of_rows():
    network, x = awkward((3, 5, 6, 4), dropout=0.5), rows(2 * ROWS_AT_ONCE + 1, 3)
    outputs, (logits, cache) = network.outputs(x), network.forward(x)
    assert len(outputs) == len(x)
    for part, wanted in zip([outputs.logits, *outputs.hidden], [logits, *cache.hidden], strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-12, atol=1e-14)  # BLAS sums other shapes in another order
    assert MLP((3, 4)).outputs(x).hidden == []


def test_outputs_of_some_rows_stay_together():
    outputs, some = awkward((3, 5, 6, 4)).outputs(rows(9, 3)), np.array([7, 0, 7])
    np.testing.assert_array_equal(outputs[some].logits, outputs.logits[[7, 0, 7]])
    for part, whole in zip(outputs[some].hidden, outputs.hidden, strict=True):
        np.testing.assert_array_equal(part, whole[[7, 0, 7]])


@pytest.mark.parametrize("bad", [rows(2, 4), np.full((2, 3), np.nan), np.zeros((0, 3))])
def test_outputs_refuse_what_logits_refuse(bad):
    for ask in (awkward((3, 5, 4)).outputs, awkward((3, 5, 4)).logits):
        with pytest.raises(ValueError, match="x "):
            ask(bad)


def test_dropout_acts_in_training_only_and_step_and_seed_choose_the_mask():
    network, x = MLP((3, 50, 4), dropout=0.5), rows(4, 3, np.float32)
    trained = network.forward(x, training=True, step=1)[0]
    np.testing.assert_array_equal(network.forward(x)[0], network.forward(x, step=9)[0])
    np.testing.assert_array_equal(trained, network.forward(x, training=True, step=1)[0])
    assert (trained != network.forward(x)[0]).any()
    assert (trained != network.forward(x, training=True, step=2)[0]).any()
    other = MLP((3, 50, 4), dropout=0.5, seed=1)
    other.parameters[:] = network.parameters
    assert (trained != other.forward(x, training=True, step=1)[0]).any()


def test_one_rate_thins_hidden_layers_and_spares_the_inputs():
    assert MLP((3, 5, 6, 4), dropout=0.5).dropout == (0.0, 0.5, 0.5)
    assert MLP((3, 5, 6, 4), dropout=(0.2, 0.5, 0.1)).dropout == (0.2, 0.5, 0.1)


# ---------------------------------------------------------------------------------------------- prediction


def test_prediction_is_in_evaluation_mode_even_after_a_training_pass():
    network, x = MLP((3, 50, 4), dropout=0.5), rows(4, 3, np.float32)
    before = network.logits(x)
    network.forward(x, training=True)
    np.testing.assert_array_equal(network.logits(x), before)
    np.testing.assert_array_equal(before, network.forward(x)[0])


@pytest.mark.parametrize("n", [ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 7])
def test_many_rows_in_portions_are_the_same_as_in_one_pass(n):
    network, x = awkward((3, 5, 4)), rows(n, 3)
    assert network.logits(x).shape == (n, 4)
    # BLAS may add in another order for another number of rows: one or two units in the last place
    np.testing.assert_allclose(network.logits(x), network.forward(x)[0], rtol=1e-13, atol=1e-14)


def test_predict_takes_the_likeliest_class():
    network, x = awkward((3, 5, 4)), rows(20, 3)
    np.testing.assert_array_equal(network.predict(x), network.predict_proba(x).argmax(axis=1))
    np.testing.assert_array_equal(network.predict(x), network.logits(x).argmax(axis=1))


@pytest.mark.parametrize("temperature", [0.5, 1, 4.0, 20])
def test_predict_proba_is_the_softmax_of_logits_over_temperature(temperature):
    network, x = awkward((3, 5, 4)), rows(20, 3)
    e = np.exp(network.logits(x) / temperature)
    np.testing.assert_allclose(network.predict_proba(x, temperature), e / e.sum(axis=1, keepdims=True), rtol=1e-13)


def test_the_default_temperature_is_1():
    network, x = awkward((3, 5, 4)), rows(2, 3)
    np.testing.assert_array_equal(network.predict_proba(x), network.predict_proba(x, 1))


def test_lists_and_whole_numbers_are_taken_for_x():
    network = MLP((2, 4, 3))
    np.testing.assert_array_equal(network.logits([[1, 2]]), network.logits(np.array([[1.0, 2.0]])))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0, 2.0]], ValueError, r"x must have 3 columns, got shape \(1, 2\)"),
        ([1.0, 2.0, 3.0], ValueError, "x must have 2 dimensions"),
        (np.zeros((0, 3)), ValueError, "x is empty"),
        ([[1.0, np.nan, 2.0]], ValueError, "x must be finite, got nan at row 0, column 1"),
        ([[1.0, 2.0, -np.inf]], ValueError, "x must be finite, got -inf"),
        ([["a", "b", "c"]], TypeError, "x must hold numbers"),
    ],
)
def test_bad_rows_are_refused_by_name(x, error, message):
    network = MLP((3, 5, 4))
    for ask in (network.logits, network.predict, network.predict_proba):
        with pytest.raises(error, match=message):
            ask(x)


def test_a_float64_number_too_large_for_a_float32_network_is_refused():
    with pytest.raises(ValueError, match="x must be finite"):
        MLP((3, 5, 4)).logits([[1e300, 0.0, 0.0]])


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_a_temperature_that_is_not_above_0_and_finite_is_refused(temperature):
    with pytest.raises(ValueError, match=r"temperature must be in \[1e-6, inf\), got"):
        MLP((3, 5, 4)).predict_proba(rows(1, 3), temperature)


# ---------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((3, 0, 2), {}, ValueError, r"sizes\[1\] must be at least 1, got 0"),
        ((0, 2), {}, ValueError, r"sizes\[0\] must be at least 1, got 0"),
        ((3, -4, 2), {}, ValueError, r"sizes\[1\] must be at least 1, got -4"),
        ((3, 2.5, 2), {}, TypeError, r"sizes\[1\] must be a whole number, got 2.5"),
        ((3, 1), {}, ValueError, "number of classes.* must be at least 2, got 1"),
        ((3,), {}, ValueError, "sizes must be at least two whole numbers"),
        (64, {}, TypeError, "sizes must be at least two whole numbers.* got 64"),
        ("64", {}, TypeError, "sizes must be at least two whole numbers"),
        ((3, 2), {"activation": "sigmoid"}, ValueError, "activation must be one of 'relu', 'tanh', 'gelu'.*sigmoid"),
        ((3, 2), {"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\), got 1.0"),
        ((3, 2), {"dropout": -0.1}, ValueError, r"dropout must be in \[0, 1\)"),
        ((3, 2), {"dropout": "half"}, TypeError, "dropout must be a number.*half"),
        ((3, 4, 2), {"dropout": (0.1,)}, ValueError, "dropout must be one number or one for each of the 2 layers"),
        ((3, 4, 2), {"dropout": None}, TypeError, "dropout must be"),
        ((3, 2), {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ((3, 2), {"seed": 2**63}, ValueError, "seed must be below 2.63, got 9223372036854775808"),
        ((3, 2), {"seed": 0.5}, TypeError, "seed must be a whole number"),
        ((3, 2), {"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64', got 'float16'"),
        ((3, 2), {"dtype": "precise"}, (TypeError, ValueError), "dtype must be one of"),
        ((3, 2), {"backend": "abacus"}, ValueError, "backend must be one of 'numpy'.*abacus"),
    ],
)
def test_bad_arguments_are_refused_by_name(sizes, options, error, message):
    with pytest.raises(error, match=message):
        MLP(sizes, **options)


# ---------------------------------------------------------------------------------------------- copies


def test_a_copy_answers_alike_and_shares_nothing():
    network = MLP((3, 5, 4), activation="gelu", dropout=(0.1, 0.3), seed=3)
    network.parameters += 0.1
    twin, x = network.copy(), rows(4, 3, np.float32)
    np.testing.assert_array_equal(
        twin.forward(x, training=True, step=2)[0], network.forward(x, training=True, step=2)[0]
    )
    twin.parameters[:] = 0
    assert network.parameters.all()
    assert repr(twin) == repr(network)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_a_network_goes_to_another_process(backend):
    network = MLP((3, 5, 4, 2), activation="gelu", dropout=(0.1, 0.2, 0.3), seed=8, dtype=np.float64, backend=backend)
    network.parameters += 0.5
    there = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(there.parameters, network.parameters)
    settings = ("sizes", "activation", "dropout", "seed", "dtype", "ops")
    assert [getattr(there, name) for name in settings] == [getattr(network, name) for name in settings]
    there.parameters[0] = 9  # its own, of which the layers are views
    assert there.weights[0][0, 0] == 9 != network.parameters[0]


def test_absorbed_standardisation_equals_standardised_input():
    network, x = awkward((3, 5, 4)), 100 + 20 * rows(9, 3)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    wanted = network.logits((x - mean) / scale)
    network.fold_standardization(mean, scale)
    # x is 5 spreads from 0, so the sums that cancel are that much larger than their result: a digit of 16 is lost
    np.testing.assert_allclose(network.logits(x), wanted, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------- files


@pytest.fixture
def saved(tmp_path):
    network = MLP((3, 5, 4), activation="tanh", dropout=(0.25, 0.5), seed=12)
    network.parameters += 0.1
    network.save(tmp_path / "network.npz")
    return network, tmp_path / "network.npz"


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_network_comes_back_bit_for_bit(tmp_path, activation, dtype):
    network = MLP((3, 5, 4), activation=activation, dropout=(0.25, 0.5), seed=12, dtype=dtype)
    network.parameters += 0.1  # not what the seed alone would give
    network.save(tmp_path / "network.npz")
    again, x = MLP.load(tmp_path / "network.npz"), rows(9, 3, dtype)
    assert (again.sizes, again.activation, again.dropout) == ((3, 5, 4), activation, (0.25, 0.5))
    assert (again.seed, again.dtype) == (12, np.dtype(dtype))
    np.testing.assert_array_equal(again.parameters, network.parameters)
    np.testing.assert_array_equal(again.predict_proba(x), network.predict_proba(x))
    how = {"training": True, "step": 3}
    np.testing.assert_array_equal(again.forward(x, **how)[0], network.forward(x, **how)[0])


def test_a_loaded_network_owns_its_parameters(saved):
    again = MLP.load(saved[1])
    again.weights[0][:] = 0
    assert not again.parameters[:15].any()


def test_the_name_of_the_file_is_taken_as_it_is(tmp_path):
    MLP((3, 2)).save(str(tmp_path / "no suffix"))
    assert os.listdir(tmp_path) == ["no suffix"]
    assert MLP.load(str(tmp_path / "no suffix")).sizes == (3, 2)


@pytest.mark.parametrize("seed", [2**32, 2**63 - 1])
def test_a_network_with_a_large_seed_comes_back(tmp_path, seed):
    MLP((3, 2), seed=seed).save(tmp_path / "network.npz")
    assert MLP.load(tmp_path / "network.npz").seed == seed


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_by_name(saved, share):
    path = saved[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"network\.npz is not an \.npz file"):
        MLP.load(path)


def test_a_flipped_bit_is_refused_or_does_no_harm(saved):
    network, path = saved
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):  # refused; or else the bit stood in the date or the like
            again = MLP.load(path)
            np.testing.assert_array_equal(again.parameters, network.parameters)
            assert (again.sizes, again.dropout, again.seed) == (network.sizes, network.dropout, network.seed)


@pytest.mark.parametrize(
    ("offset", "value"),
    [pytest.param(6, 1, id="said to be encrypted"), pytest.param(8, 99, id="a compression that nobody knows")],
)
def test_a_damaged_zip_header_is_refused(saved, offset, value):
    path = saved[1]
    damaged = bytearray(path.read_bytes())
    for signature, more in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):  # a member's own header, and its directory entry
        damaged[damaged.find(signature) + offset + more] = value
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is damaged"):
        MLP.load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"sizes": np.array([3, 4])},
        {"sizes": np.array([3, 0, 4])},
        {"sizes": np.array(3)},
        {"sizes": np.array([3.0, 5.0, 4.0])},
        {"sizes": np.array([10**7, 10**7, 4])},
        {"sizes": np.array([10**18, 10**18, 4])},
        {"activation": np.array("sigmoid")},
        {"dropout": np.array([0.5])},
        {"dropout": np.array([0.5, 1.5])},
        {"seed": np.array(-1)},
        {"seed": np.array(np.inf)},
        {"parameters": np.zeros(43, np.float32)},
        {"parameters": np.zeros((2, 22), np.float32)},
        {"parameters": np.full(44, np.nan, np.float32)},
        {"parameters": np.zeros(44, np.int64)},
        {"parameters": np.zeros(44, np.complex64)},
    ],
    ids=lambda changed: " ".join(f"{name}={str(value)[:24]}" for name, value in changed.items()),
)
def test_a_file_whose_parts_do_not_fit_is_refused(saved, changed):
    path = saved[1]
    write_npz(path, "network", {**read_npz(path, "network", NAMES), **changed})
    with pytest.raises(ValueError, match="is not a network of minidistill, or is damaged"):
        MLP.load(path)


def test_a_file_that_lacks_a_part_is_refused(saved):
    path = saved[1]
    parts = read_npz(path, "network", NAMES)
    del parts["dropout"]
    write_npz(path, "network", parts)
    with pytest.raises(ValueError, match="is not a network of minidistill: it holds activation, kind"):
        MLP.load(path)


def test_an_unwritable_folder_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*network\.npz.*nowhere"):
        MLP((3, 2)).save(tmp_path / "nowhere" / "network.npz")
    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        MLP.load(tmp_path / "missing.npz")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_assigned_parameters_are_copied_into_every_layer(backend):
    network, other = MLP((4, 3, 2), seed=0, backend=backend), MLP((4, 3, 2), seed=1, backend=backend)
    x = np.ones((5, 4), np.float32)
    network.parameters = other.parameters.astype(np.float64)
    np.testing.assert_array_equal(network.logits(x), other.logits(x))
    np.testing.assert_array_equal(network.weights[0], other.weights[0])
    network.parameters += 1
    np.testing.assert_array_equal(network.parameters, other.parameters + 1)
    np.testing.assert_array_equal(network.weights[0], other.weights[0] + 1)
    network.gradients = np.ones(network.num_parameters)
    assert (network.weight_gradients[0] == 1).all()


@pytest.mark.parametrize("value", [0.0, np.zeros(3), np.zeros((1, 23))])
def test_parameters_of_another_shape_are_refused(value):
    network = MLP((4, 3, 2))
    before = network.parameters.copy()
    with pytest.raises(ValueError, match=r"parameters must have shape \(23,\), got \("):
        network.parameters = value
    np.testing.assert_array_equal(network.parameters, before)


@pytest.mark.parametrize(
    "change", [{"sizes": (4, 2)}, {"activation": "tanh"}, {"dropout": 0.5}, {"seed": 3}, {"backend": "cpu"},
               {"dtype": np.float64}, {"weights": []}, {"biases": []}],
)  # fmt: skip
def test_settings_of_a_network_cannot_be_changed(change):
    network = MLP((4, 3, 2))
    (name, value), before = *change.items(), dict(vars(network))
    with pytest.raises(AttributeError, match=f"{name} of an MLP cannot be changed: make another one"):
        setattr(network, name, value)
    assert vars(network)[name] is before[name]
    with pytest.raises(TypeError):
        network.weights[0] = np.zeros((4, 3))


# ------------------------------------------------------------------------------------------ layouts of arrays


def layouts(x):
    """The rows x (N,I) as their users have them: views, transposes, other orders, read-only."""
    wide = np.repeat(x, 2, axis=1)
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "Fortran order": np.asfortranarray(x),
        "columns of a wider array": wide[:, ::2],
        "every second row": np.repeat(x, 2, axis=0)[::2],
        "reversed rows": x[::-1].copy()[::-1],
        "a transpose": np.ascontiguousarray(x.T).T,
        "read-only": read_only,
        "float64": x.astype(np.float64),
        "a data frame": pandas.DataFrame({f"column {k}": column for k, column in enumerate(x.T)}),
        "values of a data frame": pandas.DataFrame(x, columns=list("abcdefghijkl"[: x.shape[1]])).values,
        "a list": x.tolist(),
    }


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
@pytest.mark.parametrize("name", list(layouts(np.ones((2, 2), np.float32))))
def test_rows_of_every_memory_layout_give_the_same_bits(name, backend):
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    y = np.arange(50) % 3
    rows = layouts(x)[name]
    network, twin = MLP((8, 6, 3), backend=backend), MLP((8, 6, 3), backend=backend)
    np.testing.assert_array_equal(network.logits(rows), network.logits(x))
    np.testing.assert_array_equal(network.predict(rows), network.predict(x))
    np.testing.assert_array_equal(network.predict_proba(rows), network.predict_proba(x))
    np.testing.assert_array_equal(network.outputs(rows).hidden[0], network.outputs(x).hidden[0])
    teacher = MLP((8, 5, 3), seed=1, backend=backend)
    for student, layout in ((network, rows), (twin, x)):
        data = Dataset(layout, y)
        fit(student, data, epochs=2, validation=data)
        distill(teacher, student, data, epochs=1, validation=data)
    np.testing.assert_array_equal(network.parameters, twin.parameters)
    for rows_of in (rows, x):
        cascade = Cascade(network, teacher, 0.5)
        np.testing.assert_array_equal(cascade.predict(rows_of), Cascade(network, teacher, 0.5).predict(x))
        gate = QualityGate(network, teacher, 0.9, sample_rate=1.0)
        np.testing.assert_array_equal(gate.update(rows_of).labels, network.predict(x))


class Scaled(MLP):
    """A subclass with a constructor and a setting of its own."""

    def __init__(self, hidden, scale):
        super().__init__((4, hidden, 3), backend="numpy")
        self.scales = [scale]

    def forward(self, x, training=False, step=0):
        logits, cache = super().forward(x, training, step)
        return self.scales[0] * logits, cache


@pytest.mark.parametrize("duplicate", [MLP.copy, lambda network: pickle.loads(pickle.dumps(network)), copy.deepcopy])
def test_copies_of_a_subclass_keep_its_own_attributes(duplicate):
    network, x = Scaled(5, scale=3.0), np.eye(4, dtype=np.float32)
    twin = duplicate(network)
    assert type(twin) is Scaled
    np.testing.assert_array_equal(twin.logits(x), network.logits(x))
    before = network.logits(x)
    twin.scales[0], twin.parameters[:] = 5.0, 0
    np.testing.assert_array_equal(network.logits(x), before)


class Doubled(MLP):
    def forward(self, x, training=False, step=0):
        logits, cache = super().forward(x, training, step)
        return 2 * logits, cache


@pytest.mark.parametrize(
    "export",
    [lambda n, path: n.save(path), lambda n, path: quantize(n, np.ones((4, 3))), lambda n, path: to_c(n, path),
     lambda n, path: remove_units(n, 1, Dataset(np.eye(3)))],
    ids=["save", "quantize", "to_c", "remove_units"],
)  # fmt: skip
def test_a_network_with_an_overridden_forward_pass_is_not_exported(export, tmp_path):
    replaced = MLP((3, 2, 2))
    replaced.forward = Doubled((3, 2, 2)).forward
    for network in (Doubled((3, 2, 2)), replaced):
        with pytest.raises(TypeError, match="network must be an MLP as it is, got a .*, whose own forward pass"):
            export(network, tmp_path / "network")
    assert not list(tmp_path.iterdir())
    plain = MLP((3, 2, 2))
    twin = pickle.loads(pickle.dumps(Doubled((3, 2, 2)).copy()))
    np.testing.assert_array_equal(twin.logits(np.eye(3)), 2 * plain.logits(np.eye(3)))


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_rows_so_large_that_logits_overflow_are_refused(backend):
    network = MLP((8, 6, 3), backend=backend)
    x = np.ones((4, 8), np.float32)
    x[2] = 3e38
    for predict in (network.logits, network.predict, network.predict_proba):
        with pytest.raises(ValueError, match=r"x gives logits that are not finite in float32: x reaches 3e\+38"):
            predict(x)
    assert np.isfinite(network.logits(np.ones((4, 8)) * 1e30)).all()


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_pass_that_is_replaced_on_one_network_is_called(name, backend):
    calls = []
    network, x = MLP((3, 4, 2), backend=backend), np.eye(3, dtype=np.float32)
    original = getattr(network, name)

    def watched(*arguments, **options):
        calls.append(name)
        return original(*arguments, **options)

    setattr(network, name, watched)
    fit(network, Dataset(x, [0, 1, 1]), epochs=2)
    assert len(calls) == 2
    plain = MLP((3, 4, 2), backend="numpy")
    fit(plain, Dataset(x, [0, 1, 1]), epochs=2)
    np.testing.assert_allclose(network.parameters, plain.parameters, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_with_nan_is_not_saved(tmp_path, bad):
    broken = MLP((3, 4, 2))
    broken.parameters[5] = bad
    with pytest.raises(ValueError, match=r"network.parameters must be finite, got (nan|inf) at index \(5,\)"):
        broken.save(tmp_path / "n.npz")
    assert not list(tmp_path.iterdir())


def test_more_parameters_than_a_kernel_can_count_are_refused_before_they_take_memory(monkeypatch):
    monkeypatch.setattr("minidistill.network.aligned_zeros", None)
    with pytest.raises(ValueError, match=r"make 2,147,581,954 parameters, too many for memory"):
        MLP((2**16, 2**15, 2))


def test_a_compiled_pass_is_not_taken_where_hidden_activations_get_gradients():
    network, x = MLP((3, 4, 2)), np.ones((5, 3), np.float32)
    wanted = network.forward(x)[0]

    class Passes:
        takes_gpu_arrays = False

        def forward(self, x, training, step):
            return "compiled", None

    network.passes = Passes()
    assert network.forward(x)[0] == "compiled"
    np.testing.assert_array_equal(network.forward(x, layerwise=True)[0], wanted)
