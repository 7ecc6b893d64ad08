# SPDX-License-Identifier: MIT
"""Who teaches whom: ensembles, noise, chains, peers, rows without labels and no rows at all."""

import numpy as np
import pytest

from minidistill import (
    MLP,
    SGD,
    Annealed,
    CosineSchedule,
    CrossEntropy,
    Dataset,
    Ensemble,
    LinearSchedule,
    NoisyTeacher,
    RandomShift,
    SoftTarget,
    TrainingDiverged,
    born_again,
    data_impressions,
    digits,
    distill,
    fit,
    mutual_learning,
    pseudo_label,
    self_train,
    spirals,
    teacher_assistant,
)
from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.distillation.soft_targets import soft_targets
from minidistill.ops import softmax_forward

DATA = spirals(60, seed=3)
OPTIONS = {"epochs": 3, "batch_size": 25}


def network(seed, *hidden, **options):
    return MLP((2, *(hidden or (5,)), 3), seed=seed, dtype=np.float64, **options)


@pytest.fixture(scope="module")
def teacher():
    found = network(0, 32)
    fit(found, DATA, epochs=60, batch_size=20)
    return found


class Probabilities:
    """Answers every row with the same probabilities, as a scikit-learn model would."""

    def __init__(self, *row):
        self.row = np.array(row)

    def predict_proba(self, x):
        return np.tile(self.row, (len(x), 1))


# ---------------------------------------------------------------------------------------------- ensembles


def test_an_ensemble_answers_with_the_weighted_mean_of_probabilities():
    ensemble = Ensemble([Probabilities(0.5, 0.5, 0.0), Probabilities(0.1, 0.3, 0.6)], [1, 3], classes=3)
    assert ensemble.weights == (0.25, 0.75)
    np.testing.assert_allclose(ensemble.predict_proba(DATA.x), [[0.2, 0.35, 0.45]] * len(DATA), rtol=1e-12)


def test_without_weights_an_ensemble_teaches_what_a_list_does():
    members = [network(1), network(2, 7), network(3)]
    as_list, as_ensemble = soft_targets(members, DATA, 3).logits, soft_targets(Ensemble(members), DATA, 3).logits
    np.testing.assert_allclose(as_ensemble, as_list, rtol=1e-12)


def test_one_member_cannot_rule_out_a_class_on_its_own():
    sure, open_minded = Probabilities(1.0, 0.0, 0.0), Probabilities(0.2, 0.8, 0.0)
    found = Ensemble([sure, open_minded], classes=3).predict_proba(DATA.x[:1])
    np.testing.assert_allclose(found, [[0.6, 0.4, 0.0]], rtol=1e-12)


def test_ensembles_take_whatever_can_be_asked_and_one_another():
    one = network(1)
    inner = Ensemble([one, one.logits, Probabilities(0.2, 0.3, 0.5)], [1, 1, 0])
    np.testing.assert_allclose(Ensemble([inner, [one]]).predict_proba(DATA.x), one.predict_proba(DATA.x), rtol=1e-12)


def test_a_weight_of_0_silences_a_member(teacher):
    ensemble = Ensemble([teacher, network(1)], [2, 0])
    np.testing.assert_allclose(ensemble.predict_proba(DATA.x), teacher.predict_proba(DATA.x), rtol=1e-12)


def test_weighed_members_make_the_labels_likelier_than_any_other_weights_do():
    """[ENS-1]"""
    members = []
    for seed in range(3):
        member = network(seed, 16)
        fit(member, spirals(60, seed=seed), epochs=20)
        members.append(member)
    validation = spirals(150, seed=9)

    def log_likelihood(weights):
        p = Ensemble(members, weights).predict_proba(validation.x)
        return np.log(p[np.arange(len(validation)), validation.y]).mean()

    best = Ensemble.fit_weights(members, validation).weights
    assert sum(best) == pytest.approx(1)
    others = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    assert all(log_likelihood(best) >= log_likelihood(weights) - 1e-9 for weights in others)


def test_weighing_finds_the_member_that_knows(teacher):
    stranger = Probabilities(0.98, 0.01, 0.01)
    assert Ensemble.fit_weights([stranger, teacher], DATA).weights[1] > 0.95


def test_labels_that_nobody_finds_possible_leave_the_weights_finite():
    weights = Ensemble.fit_weights([Probabilities(1.0, 0.0, 0.0)] * 2, DATA, classes=3).weights
    np.testing.assert_allclose(weights, [0.5, 0.5])


def test_a_student_cannot_be_a_member_of_its_own_teacher(teacher):
    student = network(1)
    with pytest.raises(ValueError, match="teacher and student are the same network"):
        distill(Ensemble([teacher, student]), student, DATA)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Ensemble([]), ValueError, "members must be a list of at least one teacher, got"),
        (lambda: Ensemble(network(1)), ValueError, "members must be a list of at least one teacher, got MLP"),
        (lambda: Ensemble(["a name"], classes=3), TypeError, "teacher must be .* got str"),
        (lambda: Ensemble([network(1)], [1, 2]), ValueError, "weights must be one for each of the 1 members, got 2"),
        (lambda: Ensemble([network(1)], [-1]), ValueError, r"each weight must be in \[0, inf\), got -1"),
        (lambda: Ensemble([network(1)] * 2, [0, 0]), ValueError, "weights must not all be 0"),
        (lambda: Ensemble([Probabilities(0.5, 0.5)]), ValueError, "classes must be given: no number of classes is"),
        (lambda: Ensemble([network(1), MLP((2, 4))]), ValueError, r"must be equal, got members\[0\] 3, members\[1\] 4"),
        (lambda: Ensemble([network(1)], classes=4), ValueError, r"must be equal, got members\[0\] 3, classes 4"),
        (lambda: Ensemble.fit_weights([network(1)], Dataset(DATA.x)), ValueError, "must be a Dataset with labels"),
        (lambda: Ensemble.fit_weights([MLP((2, 2))], DATA), ValueError, "must have labels of 2 classes, got 2"),
    ],
)
def test_ensembles_of_nobody_or_of_bad_weights_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------------------------------------- noise


def test_noise_multiplies_the_logits_by_normal_numbers_around_1():
    teacher = network(1)
    factors = NoisyTeacher(teacher, noise=0.2)(DATA.x) / teacher.logits(DATA.x)
    assert factors.mean() == pytest.approx(1, abs=4 * 0.2 / np.sqrt(factors.size))
    assert factors.std() == pytest.approx(0.2, rel=0.2)


def test_a_row_hears_the_same_noise_in_any_order_and_any_company(teacher):
    noisy, order = NoisyTeacher(teacher), np.random.default_rng(0).permutation(60)
    together = noisy(DATA.x)
    np.testing.assert_allclose(noisy(DATA.x[order]), together[order], rtol=1e-12)
    np.testing.assert_allclose(noisy(DATA.x[7:8]), together[7:8], rtol=1e-12)


def test_the_noise_is_that_of_the_seed(teacher):
    assert (NoisyTeacher(teacher, seed=1)(DATA.x) != NoisyTeacher(teacher, seed=2)(DATA.x)).all()
    np.testing.assert_array_equal(NoisyTeacher(teacher, seed=1)(DATA.x), NoisyTeacher(teacher, seed=1)(DATA.x))


def test_a_share_of_the_rows_is_blurred(teacher):
    data = spirals(300, seed=5)
    plain = teacher.logits(data.x)
    changed = (NoisyTeacher(teacher, share=0.3)(data.x) != plain).any(axis=1)
    assert 0.2 < changed.mean() < 0.4
    for silent in (NoisyTeacher(teacher, share=0.0), NoisyTeacher(teacher, noise=0.0)):
        np.testing.assert_array_equal(silent(data.x), plain)


def test_a_noisy_teacher_teaches_with_and_without_augmentation(teacher):
    for options in ({}, {"augment": lambda x, y, generator: (x + generator.normal(0, 0.1, x.shape), y)}):
        student = network(9)
        distill(NoisyTeacher([teacher, network(1)], classes=3), student, DATA, **OPTIONS, **options)
        assert np.isfinite(student.parameters).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NoisyTeacher(network(1), noise=-1), ValueError, r"noise must be in \[0, inf\), got -1"),
        (lambda: NoisyTeacher(network(1), share=2), ValueError, r"share must be in \[0, 1\], got 2"),
        (lambda: NoisyTeacher(network(1), seed=-1), ValueError, "seed must be at least 0"),
        (lambda: NoisyTeacher("a name", classes=3), TypeError, "teacher must be .* got str"),
        (lambda: NoisyTeacher(network(1).logits), ValueError, "classes must be given: .* is stated by teacher"),
    ],
)
def test_bad_noise_is_refused_where_it_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------------------------------------- chains


def test_an_assistant_is_two_distillations_by_hand(teacher):
    assistant, student, a, s = network(1, 16), network(2), network(1, 16), network(2)
    loss = SoftTarget(3.0, 0.7)
    histories = teacher_assistant(teacher, [assistant, student], DATA, loss, **OPTIONS)
    first, second = distill(teacher, a, DATA, loss, **OPTIONS), distill(a, s, DATA, loss, **OPTIONS)
    np.testing.assert_array_equal(assistant.parameters, a.parameters)
    np.testing.assert_array_equal(student.parameters, s.parameters)
    assert [history.epochs[-1].loss for history in histories] == [first.epochs[-1].loss, second.epochs[-1].loss]


def test_one_generation_is_one_distillation_of_a_network_with_the_next_seed(teacher):
    (found,) = born_again(teacher, DATA, 1, SoftTarget(2.0, 1.0), **OPTIONS)
    by_hand = network(teacher.seed + 1, 32)
    distill(teacher, by_hand, DATA, SoftTarget(2.0, 1.0), **OPTIONS)
    np.testing.assert_array_equal(found.parameters, by_hand.parameters)


def test_each_generation_is_taught_by_the_one_before():
    first = network(5, 6, activation="tanh", dropout=0.1)
    one, two, three = born_again(first, DATA, 3, **OPTIONS)
    again = born_again(one, DATA, 2, **OPTIONS)
    np.testing.assert_array_equal([two.parameters, three.parameters], [found.parameters for found in again])
    assert [found.seed for found in (one, two, three)] == [6, 7, 8]
    assert {repr(found) for found in (one, two, three)} == {repr(first)}
    assert three.dropout == first.dropout
    assert Ensemble([first, one, two, three]).predict_proba(DATA.x).shape == (60, 3)


def test_the_teacher_of_a_chain_is_not_changed(teacher):
    before = teacher.parameters.copy()
    born_again(teacher, DATA, 2, **OPTIONS)
    np.testing.assert_array_equal(teacher.parameters, before)


def twice(one):
    return [one, one]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: teacher_assistant(t, [], DATA),
         ValueError, r"students must be a list of at least 1 networks, got \[\]"),
        (lambda t: teacher_assistant(t, network(1), DATA),
         ValueError, "students must be a list of at least 1 networks, got MLP"),
        (lambda t: teacher_assistant(t, [network(1), "x"], DATA), TypeError, "students must be MLPs, got str"),
        (lambda t: teacher_assistant(t, twice(network(1)), DATA), ValueError, "students must be different networks"),
        (lambda t: teacher_assistant(t, [network(1), t], DATA),
         ValueError, "students must be other networks than the teacher"),
        (lambda t: teacher_assistant(t, [network(1), MLP((2, 4))], DATA),
         ValueError, "students must have as many inputs"),
        (lambda t: teacher_assistant(t, [network(1)], DATA.x), TypeError, "data must be a Dataset, got ndarray"),
        (lambda t: teacher_assistant(t, [MLP((4, 3))], DATA), ValueError, "data.x must have 4 columns"),
        (lambda t: teacher_assistant(t, [network(1)], DATA, checkpoint="a.npz"),
         ValueError, "checkpoint is the file of one run"),
        (lambda t: born_again(t.logits, DATA, 1), TypeError, "first must be an MLP, got method"),
        (lambda t: born_again(t, DATA, 0), ValueError, "generations must be at least 1, got 0"),
    ],
)
def test_chains_that_cannot_be_are_refused(teacher, call, error, message):
    with pytest.raises(error, match=message):
        call(teacher)


def test_nobody_is_trained_where_the_last_of_a_chain_cannot_be(teacher):
    student = network(1)
    with pytest.raises(ValueError, match="students must have as many inputs"):
        teacher_assistant(teacher, [student, MLP((2, 4))], DATA)
    np.testing.assert_array_equal(student.parameters, network(1).parameters)


# ---------------------------------------------------------------------------------------------- peers


def parameters_of(networks):
    return np.concatenate([one.parameters for one in networks])


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


# ---------------------------------------------------------------------------------------------- rows without labels


def test_a_row_gets_the_class_that_the_teacher_finds_likeliest(teacher):
    unlabelled = spirals(40, seed=8)
    found = pseudo_label(teacher, Dataset(unlabelled.x), 3)
    np.testing.assert_array_equal(found.x, unlabelled.x)
    np.testing.assert_array_equal(found.y, teacher.predict(unlabelled.x))


def test_the_labels_of_unlabelled_rows_are_not_looked_at(teacher):
    unlabelled = spirals(40, seed=8)
    wrong = Dataset(unlabelled.x, (teacher.predict(unlabelled.x) + 1) % 3)
    np.testing.assert_array_equal(pseudo_label(teacher, wrong, 3).y, teacher.predict(unlabelled.x))


def test_a_threshold_leaves_the_rows_of_which_the_teacher_is_sure(teacher):
    unlabelled = spirals(200, seed=8)
    sure = teacher.predict_proba(unlabelled.x).max(axis=1) >= 0.9
    assert 0 < sure.sum() < 200
    np.testing.assert_array_equal(pseudo_label(teacher, unlabelled, 3, 0.9).x, unlabelled.x[sure])


def test_self_training_is_distilling_on_both_kinds_of_rows(teacher):
    few, unlabelled = DATA.take(20), spirals(80, seed=8)
    student, by_hand = network(9), network(9)
    self_train(teacher, student, few, unlabelled, SoftTarget(2.0, 0.5), threshold=0.8, **OPTIONS)
    extra = pseudo_label(teacher, unlabelled, 3, 0.8)
    both = Dataset(np.concatenate([few.x, extra.x]), np.concatenate([few.y, extra.y]))
    distill(teacher, by_hand, both, SoftTarget(2.0, 0.5), **OPTIONS)
    np.testing.assert_array_equal(student.parameters, by_hand.parameters)


def test_unlabelled_digits_make_a_student_better_than_its_teacher():
    train, test = digits()
    few, rest = train.split(40)
    right = []
    for seed in range(5):
        teacher, student = MLP((64, 32, 10), seed=seed), MLP((64, 64, 10), dropout=0.3, seed=seed + 10)
        fit(teacher, few, epochs=60, batch_size=20)
        self_train(teacher, student, few, Dataset(rest.x), SoftTarget(1.0, 0.5), epochs=60, augment=RandomShift(1))
        right.append([(one.predict(test.x) == test.y).mean() for one in (teacher, student)])
    # 2.5 percentage points on average; standard deviation over seeds 1.2, so 0.5 of the mean of five
    before, after = np.mean(right, axis=0)
    assert after > before


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"student": "x"}, TypeError, "student must be an MLP, got str"),
        ({"teacher": "x"}, TypeError, "teacher must be .* got str"),
        ({"labelled": Dataset(DATA.x)}, ValueError, "labelled must be a Dataset with labels"),
        ({"unlabelled": DATA.x}, TypeError, "unlabelled must be a Dataset, got ndarray"),
        ({"unlabelled": Dataset(np.zeros((4, 5)))}, ValueError, "x must have 2 columns"),
        ({"threshold": 1.5}, ValueError, r"threshold must be in \[0, 1\], got 1.5"),
        ({"threshold": 1.0, "teacher": Probabilities(0.5, 0.3, 0.2)}, ValueError, "threshold must leave a row: .* 0.5"),
    ],
)
def test_what_cannot_be_self_trained_is_refused(teacher, changed, error, message):
    arguments = {"teacher": teacher, "student": network(1), "labelled": DATA, "unlabelled": DATA, **changed}
    with pytest.raises(error, match=message):
        self_train(**arguments)


# ---------------------------------------------------------------------------------------------- no rows at all


@pytest.fixture(scope="module")
def reader():
    """A teacher that reads digits."""
    found = MLP((64, 128, 10), dropout=0.3)
    fit(found, digits()[0], epochs=15)
    return found


def test_impressions_are_what_the_teacher_takes_for_their_class(reader):
    found = data_impressions(reader, 100)
    assert np.bincount(found.y).tolist() == [10] * 10
    assert (reader.predict(found.x) == found.y).mean() > 0.95
    start = data_impressions(reader, 100, steps=0)
    assert (reader.predict(start.x) == start.y).mean() < 0.3


def test_impressions_stay_within_their_bounds(reader):
    for low, high in ((0.0, 1.0), (-2.0, 3.0)):
        x = data_impressions(reader, 20, low=low, high=high, steps=50, rate=0.5).x
        assert (x.min(), x.max()) == (low, high)


def test_impressions_are_those_of_the_seed_and_leave_the_teacher_alone(reader):
    before = reader.parameters.copy(), reader.gradients.copy()
    one, same, other = (data_impressions(reader, 20, seed=seed).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(reader.parameters, before[0])
    np.testing.assert_array_equal(reader.gradients, before[1])


@pytest.mark.compiles
def test_impressions_on_the_compiled_backend_are_the_same_without_the_teachers_dropout():
    found = []
    for backend in ("numpy", "cpu"):
        teacher = MLP((20, 16, 3), "tanh", dropout=(0.2, 0.5), dtype=np.float64, backend=backend)
        found.append(data_impressions(teacher, 10).x)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_a_step_climbs_the_log_probability_of_the_class():
    teacher = MLP((20, 8, 3), "tanh", dtype=np.float64)
    log_p = []
    for steps in range(4):
        found = data_impressions(teacher, 6, steps=steps, rate=1e-3)
        log_p.append(np.log(teacher.predict_proba(found.x)[np.arange(6), found.y]))
    assert (np.diff(log_p, axis=0) > 0).all()


def enlarged(data):
    """Each pixel three by three: like larger images, these are not met by noise that fills its pixels one by one."""
    return Dataset(np.kron(data.x.reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32)).reshape(len(data), -1), data.y)


def test_a_student_taught_by_impressions_beats_one_taught_by_the_noise_they_start_from():
    train, test = map(enlarged, digits())
    teacher = MLP((576, 64, 10))
    fit(teacher, train, epochs=15)
    dense_noise = Dataset(np.random.default_rng(0).random((1000, 576), np.float32))
    right = []
    for data in (dense_noise, data_impressions(teacher, 1000, steps=0), data_impressions(teacher, 1000)):
        student = MLP((576, 32, 10), seed=1)
        distill(teacher, student, data, SoftTarget(4.0, 1.0), epochs=30, optimizer=SGD(CosineSchedule(0.05)))
        right.append((student.predict(test.x) == test.y).mean())
    dense, sparse, impressions = right
    assert dense + 0.2 < sparse
    assert sparse + 0.03 < impressions


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"teacher": lambda x: x}, TypeError, "teacher must be an MLP, got function"),
        ({"count": 0}, ValueError, "count must be at least 1"),
        ({"low": 1.0}, ValueError, r"high must be in \(1.0, inf\), got 1.0"),
        ({"density": 0}, ValueError, r"density must be in \(0, 1\], got 0"),
        ({"steps": -1}, ValueError, "steps must be at least 0"),
        ({"rate": 0}, ValueError, r"rate must be in \(0, inf\), got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_bad_impressions_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        data_impressions(**{"teacher": network(1), "count": 3, **options})
