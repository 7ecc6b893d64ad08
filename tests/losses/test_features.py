# SPDX-License-Identifier: MIT
"""What holds for every loss of hidden activations: its gradient, at the edges too, how it trains, what it refuses."""

import types

import numpy as np
import pytest

from minidistill import (
    MLP,
    Adam,
    ContrastiveRepresentation,
    CorrelationCongruence,
    Dataset,
    Hint,
    Outputs,
    ProbabilisticTransfer,
    RandomShift,
    RelationalAngle,
    RelationalDistance,
    SimilarityPreserving,
    SoftTarget,
    TrainingDiverged,
    VariationalInformation,
    check_gradient,
    distill,
    fit,
)
from minidistill.losses.features import linear, unit_backward, unit_forward
from minidistill.support.checks import NotFiniteError
from minidistill.support.files import read_arrays

B, H, G = 6, 4, 3
LEARNING = [Hint(), VariationalInformation(), ContrastiveRepresentation()]
RELATIONS = [  # they compare samples with each other, and own nothing
    RelationalDistance(),
    RelationalAngle(),
    SimilarityPreserving(),
    ProbabilisticTransfer(),
    CorrelationCongruence(),
]
METHODS = LEARNING + RELATIONS
each_method = pytest.mark.parametrize("loss", METHODS, ids=lambda loss: type(loss).__name__)
each_relation = pytest.mark.parametrize("loss", RELATIONS, ids=lambda loss: type(loss).__name__)
each_that_learns = pytest.mark.parametrize("loss", LEARNING, ids=lambda loss: type(loss).__name__)
STUDENT_SIZES, TEACHER_SIZES = (5, 7, H, 3), (5, G, 3)


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def student_and_teacher(dtype=np.float64, **options):
    student = MLP(STUDENT_SIZES, **{"activation": "gelu", "seed": 1, "dtype": dtype, **options})
    teacher = MLP(TEACHER_SIZES, activation="tanh", seed=2, dtype=np.float64)
    for network in (student, teacher):
        network.parameters += 0.3 * awkward(network.num_parameters)  # biases are not zero: zeros hide wrong gradients
    return student, teacher


def mixed():
    """A loss of labels, logits and hidden activations, two of them of the same layer."""
    return 0.5 * SoftTarget(2.0, 0.7) + 0.1 * Hint(0) + 2 * RelationalDistance() + 0.3 * VariationalInformation(-1)


def started(loss, dtype=np.float64, seed=0):
    """With learners that are nowhere zero."""
    loss = loss.start(student_and_teacher(dtype)[0], TEACHER_SIZES[1:-1], seed)
    for learner in loss.learners:
        learner.parameters += 0.3 * awkward(len(learner.parameters))
    return loss


HIDDEN, TAUGHT = awkward(B, H, seed=3), awkward(B, G, seed=4)


# ---------------------------------------------------------------------------------------------- the gradient


@each_method
def test_the_gradient_of_hidden_activations_is_right(loss):
    loss = started(loss)
    check_gradient(lambda h: loss.between(h, TAUGHT)[0], HIDDEN, loss.between(HIDDEN, TAUGHT)[1])


@pytest.mark.parametrize("loss", [*METHODS, mixed()], ids=repr)
def test_the_gradient_of_every_parameter_is_right_through_dropout_and_what_the_loss_owns(loss):
    student, teacher = student_and_teacher(dropout=(0.1, 0.2, 0.3))
    loss, x, y = started(loss), awkward(B, 5, seed=5), np.arange(B) % 3
    t = teacher.outputs(x)

    def value(array, parameters):
        array[:] = parameters
        logits, cache = student.forward(x, training=True, step=7, layerwise=True)
        return loss(Outputs(logits, cache.hidden), t, y)[0]

    logits, cache = student.forward(x, training=True, step=7, layerwise=True)
    _, ds = loss(Outputs(logits, cache.hidden), t, y)
    student.backward(ds.logits, cache, dhidden=ds.hidden)
    everything = [(one.parameters, one.gradients.copy()) for one in (student, *loss.learners)]  # calls write gradients
    for array, gradients in everything:
        parameters = array.copy()
        assert np.abs(gradients).max() > 0
        check_gradient(lambda p, array=array: value(array, p), parameters, gradients)
        array[:] = parameters


@each_method
def test_only_the_layer_that_is_compared_gets_a_gradient(loss):
    student, teacher = student_and_teacher()
    x = awkward(B, 5, seed=5)
    s, t = student.outputs(x), teacher.outputs(x)
    for layer, position in ((0, 0), (1, 1), (-1, 1), (-2, 0)):
        chosen = type(loss)(student_layer=layer).start(student, TEACHER_SIZES[1:-1], 0)
        value, ds = chosen(s, t)
        assert isinstance(value, float)
        assert np.array_equal(ds.logits, np.zeros_like(s.logits))
        assert ds.hidden[1 - position] is None
        np.testing.assert_array_equal(ds.hidden[position], chosen.value_and_dh(s.hidden[position], t.hidden[0])[1])


# ---------------------------------------------------------------------------------------------- sums


def test_a_sum_is_the_weighted_sum_of_its_losses_each_called_with_what_it_looks_at():
    """[SUM-1] of values, of gradients of logits, and of those of each hidden layer."""
    student, teacher = student_and_teacher()
    x, y = awkward(B, 5), np.arange(B) % 3
    s, t = student.outputs(x), teacher.outputs(x)
    loss = started(mixed())
    value, ds = loss(s, t, y)
    (soft, dlogits), *others = [
        one(s.logits, t.logits, y) if type(one) is SoftTarget else one(s, t, y) for one in loss.losses
    ]
    (hint, dhint), (distance, ddistance), (variational, dvariational) = others
    assert value == pytest.approx(0.5 * soft + 0.1 * hint + 2 * distance + 0.3 * variational, rel=1e-12)
    np.testing.assert_allclose(ds.logits, 0.5 * dlogits, rtol=1e-12)
    np.testing.assert_allclose(ds.hidden[0], 0.1 * dhint.hidden[0], rtol=1e-12)
    np.testing.assert_allclose(ds.hidden[1], 2 * ddistance.hidden[1] + 0.3 * dvariational.hidden[1], rtol=1e-12)


def test_a_sum_owns_what_its_losses_own_and_a_loss_of_weight_0_owns_nothing():
    assert len(started(mixed()).learners) == 3
    without = started(SoftTarget() + 0 * Hint() + 0 * ContrastiveRepresentation(7))  # no student has that layer
    assert without.learners == ()
    assert not without.needs_hidden
    assert not (SoftTarget() + SoftTarget()).needs_hidden


def test_a_hint_beside_soft_targets_trains_a_student_and_both_fall(teacher, data):
    student, history = taught(teacher, data, SoftTarget() + 0.1 * Hint(), epochs=20)
    assert (student.predict(data.x) == data.y).mean() > 0.9
    assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss
    ignored, _ = taught(teacher, data, SoftTarget() + 0 * Hint(), epochs=20)
    alone, _ = taught(teacher, data, 1.0 * SoftTarget(), epochs=20)
    np.testing.assert_array_equal(ignored.parameters, alone.parameters)


def test_logits_of_other_classes_are_refused_beside_a_hint_and_taken_by_a_hint_alone(data):
    other = MLP((9, 12, 5))
    taught(other, data, Hint())
    with pytest.raises(ValueError, match=r"t must have the shape of s, \(16, 3\), got \(16, 5\)"):
        taught(other, data, Hint() + SoftTarget())


# ---------------------------------------------------------------------------------------------- the edges

EDGES = {
    "zeros": (np.zeros((B, H)), np.zeros((B, G))),
    "a zero row": (HIDDEN * (np.arange(B)[:, None] != 2), TAUGHT * (np.arange(B)[:, None] != 3)),
    "identical rows": (np.tile(HIDDEN[:1], (B, 1)), np.tile(TAUGHT[:1], (B, 1))),
    "two identical rows": (HIDDEN[[0, 0, 1, 2, 3, 4]], TAUGHT[[0, 1, 2, 2, 3, 4]]),
    "opposite rows": (np.outer([1, -1, 2, -2, 3, -3], HIDDEN[0]), np.outer([1, 1, -1, 2, 3, -4], TAUGHT[0])),
    "one row": (HIDDEN[:1], TAUGHT[:1]),
    "two rows": (HIDDEN[:2], TAUGHT[:2]),
    "large": (1e4 * HIDDEN, 1e4 * TAUGHT),
    "tiny": (1e-30 * HIDDEN, 1e-30 * TAUGHT),
    "denormal": (1e-42 * HIDDEN, 1e-42 * TAUGHT),
    "large and tiny": (HIDDEN * np.logspace(-30, 4, B)[:, None], TAUGHT * np.logspace(4, -30, B)[:, None]),
}


@each_method
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient_are_finite_at_the_edges_and_keep_their_dtype(loss, edge, dtype):
    loss, (h, g) = started(loss, dtype), EDGES[edge]
    h, g = h.astype(dtype), g.astype(dtype)
    value, dh = loss.between(h, g)
    for result in (value, dh, *(learner.gradients for learner in loss.learners)):
        assert np.isfinite(result).all()
    assert dh.shape == h.shape
    assert dh.dtype == dtype


@each_method
def test_float32_gives_what_float64_gives(loss):
    value, dh = started(loss).between(HIDDEN, TAUGHT)
    single, dsingle = started(loss, np.float32).between(HIDDEN.astype(np.float32), TAUGHT.astype(np.float32))
    assert single == pytest.approx(value, rel=2e-5)
    np.testing.assert_allclose(dsingle, dh, rtol=0, atol=2e-5 * np.abs(dh).max())


@each_relation
def test_one_row_has_no_relations(loss):
    for h, g in ((HIDDEN[:1], TAUGHT[:1]), (np.zeros((1, H)), TAUGHT[:1]), (HIDDEN[:1], np.zeros((1, G)))):
        value, dh = loss.between(h, g)
        assert value == 0
        np.testing.assert_array_equal(dh, np.zeros((1, H)))


@each_relation
def test_relations_are_those_of_the_teacher_where_the_student_is_the_teacher_turned_or_scaled(loss):
    turn = np.linalg.qr(awkward(H, H, seed=6))[0]
    for h in (HIDDEN, 3 * HIDDEN, 1e20 * HIDDEN, HIDDEN @ turn, np.column_stack([HIDDEN, np.zeros((B, 2))])):
        value, dh = loss.between(h.astype(np.float64), HIDDEN)
        assert abs(value) < 1e-12
        assert np.abs(dh).max() < 1e-10
    assert loss.between(np.square(HIDDEN), HIDDEN)[0] > 1e-3


@each_relation
def test_relations_do_not_depend_on_the_order_of_the_rows(loss):
    order = np.array([3, 0, 5, 1, 4, 2])
    value, dh = loss.between(HIDDEN, TAUGHT)
    other, dother = loss.between(HIDDEN[order], TAUGHT[order])
    assert other == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(dother, dh[order], rtol=0, atol=1e-12)
    assert abs(loss.between(HIDDEN, TAUGHT[order])[0] - value) > 1e-4  # another pairing is another loss


def test_unit_rows_have_length_1_and_zero_rows_stay_zero():
    """[FEAT-1] at sizes whose squares are beyond float32."""
    x = HIDDEN.astype(np.float32) * np.array([[1e-30], [1e30], [1], [0], [1e-42], [3]], np.float32)
    lengths = np.linalg.norm(unit_forward(x)[0], axis=1)
    np.testing.assert_allclose(lengths[[0, 1, 2, 5]], 1, rtol=1e-6)
    assert (unit_forward(np.zeros((2, 3)))[0] == 0).all()


def test_the_gradient_of_unit_rows_is_right():
    """[FEAT-2]: along the row nothing changes, across it 1 / its length."""
    weights = awkward(B, H, seed=8)
    du = unit_backward(weights, unit_forward(HIDDEN)[1])
    check_gradient(lambda x: (weights * unit_forward(x)[0]).sum(), HIDDEN, du)
    np.testing.assert_allclose((du * HIDDEN).sum(axis=1), 0, atol=1e-14)
    assert (unit_backward(weights, unit_forward(np.zeros((B, H)))[1]) == 0).all()


# ---------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 120)
    x = generator.standard_normal((120, 9)).astype(np.float32)
    x[np.arange(120), y] += 2
    return Dataset(x, y)


@pytest.fixture(scope="module")
def teacher(data):
    network = MLP((9, 20, 12, 3), seed=5)
    fit(network, data, epochs=15, batch_size=20)
    return network


def new_student(**options):
    return MLP((9, 10, 8, 3), **{"seed": 4, "activation": "tanh", **options})


def taught(teacher, data, loss, student=None, **options):
    student = student or new_student()
    options = {"epochs": 3, "batch_size": 16, "optimizer": Adam(0.01), **options}
    history = distill(teacher, student, data, loss, **options)
    return student, history


@each_method
def test_the_loss_falls_while_a_student_trains(loss, teacher, data):
    _, history = taught(teacher, data, loss, epochs=25)
    losses = history.column("loss")
    assert losses[-1] < losses[0] - 0.25 * abs(losses[0])


@each_method
def test_the_same_seed_gives_the_same_bits_and_the_loss_is_left_as_it_was(loss, teacher, data):
    first, second, other = (taught(teacher, data, loss, seed=seed)[0].parameters for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert all(learner is None for learner in loss.learners)


@each_method
def test_kept_outputs_teach_the_same_as_the_network_that_gave_them(loss, teacher, data):
    by_network, _ = taught(teacher, data, loss)
    by_outputs, _ = taught(teacher.outputs(data.x), data, loss)
    np.testing.assert_array_equal(by_network.parameters, by_outputs.parameters)


@each_method
def test_a_teacher_that_is_asked_anew_teaches_the_same_where_nothing_is_changed(loss, teacher, data):
    asked, _ = taught(teacher, data, loss, augment=lambda x, y, generator: (x, y))
    kept, _ = taught(teacher, data, loss)
    np.testing.assert_allclose(asked.parameters, kept.parameters, rtol=0, atol=1e-4 * np.abs(kept.parameters).max())


def test_under_augmentation_the_teacher_is_asked_about_what_the_student_sees(teacher, data):
    moved, _ = taught(teacher, data, Hint(), augment=RandomShift(1))
    assert np.abs(moved.parameters - taught(teacher, data, Hint())[0].parameters).max() > 1e-3


@pytest.mark.parametrize("loss", [*METHODS, mixed()], ids=repr)
def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_bits(loss, teacher, data, tmp_path):
    class Stopped(Exception):
        pass

    def stop(network, history):
        if len(history.epochs) == 2:
            raise Stopped

    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    student, _ = taught(teacher, data, loss, epochs=4, checkpoint=whole)
    with pytest.raises(Stopped):
        taught(teacher, data, loss, epochs=4, checkpoint=cut, callbacks=[stop])
    resumed, _ = taught(teacher, data, loss, epochs=4, checkpoint=cut)
    np.testing.assert_array_equal(resumed.parameters, student.parameters)
    one, two = read_arrays(whole), read_arrays(cut)
    names = set(one) - {"epochs"}  # that holds seconds
    assert len(names) == 7 + 2 * len(loss.learners)
    assert all(np.array_equal(one[name], two[name]) for name in names)


def test_a_checkpoint_of_another_loss_is_refused_and_the_loss_is_named(teacher, data, tmp_path):
    path = tmp_path / "run.npz"
    taught(teacher, data, SoftTarget(), epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"it is of another run: loss was SoftTarget\(.*, is now Hint\("):
        taught(teacher, data, Hint(), epochs=1, checkpoint=path)


@pytest.mark.compiles
@pytest.mark.parametrize("loss", [*METHODS, mixed()], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_backend_trains_the_same_student(loss, dtype, teacher, data):
    pytest.importorskip("numba")
    options = {"dropout": 0.2, "dtype": dtype}
    readable, _ = taught(teacher, data, loss, new_student(**options, backend="numpy"))
    compiled, _ = taught(teacher, data, loss, new_student(**options, backend="cpu"))
    tolerance = {np.float32: 1e-3, np.float64: 1e-10}[dtype]  # Adam divides by small numbers, which enlarges rounding
    largest = np.abs(readable.parameters).max()
    np.testing.assert_allclose(compiled.parameters, readable.parameters, rtol=0, atol=tolerance * largest)


# ---------------------------------------------------------------------------------------------- what is refused


@each_method
@pytest.mark.parametrize("layer", [2, -3, 10**6])
def test_a_layer_that_the_student_does_not_have_is_refused_before_anything_changes(loss, layer, teacher, data):
    student = new_student()
    with pytest.raises(ValueError, match=rf"student_layer must be one of the student's 2 hidden layers, got {layer}"):
        taught(teacher, data, type(loss)(student_layer=layer), student)
    np.testing.assert_array_equal(student.parameters, new_student().parameters)


@each_method
def test_a_teacher_without_hidden_layers_is_refused(loss, data):
    with pytest.raises(ValueError, match=r"teacher_layer must be one of the teacher's 0 hidden layers, got -1"):
        taught(MLP((9, 3)), data, loss, check_teacher=False)


@each_method
def test_a_student_without_hidden_layers_is_refused(loss, teacher, data):
    with pytest.raises(ValueError, match=r"student_layer must be one of the student's 0 hidden layers, got -1"):
        taught(teacher, data, loss, MLP((9, 3)))


@each_method
def test_another_number_of_rows_is_refused(loss):
    student, teacher = student_and_teacher()
    x = awkward(B, 5)
    with pytest.raises(ValueError, match="t must have as many rows as s, at least one, got 5 and 6"):
        started(loss)(student.outputs(x), teacher.outputs(x[1:]))
    with pytest.raises(ValueError, match="t must have as many rows as s, at least one, got 0 and 0"):
        started(loss)(student.outputs(x)[:0], teacher.outputs(x)[:0])


@each_method
def test_logits_alone_are_refused(loss):
    student, teacher = student_and_teacher()
    x = awkward(B, 5)
    with pytest.raises(TypeError, match="s must be Outputs, which hold hidden activations, got ndarray"):
        started(loss)(student.logits(x), teacher.outputs(x))
    for t, name in ((teacher.logits(x), "ndarray"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"t must be Outputs of the teacher, .*got {name}"):
            started(loss)(student.outputs(x), t)


@each_that_learns
def test_a_loss_that_was_not_started_is_refused(loss):
    student, teacher = student_and_teacher()
    x = awkward(B, 5)
    with pytest.raises(ValueError, match="owns nothing to learn with yet"):
        loss(student.outputs(x), teacher.outputs(x))


@pytest.mark.parametrize("bad", ["0", 1.0, None, True])
def test_a_layer_that_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="teacher_layer must be a whole number"):
        Hint(teacher_layer=bad)


@each_method
def test_activations_that_are_not_finite_are_refused_and_located(loss):
    student, teacher = student_and_teacher()
    x = awkward(B, 5)
    for who, network in (("s (student", student), ("t (teacher", teacher)):
        s, t = student.outputs(x), teacher.outputs(x)
        (s if network is student else t).hidden[-1][4, 2] = np.nan
        with pytest.raises(NotFiniteError) as caught:
            started(loss)(s, t)
        assert str(caught.value) == f"{who} hidden activations) must be finite, got nan at row 4, column 2"


@pytest.mark.parametrize("as_teacher", [lambda x: x[:, :3], np.ones((120, 3)), [], object()])
def test_a_teacher_that_shows_no_hidden_activations_is_refused(as_teacher, data):
    with pytest.raises(TypeError, match=r"teacher must be Outputs or have outputs\(x\), as an MLP has, for this"):
        taught(as_teacher, data, Hint())


def test_kept_outputs_are_refused_under_augmentation_in_another_order_and_of_other_rows(teacher, data):
    with pytest.raises(ValueError, match="one that can be asked again, got kept Outputs"):
        taught(teacher.outputs(data.x), data, Hint(), augment=RandomShift(1))
    with pytest.raises(ValueError, match="teacher logits do not seem to belong to these rows"):
        taught(teacher.outputs(np.roll(data.x, 1, axis=0)), data, Hint())
    with pytest.raises(ValueError, match="targets must be Outputs of 120 rows, got 119"):
        taught(teacher.outputs(data.x[1:]), data, Hint())


def test_fit_refuses_other_targets_and_none(teacher, data):
    for targets, name in ((teacher.logits(data.x), "ndarray"), (None, "NoneType"), (teacher.logits, "ndarray")):
        with pytest.raises(TypeError, match=rf"targets must be Outputs, as teacher\.outputs\(x\) .*, got {name}"):
            fit(new_student(), data, Hint(), targets=targets)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_a_loss_of_logits_refuses_outputs_kept_or_asked_for(backend, teacher, data):
    for targets, augment in ((teacher.outputs(data.x), None), (teacher.outputs, lambda x, y, generator: (x, y))):
        with pytest.raises(TypeError, match="t must be an array of logits, got Outputs"):
            fit(new_student(backend=backend), data, SoftTarget(), targets=targets, augment=augment)


def test_outputs_that_are_not_finite_are_refused(teacher, data):
    outputs = teacher.outputs(data.x)
    outputs.hidden[0][7, 3] = np.inf
    with pytest.raises(NotFiniteError, match="targets must be finite, got inf at row 7, column 3"):
        fit(new_student(), data, Hint(), targets=outputs)


@each_method
def test_a_run_that_diverges_is_told_of(loss, teacher, data):
    with pytest.raises(TrainingDiverged):
        taught(teacher, data, loss, new_student(activation="relu"), epochs=50, optimizer=Adam(1e30))


@each_method
def test_what_a_loss_owns_is_no_part_of_its_text_nor_of_its_identity(loss):
    assert repr(started(loss)) == repr(loss)
    assert started(loss) == loss


@pytest.mark.parametrize("loss", RELATIONS, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_relations_of_huge_and_tiny_activations_are_those_of_usual_ones(loss, size):
    h, g = awkward(6, 4, seed=1), awkward(6, 3, seed=2)
    value, dh = loss.value_and_dh(h, g)
    other, dother = loss.value_and_dh((size * h).astype(np.float32), (size * g).astype(np.float32))
    assert other == pytest.approx(value, rel=1e-4)
    np.testing.assert_allclose(size * dother.astype(np.float64), dh, rtol=0, atol=1e-4 * np.abs(dh).max())


def test_what_a_loss_owns_computes_where_its_student_does():
    student = types.SimpleNamespace(dtype=np.float32, backend="elsewhere")
    with pytest.raises(ValueError, match="'elsewhere'"):
        linear(student, 3, 2, 0)
