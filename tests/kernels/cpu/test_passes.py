# SPDX-License-Identifier: MIT
"""The compiled passes and epochs mean what the readable ones mean, whatever the network, loss and optimizer."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from rounding import assert_logits, gamma

from minidistill import (
    MLP,
    SGD,
    Adam,
    AdamW,
    CosineSchedule,
    CrossEntropy,
    Dataset,
    LabelNoise,
    Mixup,
    RandomShift,
    SoftTarget,
    TopK,
    TopKTarget,
    TrainingDiverged,
    distill,
    fit,
    ops,
)

pytestmark = pytest.mark.compiles

cpu = pytest.importorskip("minidistill.kernels.cpu")

RANDOM = np.random.default_rng(3)
DATA = Dataset(RANDOM.standard_normal((70, 9)).astype(np.float32), np.arange(70) % 5)
TEACHER_LOGITS = 3 * RANDOM.standard_normal((70, 5)) + 4 * (np.arange(5) == DATA.y[:, None])
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}  # relative to the largest parameter, after all the steps
DTYPES = list(TOLERANCE)


@dataclass(frozen=True)
class Squares:
    """A loss that no kernel knows."""

    def __call__(self, s, t, y, ops=None):
        return float((s**2).sum()) / len(s), 2 * s / len(s)


def pair(dtype=np.float32, **options):
    settings = {"sizes": (9, 13, 8, 5), "activation": "gelu", "dropout": (0.1, 0.3, 0.2), "seed": 4, **options}
    return [MLP(**settings, dtype=dtype, backend=backend) for backend in ("numpy", "cpu")]


def assert_same(readable, compiled, dtype=np.float32):
    scale = np.abs(readable).max()
    assert np.isfinite(readable).all()
    np.testing.assert_allclose(compiled, readable, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("B", [1, 70])
def test_from_layer_to_layer_they_are_those_of_the_readable_network_with_gradients_of_hidden_activations(
    dtype, activation, B
):
    networks = pair(dtype, activation=activation)
    x, dlogits = DATA.x[:B].astype(dtype), TEACHER_LOGITS[:B].astype(dtype)
    dhidden = [None, RANDOM.standard_normal((B, 8)).astype(dtype)]
    results = []
    for network in networks:
        logits, cache = network.forward(x, training=True, step=5, layerwise=True)
        dx = network.backward(dlogits, cache, input_gradient=True, dhidden=dhidden)
        results.append([logits, *cache.hidden, dx, network.gradients])
    for readable, compiled in zip(*results, strict=True):
        assert_same(readable, compiled, dtype)


def test_gradients_of_hidden_activations_are_refused_where_the_pass_was_one_call():
    _, network = pair()
    logits, cache = network.forward(DATA.x)
    with pytest.raises(ValueError, match=r"dhidden needs the cache of forward\(\.\.\., layerwise=True\)"):
        network.backward(logits, cache, dhidden=[None, None])


def test_outputs_are_those_of_the_readable_network():
    readable, compiled = (network.outputs(DATA.x) for network in pair())
    for one, other in zip([readable.logits, *readable.hidden], [compiled.logits, *compiled.hidden], strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("B", [1, 70])
def test_forward_and_backward_are_those_of_the_readable_network(dtype, activation, B):
    readable, compiled = pair(dtype, activation=activation)
    x, dlogits = DATA.x[:B].astype(dtype), TEACHER_LOGITS[:B].astype(dtype)
    results = []
    for network in (readable, compiled):
        logits, cache = network.forward(x, training=True, step=3)
        dx = network.backward(dlogits, cache, input_gradient=True)
        results.append((logits, network.gradients, dx, *cache.hidden))
    for expected, found in zip(*results, strict=True):
        assert_same(expected, found, dtype)


def test_two_forward_passes_do_not_share_their_caches():
    _, network = pair()
    _, first = network.forward(DATA.x[:8], training=True, step=0)
    network.backward(np.ones((8, 5), np.float32), first)
    alone = network.gradients.copy()
    network.forward(DATA.x[8:30], training=True, step=1)
    network.backward(np.ones((8, 5), np.float32), first)
    np.testing.assert_array_equal(network.gradients, alone)


def test_shapes_that_do_not_fit_are_refused_and_not_read_from_memory():
    _, network = pair()
    with pytest.raises(ValueError, match=r"x must have shape \(B, 9\), got \(4, 8\)"):
        network.forward(DATA.x[:4, :8])
    _, cache = network.forward(DATA.x[:4], training=True)
    with pytest.raises(ValueError, match=r"dlogits must have shape \(4, 5\), got \(3, 5\)"):
        network.backward(np.ones((3, 5), np.float32), cache)


def test_prediction_of_many_rows_is_that_of_each_row():
    _, network = pair()
    x = RANDOM.standard_normal((300, 9)).astype(np.float32)
    assert_logits(network.logits(x), network, x)
    for i in (0, 127, 128, 299):
        assert_logits(network.logits(x[i : i + 1]), network, x[i : i + 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(CosineSchedule(0.05)),
        SGD(0.05, nesterov=True, weight_decay=0.01),
        SGD(0.05, momentum=0.0, clip_norm=0.5),
        SGD(0.1, max_weight_norm=0.9),
        Adam(0.003),
        AdamW(0.003, weight_decay=0.1, clip_norm=1.0, max_weight_norm=1.5),
    ],
    ids=repr,
)
def test_an_epoch_in_one_call_is_the_readable_epoch_for_each_optimizer(dtype, optimizer):
    networks = pair(dtype)
    for network in networks:
        fit(network, DATA, epochs=3, batch_size=32, optimizer=optimizer, seed=2)
    assert_same(*(network.parameters for network in networks), dtype)


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), CrossEntropy(0.1), SoftTarget(4, 0.5), SoftTarget(1, 1), SoftTarget(8, 0), Squares()],
    ids=repr,
)
def test_an_epoch_in_one_call_is_the_readable_epoch_for_each_loss(loss):
    networks = pair(np.float64)
    losses = [fit(n, DATA, loss, targets=TEACHER_LOGITS, epochs=2, batch_size=32).column("loss") for n in networks]
    assert_same(*(network.parameters for network in networks), np.float64)
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_no_labels_are_needed_where_alpha_is_1():
    networks = pair()
    for network in networks:
        fit(network, Dataset(DATA.x), SoftTarget(4, 1), targets=TEACHER_LOGITS, epochs=2, batch_size=16)
    assert_same(*(network.parameters for network in networks))


@pytest.mark.parametrize(
    ("data", "loss", "targets", "said"),
    [
        (DATA, SoftTarget(4, 0.5), None, r"t \(teacher logits\) is missing"),
        (Dataset(DATA.x), SoftTarget(4, 0.5), TEACHER_LOGITS, r"y \(labels\) is missing"),
        (Dataset(DATA.x), CrossEntropy(), TEACHER_LOGITS, r"y \(labels\) is missing"),
        (DATA, SoftTarget(4, 0.5), TopK.of(TEACHER_LOGITS, 2, 4.0), "t must be an array of logits, got TopK"),
    ],
)
def test_what_a_loss_lacks_is_told_and_not_read_from_memory(data, loss, targets, said):
    for network in pair():
        with pytest.raises((ValueError, TypeError), match=said):
            fit(network, data, loss, targets=targets, epochs=1, batch_size=16)


def test_top_k_targets_train_alike():
    networks = pair(np.float64)
    for network in networks:
        fit(network, DATA, TopKTarget(2.0, 0.5), targets=TopK.of(TEACHER_LOGITS, 2, 2.0), epochs=2, batch_size=16)
    assert_same(*(network.parameters for network in networks), np.float64)


@pytest.mark.parametrize("batch_size", [3, 16])  # 24 steps an epoch, the last call shorter than the others; and 5
@pytest.mark.parametrize("augment", [RandomShift(1), Mixup(5), [LabelNoise(0.3, 5), RandomShift(1)]], ids=repr)
def test_augmented_epochs_are_compiled_and_see_what_the_loop_sees(augment, batch_size):
    options = {"augment": augment, "epochs": 2, "batch_size": batch_size}
    alone, taught = pair(np.float64), pair(np.float64)
    for network in alone:
        fit(network, DATA, **options)
    for network in taught:
        distill(MLP((9, 4, 5), seed=9), network, DATA, SoftTarget(2.0, 0.5), **options)
    assert_same(*(network.parameters for network in alone), np.float64)
    assert_same(*(network.parameters for network in taught), np.float64)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_a_backward_pass_goes_by_the_mode_of_its_forward_pass(activation):
    readable, compiled = pair(np.float64, activation=activation)
    x, dlogits = DATA.x.astype(np.float64), TEACHER_LOGITS
    for network in (readable, compiled):
        _, cache = network.forward(x, training=False)
        network.dx = network.backward(dlogits, cache, input_gradient=True)
    assert_same(readable.gradients, compiled.gradients, np.float64)
    assert_same(readable.dx, compiled.dx, np.float64)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_teacher_that_answers_nan_is_told_of(backend):
    network = MLP((9, 13, 5), backend=backend)
    with pytest.raises(ValueError, match="targets must be finite"):
        fit(network, DATA, SoftTarget(), targets=lambda x: np.full((len(x), 5), np.nan), epochs=1, batch_size=16)


@pytest.mark.parametrize("threads", [1, 2])
def test_large_layers_are_held_to_their_norm_by_any_number_of_threads(threads):
    numba = pytest.importorskip("numba")
    W = 3 * RANDOM.standard_normal((401, 601)).astype(np.float32)
    W[:, 300] = 1e-3  # within the limit
    wanted = W.copy()
    ops.max_norm(wanted, 2.0)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    cpu.max_norm(W, 2.0)
    numba.set_num_threads(before)
    np.testing.assert_allclose(W, wanted, rtol=2 * gamma(len(W) + 4, np.float32))
    assert (W[:, 300] == np.float32(1e-3)).all()


class Ascent(SGD):
    """Steps up the gradient."""

    def change(self, network, state, rate, step):
        network.gradients *= -1
        super().change(network, state, rate, step)


class OwnUpdate(Adam):
    """Changes the last bias alone."""

    def update(self, network, state, rate, step):
        network.biases[-1][:] -= rate * network.gradients[-len(network.biases[-1]) :]


class OwnRate(AdamW):
    def rate(self, progress):
        return 0.01 * (1 - progress)


class Doubled(SoftTarget):
    def __call__(self, s, t, y, ops=None):
        value, ds = super().__call__(s, t, y, ops)
        return 2 * value, 2 * ds


class OwnTargets(CrossEntropy):
    """Every row belongs to class 0."""

    def __call__(self, s, t, y, ops=None):
        return super().__call__(s, t, np.zeros_like(y), ops)


@pytest.mark.parametrize("optimizer", [Ascent(0.01), OwnUpdate(0.1), OwnRate()], ids=repr)
def test_a_subclass_of_an_optimizer_is_called_on_every_backend(optimizer):
    networks = pair(np.float64)
    for network in networks:
        fit(network, DATA, epochs=2, batch_size=32, optimizer=optimizer)
    assert_same(*(network.parameters for network in networks), np.float64)
    plain = pair(np.float64)[1]
    fit(plain, DATA, epochs=2, batch_size=32, optimizer=type(optimizer).__base__(optimizer.learning_rate))
    assert np.abs(networks[1].parameters - plain.parameters).max() > 1e-3


@pytest.mark.parametrize("loss", [Doubled(2.0), OwnTargets()], ids=["Doubled", "OwnTargets"])
def test_a_subclass_of_a_loss_is_called_on_every_backend(loss):
    networks = pair(np.float64)
    for network in networks:
        fit(network, DATA, loss, targets=TEACHER_LOGITS, epochs=2, batch_size=32)
    assert_same(*(network.parameters for network in networks), np.float64)
    plain = pair(np.float64)[1]
    fit(plain, DATA, type(loss).__base__(), targets=TEACHER_LOGITS, epochs=2, batch_size=32)
    assert np.abs(networks[1].parameters - plain.parameters).max() > 1e-3


class Blind(MLP):
    """Sees nothing of the first input in training, and has no need of `layerwise`."""

    def forward(self, x, training=False, step=0):
        return super().forward(x * (np.arange(x.shape[1]) > 0) if training else x, training, step)


class Frozen(MLP):
    """Learns its last layer only."""

    def backward(self, dlogits, cache, input_gradient=False, dhidden=None):
        dx = super().backward(dlogits, cache, input_gradient, dhidden)
        for dW in self.weight_gradients[:-1]:
            dW[:] = 0
        return dx


@pytest.mark.parametrize("network_class", [Blind, Frozen])
def test_overridden_passes_of_a_network_are_called_on_every_backend(network_class):
    networks = [network_class((9, 13, 8, 5), "gelu", seed=4, dtype=np.float64, backend=b) for b in ("numpy", "cpu")]
    before = [W.copy() for W in networks[0].weights]
    for network in networks:
        fit(network, DATA, epochs=2, batch_size=32, validation=DATA)
        assert type(network.copy(network.backend)) is type(pickle.loads(pickle.dumps(network))) is network_class
    assert_same(*(network.parameters for network in networks), np.float64)
    assert_same(*(network.logits(DATA.x) for network in networks), np.float64)
    untouched = networks[1].weights[0][:1] if network_class is Blind else networks[1].weights[0]
    np.testing.assert_array_equal(untouched, before[0][: len(untouched)])


def test_predictions_call_an_overridden_forward_pass():
    class Scaled(MLP):
        def forward(self, x, training=False, step=0):
            logits, cache = super().forward(x, training, step)
            return 3 * logits, cache

    plain, scaled = MLP((9, 5), backend="cpu"), Scaled((9, 5), backend="cpu")
    np.testing.assert_allclose(scaled.logits(DATA.x), 3 * plain.logits(DATA.x), rtol=1e-6)
    np.testing.assert_allclose(scaled.outputs(DATA.x).logits, 3 * plain.logits(DATA.x), rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_run_that_diverges_names_epoch_and_step(backend):
    network = MLP((9, 13, 5), backend=backend)
    before = network.parameters.copy()
    with pytest.raises(TrainingDiverged, match=r"at epoch 1, step 2 of 3"):
        fit(network, DATA, epochs=2, batch_size=32, optimizer=SGD(1e30))
    np.testing.assert_array_equal(network.parameters, before)


def test_the_same_seed_gives_the_same_bits():
    parameters = []
    for _ in range(2):
        _, network = pair()
        fit(network, DATA, epochs=2, batch_size=32)
        parameters.append(network.parameters)
    np.testing.assert_array_equal(*parameters)
