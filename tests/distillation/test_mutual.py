# SPDX-License-Identifier: MIT
"""Mutual learning: networks that train together, each on the predictions of the others."""

import numpy as np
import pytest
from arrangements import DATA, OPTIONS, network, parameters_of, twice

from minidistill import (
    MLP,
    SGD,
    Adam,
    Annealed,
    CosineSchedule,
    CrossEntropy,
    Dataset,
    LinearSchedule,
    RandomShift,
    SoftTarget,
    TrainingDiverged,
    digits,
    fit,
    mutual_learning,
    spirals,
)
from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.ops import softmax_forward


def peers(**options):
    return [network(1, **options), network(2, 7, **options), network(3, **options)]


def test_each_peer_has_the_gradient_of_its_own_loss_with_the_others_answers_held():
    """Mistake to catch: a gradient that flows into the answers of the others."""
    loss, before, after = SoftTarget(2.0, 0.7), peers(activation="tanh"), peers(activation="tanh")
    mutual_learning(after, DATA, loss, epochs=1, batch_size=len(DATA))
    x = DATA.x.astype(np.float64)
    answers = [one.logits(x) for one in before]
    for k, (one, trained) in enumerate(zip(before, after, strict=True)):
        held = answers[:k] + answers[k + 1 :]

        def own_loss(parameters, one=one, held=held):
            one.parameters[:] = parameters
            return np.mean([loss(one.logits(x), t, DATA.y)[0] for t in held])

        check_gradient(own_loss, one.parameters.copy(), trained.gradients)


def test_the_loss_of_two_peers_is_half_the_papers():
    one, two = network(1), network(2)
    p, q = (softmax_forward(peer.logits(DATA.x))[0] for peer in (one, two))
    cross_entropy = -np.log(p[np.arange(60), DATA.y]).mean()
    paper = cross_entropy + (q * np.log(q / p)).sum(axis=1).mean()
    history, _ = mutual_learning([one, two], DATA, epochs=1, batch_size=60)
    assert history.epochs[0].loss == pytest.approx(paper / 2, rel=1e-12)


def test_peers_that_do_not_listen_learn_as_each_would_alone():
    together, alone = peers(dropout=0.2), peers(dropout=0.2)
    histories = mutual_learning(together, DATA, SoftTarget(2.0, 0.0), seed=4, validation=DATA, **OPTIONS)
    for one, history in zip(alone, histories, strict=True):
        by_fit = fit(one, DATA, seed=4, validation=DATA, **OPTIONS)
        assert [epoch[:-1] for epoch in history.epochs] == [epoch[:-1] for epoch in by_fit.epochs]
        assert history.best[:-1] == by_fit.best[:-1]
    np.testing.assert_array_equal(parameters_of(together), parameters_of(alone))


def test_the_order_of_the_peers_does_not_matter():
    forward, backward = peers()[:2], peers()[1::-1]
    mutual_learning(forward, DATA, **OPTIONS)
    mutual_learning(backward, DATA, **OPTIONS)
    np.testing.assert_array_equal(parameters_of(forward), parameters_of(backward[::-1]))


def test_the_same_seed_gives_the_same_peers():
    runs = [peers(dropout=0.3) for _ in range(3)]
    for run, seed in zip(runs, (0, 0, 1), strict=True):
        mutual_learning(run, DATA, seed=seed, **OPTIONS)
    np.testing.assert_array_equal(parameters_of(runs[0]), parameters_of(runs[1]))
    assert (parameters_of(runs[0]) != parameters_of(runs[2])).any()


def test_peers_come_closer_to_one_another_than_strangers_do():
    def apart(loss):
        pair = [network(1, 16), network(2, 16)]
        mutual_learning(pair, DATA, loss, epochs=30, batch_size=20)
        p, q = (one.predict_proba(DATA.x) for one in pair)
        return np.abs(p - q).mean()

    assert apart(SoftTarget(1.0, 0.8)) < 0.5 * apart(CrossEntropy())


def test_peers_see_the_same_changed_rows_and_follow_schedules():
    images = digits()[0].take(50)
    pair = [MLP((64, 5, 10), seed=seed) for seed in (0, 1)]
    loss = Annealed(SoftTarget(1.0, 0.5), alpha=LinearSchedule(1, 0))
    options = {"augment": RandomShift(1), "optimizer": SGD(CosineSchedule(0.1)), **OPTIONS}
    histories = mutual_learning(pair, images, loss, **options)
    assert histories[0].column("learning_rate").tolist() == [0.1, pytest.approx(0.075), pytest.approx(0.025)]
    assert np.isfinite(parameters_of(pair)).all()


def test_peers_that_diverge_are_put_back_to_the_last_whole_epoch():
    pair, good = [network(1), network(2)], [network(1), network(2)]
    mutual_learning(good, DATA, epochs=1, batch_size=25, optimizer=SGD(lambda progress: 0.1))
    diverging = SGD(lambda progress: 0.1 if progress < 0.5 else 1e200)
    with pytest.raises(TrainingDiverged, match="of a peer .* at epoch 2"):
        mutual_learning(pair, DATA, epochs=2, batch_size=25, optimizer=diverging)
    np.testing.assert_array_equal(parameters_of(pair), parameters_of(good))


def test_callbacks_see_every_peer_with_its_own_history():
    trained, seen = peers(), []
    histories = mutual_learning(trained, DATA, callbacks=[lambda *given: seen.append(given)], **OPTIONS)
    assert len(seen) == 3 * 3
    for k, (one, history) in enumerate(seen):
        assert one is trained[k % 3]
        assert history is histories[k % 3]


def test_peers_stop_when_none_of_them_improves_and_each_goes_back_to_its_best():
    trained, notes = peers(), []
    histories = mutual_learning(
        trained, DATA, epochs=200, batch_size=25, validation=spirals(60, seed=4), patience=4,
        callbacks=[lambda network, history: notes.append(network.parameters.copy())],
    )  # fmt: skip
    epochs = len(histories[0].epochs)
    assert epochs < 200
    assert min(history.epochs_since_best for history in histories) == 4
    for k, (one, history) in enumerate(zip(trained, histories, strict=True)):
        assert history.stopped_early and len(history.epochs) == epochs
        np.testing.assert_array_equal(one.parameters, notes[3 * (history.best.epoch - 1) + k])


def test_peers_resume_from_a_checkpoint_with_the_same_bits(tmp_path):
    def stop(network, history):
        if len(history.epochs) == 4:
            raise KeyboardInterrupt

    options = {"epochs": 6, "batch_size": 25, "validation": spirals(60, seed=4), "optimizer": Adam(0.01)}
    whole, killed = peers(dropout=0.2), peers(dropout=0.2)
    histories = mutual_learning(whole, DATA, **options)
    options["checkpoint"] = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        mutual_learning(killed, DATA, callbacks=[stop], **options)
    again = mutual_learning(killed, DATA, **options)
    np.testing.assert_array_equal(parameters_of(killed), parameters_of(whole))
    for one, other in zip(histories, again, strict=True):
        assert [epoch[:-1] for epoch in one.epochs] == [epoch[:-1] for epoch in other.epochs]
        assert one.best[:-1] == other.best[:-1]
    with pytest.raises(ValueError, match=r"it is of another run: dropout was .*; dropout_1 was .*; dropout_2 was"):
        mutual_learning(peers(), DATA, **options)


@pytest.mark.compiles
def test_the_compiled_backend_teaches_peers_the_same():
    found = {}
    for backend in ("numpy", "cpu"):
        networks = [*peers(dropout=0.2, backend=backend)[:2], network(4, dropout=0.2, backend=backend)]
        mutual_learning(networks, DATA, SoftTarget(2.0, 0.7), **OPTIONS)
        found[backend] = parameters_of(networks)
    np.testing.assert_allclose(found["cpu"], found["numpy"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("networks", "options", "error", "message"),
    [
        ([network(1)], {}, ValueError, "networks must be a list of at least 2 networks"),
        ([network(1), "x"], {}, TypeError, "networks must be MLPs, got str"),
        (twice(network(1)), {}, ValueError, "networks must be different networks, got the same one twice"),
        ([network(1), network(1)], {}, ValueError, "two have the same weights: vary the seed"),
        ([network(1), MLP((2, 5, 3))], {}, ValueError, "networks must have the same dtype"),
        ([network(1), MLP((2, 5, 4), dtype="float64")], {}, ValueError, "networks must have as many inputs"),
        (peers(), {"data": Dataset(DATA.x)}, ValueError, "data must have labels"),
        (peers(), {"data": DATA.x}, TypeError, "data must be a Dataset, got ndarray"),
        (peers(), {"epochs": 0}, ValueError, "epochs must be at least 1"),
        (peers(), {"seed": -1}, ValueError, "seed must be at least 0"),
        (peers(), {"loss": "soft"}, TypeError, "loss must be a loss"),
    ],
)
def test_peers_that_cannot_learn_together_are_refused(networks, options, error, message):
    with pytest.raises(error, match=message):
        mutual_learning(networks, **{"data": DATA, **options})
