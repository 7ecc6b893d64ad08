# SPDX-License-Identifier: MIT
"""The same numbers as PyTorch, where it is installed: float64, 1e-10 relative."""

import numpy as np
import pytest

from minidistill import MLP, ops
from minidistill.losses import CrossEntropy, SoftTarget
from minidistill.training.optim import SGD, Adam, AdamW

torch = pytest.importorskip("torch")
F = pytest.importorskip("torch.nn.functional")

B, C = 7, 5


def awkward(*shape, seed=0):
    return 2 * np.random.default_rng(seed).standard_normal(shape)


def leaf(array):
    """A copy of the array that PyTorch differentiates by."""
    return torch.tensor(array, requires_grad=True)


def assert_same(ours, theirs):
    """To 1e-10 of the largest entry."""
    theirs = theirs.detach().numpy()
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


def assert_same_loss(ours, theirs, s):
    """`ours` is a value and ds; `theirs` a number that depends on the leaf s."""
    value, ds = ours
    theirs.backward()
    assert_same(value, theirs)
    assert_same(ds, s.grad)


# ---------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_with_labels(label_smoothing):
    logits, y = awkward(B, C), np.arange(B) % C
    s = leaf(logits)
    theirs = F.cross_entropy(s, torch.tensor(y), label_smoothing=label_smoothing)
    assert_same_loss(CrossEntropy(label_smoothing)(logits, None, y), theirs, s)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_with_probabilities(label_smoothing):
    logits, y = awkward(B, C), ops.softmax_forward(awkward(B, C, seed=1))[0]
    s = leaf(logits)
    theirs = F.cross_entropy(s, torch.tensor(y), label_smoothing=label_smoothing)
    assert_same_loss(CrossEntropy(label_smoothing)(logits, None, y), theirs, s)


@pytest.mark.parametrize("T", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_soft_target_loss(alpha, T):
    logits, teacher, y = awkward(B, C), awkward(B, C, seed=1), np.arange(B) % C
    s, t = leaf(logits), torch.tensor(teacher)
    soft = F.kl_div(F.log_softmax(s / T, dim=1), F.softmax(t / T, dim=1), reduction="batchmean")
    theirs = (1 - alpha) * F.cross_entropy(s, torch.tensor(y)) + alpha * T**2 * soft
    assert_same_loss(SoftTarget(T, alpha)(logits, teacher, y), theirs, s)


# ---------------------------------------------------------------------------------------------- networks


def test_gelu_and_its_slope():
    z, da = awkward(B, C), awkward(B, C, seed=1)
    a, cache = ops.gelu_forward(z)
    leaf_z = leaf(z)
    theirs = F.gelu(leaf_z, approximate="tanh")
    theirs.backward(torch.tensor(da))
    assert_same(a, theirs)
    assert_same(ops.gelu_backward(da, cache), leaf_z.grad)


ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "gelu": lambda: torch.nn.GELU(approximate="tanh"),
}


def twin(network):
    """The same network in PyTorch, whose weights are (O,I)."""
    layers = []
    for W, b in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(W.T.copy()), torch.tensor(b.copy())
        layers += [linear, ACTIVATIONS[network.activation]()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(3, C), (3, 8, C), (3, 8, 6, 4, C)])
def test_the_gradients_of_a_whole_network(sizes, activation):
    network = MLP(sizes, activation, seed=1, dtype=np.float64)
    network.parameters += 0.1 * awkward(network.num_parameters)  # biases too
    inputs, teacher, y = awkward(B, 3), awkward(B, C, seed=1), np.arange(B) % C

    logits, cache = network.forward(inputs)
    _, ds = SoftTarget(4.0, 0.3)(logits, teacher, y)
    dx = network.backward(ds, cache, input_gradient=True)

    theirs, x = twin(network), leaf(inputs)
    s, t = theirs(x), torch.tensor(teacher)
    soft = F.kl_div(F.log_softmax(s / 4, dim=1), F.softmax(t / 4, dim=1), reduction="batchmean")
    (0.7 * F.cross_entropy(s, torch.tensor(y)) + 0.3 * 16 * soft).backward()

    assert_same(logits, s)
    assert_same(dx, x.grad)
    for layer, dW, db in zip(theirs[::2], network.weight_gradients, network.bias_gradients, strict=True):
        assert_same(dW, layer.weight.grad.T)
        assert_same(db, layer.bias.grad)


# ---------------------------------------------------------------------------------------------- optimizers


def assert_same_path(optimizer, their_optimizer, steps=20):
    """Both start alike and take the same gradients; they must be in the same place after each step."""
    network = MLP((3, 4, 2), seed=1, dtype=np.float64)
    state = optimizer.initial_state(network.parameters)
    w = leaf(network.parameters.copy())
    theirs = their_optimizer([w])
    for step in range(1, steps + 1):
        gradient = awkward(network.num_parameters, seed=step)
        network.gradients[:] = gradient
        optimizer.update(network, state, optimizer.rate(step / steps), step)
        w.grad = torch.tensor(gradient)
        theirs.step()
        assert_same(network.parameters, w)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(momentum, nesterov, weight_decay):
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    assert_same_path(SGD(0.1, **settings), lambda w: torch.optim.SGD(w, 0.1, **settings))


@pytest.mark.parametrize(("betas", "epsilon"), [((0.9, 0.999), 1e-8), ((0.7, 0.95), 1e-3)])
def test_adam(betas, epsilon):
    ours = Adam(0.01, beta1=betas[0], beta2=betas[1], epsilon=epsilon)
    assert_same_path(ours, lambda w: torch.optim.Adam(w, 0.01, betas, epsilon))


def test_adamw_with_its_own_weight_decay():
    assert_same_path(AdamW(0.01), lambda w: torch.optim.AdamW(w, 0.01))


def test_the_weight_decay_of_adam_is_that_of_adamw():
    assert_same_path(Adam(0.01, weight_decay=0.3), lambda w: torch.optim.AdamW(w, 0.01, weight_decay=0.3))


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clip_norm(limit):
    """PyTorch divides by the norm + 1e-6, minidistill by the norm: what was clipped differs by that factor."""
    gradient, w = awkward(50), torch.zeros(50, dtype=torch.float64)
    w.grad = torch.tensor(gradient)
    norm = float(torch.nn.utils.clip_grad_norm_([w], limit))
    ops.clip_norm(gradient, limit)
    assert_same(gradient * (norm / (norm + 1e-6) if norm > limit else 1), w.grad)
