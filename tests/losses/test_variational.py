# SPDX-License-Identifier: MIT
"""losses/variational.py: the density worked by hand, PyTorch's gradient, and variances that find what is noise."""

import numpy as np
import pytest

from minidistill import MLP, Adam, Dataset, Hint, Outputs, VariationalInformation, fit


def started(H, G, dtype=np.float64, variances=None):
    """With parameters that are nowhere 0; `variances` (G,) are those of the Gaussian."""
    loss = VariationalInformation().start(MLP((2, H, 2), dtype=dtype), (G,), 3)
    loss.regressor.parameters += 0.3 * awkward(len(loss.regressor.parameters))
    if variances is not None:
        loss.variances.parameters[:] = np.log(np.expm1(np.array(variances) - 1e-5))
    return loss


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_variances_are_positive_whatever_is_learnt_and_start_at_1():
    """[VID-1]"""
    variances = started(4, 3).variances
    np.testing.assert_allclose(variances.forward(), 1 + 1e-5, rtol=1e-14)
    variances.parameters[:] = [-1e4, 0, 1e4]
    np.testing.assert_allclose(variances.forward(), [1e-5, np.log(2) + 1e-5, 1e4], rtol=1e-8)
    variances.backward(np.ones(3))
    np.testing.assert_allclose(variances.gradients, [0, 0.5, 1])


def test_a_log_density_by_hand():
    """[VID-2]: errors 1 and 3 of a unit with variance 2, mean square 5; [VID-3], [VID-4]: their slopes."""
    loss = started(2, 2, variances=[2.0, 1.0])
    loss.regressor.parameters[:] = [1, 0, 0, 1, 0, 0]  # r = h
    h, g = np.array([[1.0, 7], [3, 8]]), np.array([[0.0, 7], [0, 8]])
    value, dh = loss.between(h, g)
    assert value == pytest.approx(0.5 * (np.log(2) + 5 / 2), rel=1e-12)
    np.testing.assert_allclose(dh, [[1 / (2 * 2), 0], [3 / (2 * 2), 0]], rtol=1e-12)
    sigmoid = 1 - np.exp(-(2 - 1e-5))  # the slope of softplus where it is 2 - FLOOR
    assert loss.variances.gradients[0] == pytest.approx(sigmoid * (1 - 5 / 2) / 4, rel=1e-10)


def test_with_all_variances_1_it_is_the_hint():
    loss, h, g = started(4, 3, variances=np.ones(3)), awkward(6, 4), awkward(6, 3, seed=1)
    (value, dh), (wanted, dwanted) = loss.between(h, g), Hint(regressor=loss.regressor.copy()).between(h, g)
    assert value == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(dh, dwanted, rtol=1e-10, atol=1e-13)


def test_the_variance_that_is_learnt_is_the_error_that_remains():
    """[VID-4] is 0 there."""
    loss, h, g = started(4, 3), awkward(6, 4), awkward(6, 3, seed=1)
    remaining = np.square(loss.regressor.forward(h)[0] - g).mean(axis=0)
    at_rest = started(4, 3, variances=remaining)
    at_rest.between(h, g)
    np.testing.assert_allclose(at_rest.variances.gradients, 0, atol=1e-12)


def test_a_unit_that_is_noise_gets_a_large_variance_and_the_others_small_ones():
    x, kept = awkward(1000, 4), []
    teacher = np.column_stack([x[:, 0], x[:, 1], 3 * awkward(1000, seed=1)])

    class Kept(VariationalInformation):
        """Shows what `fit` started."""

        def start(self, *arguments):
            kept.append(super().start(*arguments))
            return kept[0]

    student, targets = MLP((4, 8, 2), activation="tanh"), Outputs(np.zeros((1000, 2)), [teacher])
    fit(student, Dataset(x), Kept(), targets=targets, epochs=40, batch_size=20, optimizer=Adam(0.02))
    variances = kept[0].variances.forward()
    assert (variances[:2] < 0.1).all()
    assert 6 < variances[2] < 11  # 9 in the population


def test_the_loss_and_its_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    loss, h, g = started(5, 3, variances=[0.5, 1.0, 4.0]), awkward(7, 5), awkward(7, 3, seed=1)
    parts = (*loss.regressor.weights, *loss.regressor.biases, loss.variances.parameters, h)
    W, b, a, x = (torch.tensor(part.copy(), requires_grad=True) for part in parts)
    v = torch.nn.functional.softplus(a) + 1e-5
    theirs = torch.nn.functional.gaussian_nll_loss(x @ W + b, torch.tensor(g), v.expand(7, 3), reduction="sum") / 7
    theirs.backward()
    value, dh = loss.between(h, g)
    assert value == pytest.approx(theirs.item(), rel=1e-10)
    gradients = np.concatenate([W.grad.ravel(), b.grad])
    for ours, wanted in ((dh, x.grad), (loss.regressor.gradients, gradients), (loss.variances.gradients, a.grad)):
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(ours).max())
