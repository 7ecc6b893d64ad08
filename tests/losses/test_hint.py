# SPDX-License-Identifier: MIT
"""losses/hint.py: the formula on numbers worked by hand, PyTorch's gradient, and a hint that is taken."""

import numpy as np
import pytest

from minidistill import MLP, Adam, Hint, SoftTarget, digits, distill, fit
from minidistill.losses.features import linear


def started(H, G, dtype=np.float64):
    return Hint(regressor=linear(MLP((2, H, 2), dtype=dtype), H, G, seed=3))


def test_a_hint_by_hand():
    """[HINT-1], [HINT-2]: two rows, two units, a regressor that doubles the first unit and adds 1 to the second."""
    hint = started(2, 2)
    hint.regressor.parameters[:] = [2, 0, 0, 1, 0, 1]
    h, g = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 2.0]])
    # r = [[2, 3], [0, 2]], r - g = [[1, 2], [-2, 0]]: squares 1 + 4 + 4 = 9
    value, dh = hint.between(h, g)
    assert value == 0.5 * 9 / 2
    np.testing.assert_array_equal(dh, [[2 * 1 / 2, 2 / 2], [2 * -2 / 2, 0]])
    np.testing.assert_array_equal(hint.regressor.gradients, [0.5, 1, 0, 2, -0.5, 1])


def test_the_hint_and_its_gradient_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    hint, random = started(5, 3), np.random.default_rng(0)
    h, g = random.standard_normal((7, 5)), random.standard_normal((7, 3))
    W, b = (torch.tensor(part.copy(), requires_grad=True) for part in (*hint.regressor.weights, *hint.regressor.biases))
    leaf = torch.tensor(h, requires_grad=True)
    theirs = 0.5 * ((torch.tensor(g) - (leaf @ W + b)) ** 2).sum(dim=1).mean()
    theirs.backward()
    value, dh = hint.between(h, g)
    assert value == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(dh, leaf.grad, rtol=1e-10, atol=1e-13)
    gradients = np.concatenate([W.grad.ravel(), b.grad])
    np.testing.assert_allclose(hint.regressor.gradients, gradients, rtol=1e-10, atol=1e-13)


def test_a_batch_that_holds_every_row_twice_has_the_same_value():
    hint, random = started(5, 3), np.random.default_rng(0)
    h, g = random.standard_normal((7, 5)), random.standard_normal((7, 3))
    value, dh = hint.between(h, g)
    twice, dtwice = hint.between(np.tile(h, (2, 1)), np.tile(g, (2, 1)))
    assert twice == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(dtwice[:7], dh / 2, rtol=1e-12, atol=1e-15)


def test_the_regressor_starts_anew_from_its_seed_with_dtype_and_backend_of_the_student():
    student = MLP((6, 5, 4, 3), dtype=np.float64, backend="numpy")
    first, again, other = (Hint(0, 1).start(student, (8, 7), seed).regressor for seed in (1, 1, 2))
    assert first.sizes == (5, 7)
    assert (first.dtype, first.backend) == (np.float64, "numpy")
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert (first.parameters != other.parameters).any()


def test_a_teacher_layer_of_one_unit_is_refused():
    with pytest.raises(ValueError, match="the width of what a linear layer makes must be at least 2, got 1"):
        Hint().start(MLP((6, 5, 3)), (1,), 0)


def explained(of, by):
    """Share of the variance of hidden activations `of` (N,G) that a linear function of `by` (N,H) explains."""
    by = np.column_stack([by, np.ones(len(by))])
    rest = of - by @ np.linalg.lstsq(by, of, rcond=None)[0]
    return 1 - np.square(rest).sum() / np.square(of - of.mean(axis=0)).sum()


def test_a_hint_falls_and_a_hinted_layer_holds_more_of_what_the_teacher_knows_also_of_new_rows():
    train, test = digits()
    teacher, student = MLP((64, 48, 10), seed=1), MLP((64, 24, 24, 10), seed=0)
    fit(teacher, train, epochs=10)
    wanted = teacher.outputs(test.x).hidden[0]
    before = explained(wanted, student.outputs(test.x).hidden[0])
    history = distill(teacher, student, train, Hint(0, 0), epochs=20, optimizer=Adam(0.003))
    assert history.epochs[-1].loss < 0.25 * history.epochs[0].loss
    assert explained(wanted, student.outputs(test.x).hidden[0]) > before + 0.1


def test_a_student_that_was_given_hints_goes_on_with_soft_targets():
    """The two stages of the paper."""
    train, test = digits()
    teacher, student = MLP((64, 48, 10), seed=1), MLP((64, 24, 24, 10), seed=0)
    fit(teacher, train, epochs=10)
    distill(teacher, student, train, Hint(0, 0), epochs=5, optimizer=Adam(0.003))
    assert (student.predict(test.x) == test.y).mean() < 0.5  # the hint says nothing of the layers above it
    distill(teacher, student, train, SoftTarget(), epochs=10, optimizer=Adam(0.003))
    assert (student.predict(test.x) == test.y).mean() > 0.93
