# SPDX-License-Identifier: MIT
"""Annealed: what `fit` makes of a temperature and an alpha that go with the progress, in sums too, on both backends."""

import numpy as np
import pytest
from methods import T_LOGITS, S, Y

from minidistill import (
    MLP,
    NKD,
    SGD,
    Annealed,
    ContrastiveRepresentation,
    CosineSchedule,
    CrossEntropy,
    LinearSchedule,
    LogitMatching,
    SoftTarget,
    StepSchedule,
    WeightedSum,
    distill,
    fit,
    spirals,
)

DATA = spirals(60, seed=3)
TEACHER = MLP((2, 16, 3), seed=1, dtype=np.float64, backend="numpy")
OPTIONS = {"epochs": 4, "batch_size": 25}


def taught_by(loss, backend="numpy", **options):
    """The parameters of a student of TEACHER."""
    student = MLP((2, 5, 3), seed=9, dtype=np.float64, backend=backend)
    distill(TEACHER, student, DATA, loss, **{**OPTIONS, **options})
    return student.parameters


def test_the_loss_of_each_progress_has_that_temperature_and_that_alpha():
    loss = Annealed(SoftTarget(), temperature=LinearSchedule(8, 1), alpha=StepSchedule(0.8, at=(0.5,), factor=0.5))
    assert [loss.at_progress(progress) for progress in (0.0, 0.25, 0.5)] == [
        SoftTarget(8.0, 0.8), SoftTarget(6.25, 0.8), SoftTarget(4.5, 0.4)
    ]  # fmt: skip


def test_what_has_no_schedule_stays():
    assert Annealed(SoftTarget(3.0, 0.7), alpha=LinearSchedule(1, 0)).at_progress(0.5) == SoftTarget(3.0, 0.5)
    assert Annealed(NKD(1.2, 3.0, 0.7), temperature=CosineSchedule(2, 1)).at_progress(0.0) == NKD(1.2, 2.0, 0.7)


def test_outside_of_fit_it_is_the_loss_of_the_beginning():
    value, ds = Annealed(SoftTarget(3.0), alpha=LinearSchedule(0.9, 0))(S, T_LOGITS, Y)
    wanted, dwanted = SoftTarget(3.0, 0.9)(S, T_LOGITS, Y)
    assert value == wanted
    np.testing.assert_array_equal(ds, dwanted)


def test_each_epoch_has_the_loss_of_its_beginning():
    asked = []

    def alpha(progress):
        asked.append(progress)
        return 1 - progress

    loss = Annealed(SoftTarget(3.0), alpha=alpha)
    asked.clear()
    taught_by(loss)
    assert asked == [0.0, 0.25, 0.5, 0.75]


def test_a_teacher_that_loses_its_say_after_the_first_epoch_is_not_heard_again():
    loss = Annealed(SoftTarget(3.0), alpha=lambda progress: float(progress == 0))
    by_hand = MLP((2, 5, 3), seed=9, dtype=np.float64)
    first_epoch, second_epoch = (np.random.default_rng((0, epoch)).permutation(len(DATA)) for epoch in (0, 1))
    t, state, step = TEACHER.logits(DATA.x), SGD().initial_state(by_hand.parameters), 0
    for alpha, order in ((1.0, first_epoch), (0.0, second_epoch)):
        for rows in np.split(order, [25, 50]):
            s, cache = by_hand.forward(DATA.x[rows].astype(float), training=True)
            by_hand.backward(SoftTarget(3.0, alpha)(s, t[rows], DATA.y[rows])[1], cache)
            step += 1
            SGD().update(by_hand, state, 0.1, step)
    np.testing.assert_array_equal(taught_by(loss, epochs=2), by_hand.parameters)


def test_a_constant_schedule_is_the_loss_itself_to_the_bit():
    annealed = Annealed(SoftTarget(), temperature=lambda progress: 3.0, alpha=lambda progress: 0.7)
    np.testing.assert_array_equal(taught_by(annealed), taught_by(SoftTarget(3.0, 0.7)))


def test_annealing_changes_what_is_learned():
    apart = taught_by(Annealed(SoftTarget(8.0), temperature=LinearSchedule(8, 1))) - taught_by(SoftTarget(8.0))
    assert np.abs(apart).max() > 1e-4


def test_a_sum_anneals_its_parts():
    part = Annealed(SoftTarget(), temperature=LinearSchedule(8, 2))
    assert (0.5 * part + CrossEntropy()).at_progress(0.5) == WeightedSum((SoftTarget(5.0), CrossEntropy()), (0.5, 1.0))
    np.testing.assert_array_equal(taught_by(part + 0.0 * LogitMatching()), taught_by(part))


def test_a_run_that_was_stopped_goes_on_at_its_own_temperature(tmp_path):
    loss = Annealed(SoftTarget(), temperature=LinearSchedule(8, 1))
    whole = taught_by(loss)
    path = tmp_path / "run.npz"

    def stop(network, history):
        if len(history.epochs) == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        taught_by(loss, checkpoint=path, callbacks=[stop])
    np.testing.assert_array_equal(taught_by(loss, checkpoint=path), whole)
    with pytest.raises(ValueError, match="it is of another run: loss was Annealed"):
        taught_by(Annealed(SoftTarget(), temperature=LinearSchedule(9, 1)), checkpoint=path)


def test_labels_are_asked_for_as_soon_as_alpha_is_below_1():
    unlabelled = type(DATA)(DATA.x)
    student = MLP((2, 5, 3), dtype=np.float64)
    loss = Annealed(SoftTarget(), alpha=LinearSchedule(1, 0))
    with pytest.raises(ValueError, match=r"y \(labels\) is missing"):
        fit(student, unlabelled, loss, targets=TEACHER.logits(DATA.x), **OPTIONS)


def test_a_loss_of_hidden_activations_is_annealed_too_and_what_it_owns_learns():
    seen = []

    class Watched(ContrastiveRepresentation):
        def between(self, h, g):
            seen.append((self.temperature, self.student_embedding, self.student_embedding.parameters.copy()))
            return super().between(h, g)

    contrast = Annealed(Watched(width=4), temperature=LinearSchedule(1, 0.2))
    for loss in (contrast, SoftTarget() + 0.1 * contrast):
        seen.clear()
        taught_by(loss)
        temperatures, embeddings, parameters = zip(*seen, strict=True)
        assert list(dict.fromkeys(temperatures)) == pytest.approx([1, 0.8, 0.6, 0.4])
        assert len({id(embedding) for embedding in embeddings}) == 1
        assert not np.array_equal(parameters[0], parameters[-1])


@pytest.mark.compiles
def test_the_compiled_backend_compiles_each_epoch_and_means_the_same():
    from minidistill.kernels.cpu.passes import Epochs

    made = []
    init = Epochs.__init__

    def counted(self, network, loss, *settings):
        made.append(loss)
        init(self, network, loss, *settings)

    loss = Annealed(SoftTarget(), temperature=LinearSchedule(8, 1), alpha=LinearSchedule(1, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Epochs, "__init__", counted)
        compiled = taught_by(loss, backend="cpu")
    assert made == [loss.at_progress(progress).compiled() for progress in (0.0, 0.25, 0.5, 0.75)]
    np.testing.assert_allclose(compiled, taught_by(loss), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Annealed(SoftTarget()), ValueError, "temperature or alpha must be a schedule, .* got neither"),
        (lambda: Annealed(SoftTarget(), 4.0), TypeError, r"temperature must be a schedule, .* got 4\.0"),
        (lambda: Annealed(LogitMatching(), LinearSchedule(8, 1)), TypeError, "a loss with temperature, .* got Lo"),
        (lambda: Annealed(SoftTarget, LinearSchedule(8, 1)), TypeError, "a loss with temperature, .* got <class"),
        (lambda: Annealed("soft", alpha=LinearSchedule(1, 0)), TypeError, "must be a loss with alpha, .* got 'soft'"),
        (lambda: Annealed(SoftTarget(), LinearSchedule(8, 0)), ValueError,
         r"temperature must be in \[1e-6, 1e6\), got 0"),
        (lambda: Annealed(SoftTarget(), alpha=LinearSchedule(0, 2)), ValueError, r"alpha must be in \[0, 1\], got 2"),
    ],
)
def test_what_cannot_be_annealed_is_refused_where_it_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()
