# SPDX-License-Identifier: MIT
"""Schemes: who teaches whom. distill() has one teacher, one student and the data; here are the other arrangements.

    Ensemble, NoisyTeacher      teachers made of teachers
    assist, born_again          chains: each student is the next one's teacher
    mutual                      peers that teach one another while they learn
    pseudo_label, self_train a teacher for rows that nobody labelled
    data_impressions            rows made up of what a teacher knows, where there are none

None has a loss or a gradient of its own: all train by distill() or, step by step, as fit() does. What each is good for,
and when it is not, is in docs/guides/schemes.md.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list
from ..data.dataset import check_dataset
from ..data.scaling import warn_if_badly_scaled
from ..losses import CrossEntropy, Loss, SoftTarget, loss_at, value_and_ds
from ..network import MLP
from ..support.checks import (
    NotFiniteError,
    as_tuple,
    check_field,
    check_number,
    check_options,
    check_rows,
    check_seed,
    check_whole,
)
from ..support.progress import with_bar
from ..training.loop import Epoch, History, Run, TrainingDiverged, check_data, check_settings, check_teacher_targets
from ..training.optim import SGD, Optimizer
from .student import OPTIONS, distill
from .teachers import as_probabilities, as_teacher, common_number_of_classes, mixture_logits

# ---------------------------------------------------------------------------------------------- teachers of teachers

ROUNDS = 200          # of the weights' fixed point: on a few members far more than it needs
SMALLEST = 1e-12      # probability, of a label that no member finds possible


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several teachers that answer as one, by the weighted mean of their probabilities.

    members  each what `distill` takes as a teacher and can ask: networks, functions, objects with predict_proba
    weights  one a member, at least 0 and not all 0, of which only the ratios count; equal unless given
    classes  the number of classes, where no member states it as a network does

    The mean is one of probabilities. Hinton et al. 2015 (section 1) allow a geometric mean as well, which is a mean of
    logits: with it one member alone can rule a class out, and one with larger logits than the rest, which may mean no
    more than that it was trained for longer, outweighs them.
    """

    members: Sequence[Any]
    weights: Sequence[float] | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.members, list | tuple) or len(self.members) == 0:
            raise ValueError(f"members must be a list of at least one teacher, got {self.members!r}")
        weights: Sequence[float] = [1.0] * len(self.members)
        if self.weights is not None:
            weights = as_tuple("weights", self.weights, "a list of numbers, one for each member")
        if len(weights) != len(self.members):
            raise ValueError(f"weights must be one for each of the {len(self.members)} members, got {len(weights)}")
        weights = [check_number("each weight", weight, "[0, inf)") for weight in weights]
        if sum(weights) == 0:
            raise ValueError("weights must not all be 0")
        members = {f"members[{k}]": member for k, member in enumerate(self.members)}
        object.__setattr__(self, "classes", common_number_of_classes(members, self.classes))
        object.__setattr__(self, "weights", tuple(weight / sum(weights) for weight in weights))
        self._teachers()  # raises for what is no teacher

    def _teachers(self) -> list[Any]:
        return [as_teacher(member, self.classes or 0) for member in self.members]

    def _probabilities(self, x: np.ndarray) -> np.ndarray:
        """The probabilities (K,N,C) of each member for x (N,I)."""
        return np.stack([as_probabilities(member, self.classes or 0)(x) for member in self.members])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """The weighted mean of the members' probabilities, (N,C)."""
        p = self._probabilities(x)                                              # (K,N,C)
        return np.tensordot(np.array(self.weights), p, axes=1)                  # (N,C)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """The logarithm of that mean, (N,C), with a floor under the probabilities of members that have no logits."""
        return mixture_logits(self._teachers(), x, self.classes or 0, self.weights)

    @classmethod
    def weighed(cls, members: Sequence[Any], validation: Dataset, classes: int | None = None) -> "Ensemble":
        """The ensemble whose weights make the labels of `validation`, which no member has seen, likeliest.

        The mean log-likelihood of a mixture has no local maximum but the highest one, and each round of expectation
        maximisation (Dempster, Laird and Rubin 1977) comes nearer to it: a member's new weight is the mean, over the
        rows, of its share in the probability of the label.

            w_k  <-  mean over n of  w_k p_k(y_n) / sum over j of w_j p_j(y_n)                      [ENS-1]
        """
        if not isinstance(validation, Dataset) or validation.y is None:
            raise ValueError(f"validation must be a Dataset with labels, got {validation!r}")
        equal = cls(members, None, classes)
        if validation.y.max() >= (equal.classes or 0):
            raise ValueError(f"validation must have labels of {equal.classes} classes, got {validation.y.max()}")
        p = equal._probabilities(validation.x)                                  # (K,N,C)
        p_label = np.maximum(p[:, np.arange(len(validation)), validation.y], SMALLEST)      # (K,N)
        w = np.array(equal.weights)                                             # (K,)
        for _ in range(ROUNDS):
            shares = w[:, None] * p_label                                       # (K,N)
            w = (shares / shares.sum(axis=0)).mean(axis=1)                      # (K,)   [ENS-1]
        return cls(members, w.tolist(), equal.classes)


@dataclass(frozen=True, eq=False)
class NoisyTeacher:
    """A teacher whose logits are blurred: t becomes (1 + xi) t, with xi normal (Sau and Balasubramanian 2016).

    teacher  what `distill` takes as a teacher and can ask
    noise    standard deviation of xi, drawn for each logit; well below 1, where signs would turn
    share    of the rows that are blurred, in [0, 1]
    seed     the blur of a row is a function of the seed and of the row's values: whoever asks again, in whatever order,
             hears the same. With `augment` every epoch has rows, and so a blur, of its own
    classes  the number of classes, where the teacher does not state it as a network does

    It is a regulariser, for a student that would follow a single teacher into every detail. A row takes some 20 us.
    """

    teacher: Any
    noise: float = 0.1
    share: float = 1.0
    seed: int = 0
    classes: int | None = None

    def __post_init__(self) -> None:
        check_field(self, "noise", "[0, inf)")
        check_field(self, "share", "[0, 1]")
        check_seed(self.seed)
        object.__setattr__(self, "classes", common_number_of_classes({"teacher": self.teacher}, self.classes))
        as_teacher(self.teacher, self.classes or 0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The blurred logits (N,C) of x (N,I)."""
        t = check_rows("teacher logits", as_teacher(self.teacher, self.classes or 0)(x), columns=self.classes)  # (N,C)
        xi = np.stack([self._blur(row_hash, t.shape[1]) for row_hash in Dataset(x).row_hashes])    # (N,C)
        blurred: np.ndarray = t * (1 + xi).astype(t.dtype)                      # (N,C)
        return blurred

    def _blur(self, row_hash: int, classes: int) -> np.ndarray:
        """xi (C,) of the row that has this hash."""
        random = np.random.default_rng((self.seed, int(row_hash)))
        noise = self.noise if random.random() < self.share else 0.0
        xi: np.ndarray = noise * random.standard_normal(classes)                # (C,)
        return xi


# ---------------------------------------------------------------------------------------------- chains

def assist(
    teacher: Any, students: Sequence[MLP], data: Dataset, loss: Loss | None = None, **options: Any
) -> list[History]:
    """A chain: `teacher` teaches the first of the `students`, that one the second, and so on; a History of each.

    A student far smaller than its teacher follows a teacher assistant of a size in between more easily (Mirzadeh et al.
    2020). The students are trained in place, from the largest to the smallest as a rule, the last one being what one
    wants. `loss` and `options` are those of `distill`, and each student has the same.
    """
    check_options("assist", options, OPTIONS)
    students = _chain(teacher, students, data, options)
    histories = []
    for student in students:
        histories.append(distill(teacher, student, data, loss, **options))
        teacher = student
    return histories


def born_again(first: MLP, data: Dataset, generations: int, loss: Loss | None = None, **options: Any) -> list[MLP]:
    """Networks like `first`, each taught by the one before (Furlanello et al. 2018); in that order, without `first`.

    Same sizes, other first weights: the seed of generation k is that of `first` plus k. As a student has all the
    capacity of its teacher, it can do better than that. `Ensemble([first, *generations])` is the paper's ensemble.
    `loss` and `options` are those of `distill`.
    """
    check_options("born_again", options, OPTIONS)
    if not isinstance(first, MLP):
        raise TypeError(f"first must be an MLP, got {type(first).__name__}")
    seeds = range(first.seed + 1, first.seed + 1 + check_whole("generations", generations))
    students = [MLP(first.sizes, first.activation, first.dropout, seed, first.dtype) for seed in seeds]
    assist(first, students, data, loss, **options)
    return students


def _chain(teacher: Any, students: Sequence[MLP], data: Dataset, options: dict[str, Any]) -> list[MLP]:
    """The students, if each can be taught: what is wrong with the last one is told before the first one is trained."""
    students = _networks("students", students, fewest=1)
    for student in students:
        if student is teacher:
            raise ValueError("students must be other networks than the teacher")
        check_data(student, data, options.get("validation"))
    if options.get("checkpoint") is not None:
        raise ValueError("checkpoint is the file of one run, a chain has several: distill() one by one takes one each")
    return students


def _networks(name: str, networks: Sequence[MLP], fewest: int) -> list[MLP]:
    """Different MLPs in a list, of as many inputs and as many classes."""
    if not isinstance(networks, list | tuple) or len(networks) < fewest:
        raise ValueError(f"{name} must be a list of at least {fewest} networks, got {networks!r}")
    for network in networks:
        if not isinstance(network, MLP):
            raise TypeError(f"{name} must be MLPs, got {type(network).__name__}")
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError(f"{name} must be different networks, got the same one twice")
    ends = sorted({(network.sizes[0], network.sizes[-1]) for network in networks})
    if len(ends) > 1:
        raise ValueError(f"{name} must have as many inputs and as many classes each, got {ends}")
    return list(networks)


# ---------------------------------------------------------------------------------------------- peers


def mutual(
    networks: Sequence[MLP],
    data: Dataset,
    loss: Loss | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    validation: Dataset | None = None,
    augment: Augment | Sequence[Augment] | None = None,
    progress: bool | None = None,
) -> list[History]:
    """Deep mutual learning (Zhang et al. 2018): `networks` learn together, each with all others as its teachers.

    networks  at least two, trained in place; of any sizes between the same inputs and classes, with first weights of
              their own (a seed each): what is alike has nothing to tell the other
    loss      SoftTarget(1.0, 0.5) unless given: half the paper's cross-entropy plus KL(p_peer || p). With more than two
              peers it is the mean over the others, which the paper found better than their mean probability

    The rest is as in `fit`; epochs, optimizer and validation data are the same for all, and so are the batches. Gives a
    History each, whose seconds are those of an epoch of all of them.

    In each step all peers answer first, dropout on, and then all are updated; the paper updates one after the other, by
    which the result depends on their order. An answer is a given target to the others: no gradient goes through it.

    Raises TrainingDiverged when a loss is not finite; the networks are then those after the last whole epoch, as they
    are on Ctrl-C.
    """
    networks = _networks("networks", networks, fewest=2)
    _check_peers(networks)
    loss, augment = SoftTarget(1.0, 0.5) if loss is None else loss, as_list(augment)
    optimizer = SGD() if optimizer is None else optimizer
    for network in networks:
        check_data(network, data, validation)
        check_teacher_targets(network, data, None)
    check_settings(loss, epochs, batch_size, optimizer, seed, None, validation, None, augment)
    data = Dataset(check_rows("data.x", data.x, dtype=networks[0].dtype), data.y)
    warn_if_badly_scaled(data, augment, optimizer)
    peers = [Run(network, data, loss, epochs, batch_size, optimizer, seed, None, augment) for network in networks]
    with ExitStack() as held:
        for network in networks:
            held.enter_context(network.held_for_training())
        return _train_peers(peers, validation, progress)


def _train_peers(peers: list[Run], validation: Dataset | None, progress: bool | None) -> list[History]:
    networks, epochs, optimizer = [peer.network for peer in peers], peers[0].epochs, peers[0].optimizer
    histories = [History() for _ in peers]
    kept = [network.parameters.copy() for network in networks]
    try:
        for epoch in with_bar(range(epochs), progress):
            start = time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # divergence is told of, once
                losses = _mutual_epoch(peers, epoch)                            # (K,)
            figures = [peer.validate(validation, epoch) for peer in peers]
            seconds = time.perf_counter() - start
            rate = optimizer.rate(epoch / epochs)
            for history, value, figure in zip(histories, losses.tolist(), figures, strict=True):
                history.add(Epoch(epoch + 1, rate, value, *figure, seconds))
            kept = [network.parameters.copy() for network in networks]
    except (TrainingDiverged, KeyboardInterrupt):
        for network, parameters in zip(networks, kept, strict=True):
            network.parameters[:] = parameters
        raise
    return histories


def _check_peers(networks: list[MLP]) -> None:
    if len({network.dtype for network in networks}) > 1:
        raise ValueError("networks must have the same dtype, got float32 and float64")
    for one, other in combinations(networks, 2):
        if one.sizes == other.sizes and np.array_equal(one.parameters, other.parameters):
            raise ValueError("networks must differ to learn from one another, two have the same weights: vary the seed")


def _mutual_epoch(peers: list[Run], epoch: int) -> np.ndarray:
    """One pass of all peers over the same batches; the mean loss of each, (K,)."""
    run, totals = peers[0], np.zeros(len(peers))
    loss = loss_at(run.loss, epoch / run.epochs)
    generator = np.random.default_rng((run.seed, epoch))
    order = generator.permutation(len(run.data))
    for k in range(run.steps):
        rows = run.rows(order, k)
        x, y, _ = run.batch(rows, generator)
        try:
            values = _mutual_step(peers, loss, x, y, epoch * run.steps + k)     # (K,)
        except NotFiniteError:
            values = np.full(len(peers), np.nan)
        if not np.isfinite(values).all():
            raise run.diverged(epoch, k, "the loss of a peer became NaN or infinite")
        totals += len(rows) * values
    if not all(np.isfinite(peer.network.parameters).all() for peer in peers):
        raise run.diverged(epoch, k, "the parameters of a peer are no longer finite")
    mean: np.ndarray = totals / len(run.data)
    return mean


def _mutual_step(peers: list[Run], loss: Loss, x: np.ndarray, y: np.ndarray, step: int) -> np.ndarray:
    """All answer x (B,I), then each learns from the labels y (B,) and from what the others said; the losses (K,)."""
    passes = [peer.network.forward(x, training=True, step=step) for peer in peers]
    answers = [logits for logits, cache in passes]                              # each (B,C)
    values = np.zeros(len(peers))                                               # (K,)
    for k, (peer, (s, cache)) in enumerate(zip(peers, passes, strict=True)):
        others = answers[:k] + answers[k + 1 :]
        found = [value_and_ds(loss, s, t, y, peer.network.ops) for t in others]
        values[k] = np.mean([value for value, ds in found])
        ds = np.asarray(sum(ds for value, ds in found)) / len(others)           # (B,C)
        peer.network.backward(ds, cache)
        peer.optimizer.update(peer.network, peer.states[0], peer.rate(step), step + 1)
    return values


# ---------------------------------------------------------------------------------------------- rows without labels


def pseudo_label(teacher: Any, unlabelled: Dataset, classes: int, threshold: float = 0.0) -> Dataset:
    """The rows of which the teacher is sure, labelled with the class that it finds likeliest (Lee 2013).

    teacher     what `distill` takes as a teacher and can ask
    unlabelled  its labels are not looked at
    threshold   the least probability, in [0, 1], of that class: the others are left out

    Raises ValueError where no row is left.
    """
    check_dataset("unlabelled", unlabelled)
    check_whole("classes", classes, minimum=2)
    check_number("threshold", threshold, "[0, 1]")
    p = as_probabilities(teacher, classes)(unlabelled.x)                        # (N,C)
    sure = p.max(axis=1) >= threshold                                           # (N,)
    if not sure.any():
        raise ValueError(f"threshold must leave a row: the teacher's largest probability is {p.max():.3f}")
    return Dataset(unlabelled.x[sure], p.argmax(axis=1)[sure])


def self_train(
    teacher: Any,
    student: MLP,
    labelled: Dataset,
    unlabelled: Dataset,
    loss: Loss | None = None,
    *,
    threshold: float = 0.0,
    **options: Any,
) -> History:
    """Trains `student` in place on labelled rows and on those that only the teacher labels (Scudder 1965).

    The teacher is, as a rule, one that learned from the labelled rows alone, as large as the student or smaller. With
    dropout in the student and `augment` this is the noisy student of Xie et al. 2020, which is the next teacher there.

    loss       SoftTarget() unless given: to it the class that the teacher finds likeliest is the row's label, and the
               teacher's logits are the soft target. SoftTarget(alpha=0) is hard pseudo-labels, alpha=1 soft ones
    threshold  as in `pseudo_label`
    options    those of `distill`
    """
    check_options("self_train", options, OPTIONS)
    if not isinstance(student, MLP):
        raise TypeError(f"student must be an MLP, got {type(student).__name__}")
    if not isinstance(labelled, Dataset) or labelled.y is None:
        raise ValueError(f"labelled must be a Dataset with labels, got {labelled!r}")
    pseudo = pseudo_label(teacher, unlabelled, student.sizes[-1], threshold)
    if labelled.x.shape[1] != pseudo.x.shape[1]:
        raise ValueError(f"unlabelled.x must have {labelled.x.shape[1]} columns, got shape {unlabelled.x.shape}")
    both = Dataset(np.concatenate([labelled.x, pseudo.x]), np.concatenate([labelled.y, np.asarray(pseudo.y)]))
    return distill(teacher, student, both, loss, **options)


# ---------------------------------------------------------------------------------------------- no rows at all


def data_impressions(
    teacher: MLP,
    count: int,
    *,
    low: float = 0.0,
    high: float = 1.0,
    density: float = 0.3,
    steps: int = 10,
    rate: float = 0.05,
    seed: int = 0,
) -> Dataset:
    """`count` rows made up of what the teacher knows: for `distill` where the data are gone. Labelled with their class.

    teacher    an MLP: its gradient for the input is asked for
    low, high  bounds of every number, low being an empty place, such as paper
    density    up to this share of a row's places is filled at the start, a share and values of its own for each
    steps      of Adam at `rate`, which change a row until the teacher takes it for its class; each class has as many

    Each row starts as sparse noise and climbs the teacher's log-probability of its class. These are the plainer ones,
    class impressions, of Nayak et al. 2019; targets of many classes, drawn from a Dirichlet distribution, are left out.
    Few steps, and starts that vary, leave the rows different from one another.
    """
    if not isinstance(teacher, MLP):
        raise TypeError(f"teacher must be an MLP, got {type(teacher).__name__}")
    check_whole("count", count)
    check_number("low", low, "(-inf, inf)")
    check_number("high", high, f"({low}, inf)")
    check_number("density", density, "(0, 1]")
    check_whole("steps", steps, minimum=0)
    check_number("rate", rate, "(0, inf)")
    random = np.random.default_rng(check_seed(seed))
    network = deepcopy(teacher)                                                 # whose gradients nobody misses
    I, C = network.sizes[0], network.sizes[-1]
    y = np.arange(count) % C                                                    # (N,)
    shares = density * random.random((count, 1))                                # (N,1)
    filled = (random.random((count, I)) < shares) * random.random((count, I))   # (N,I)
    x = (low + (high - low) * filled).astype(network.dtype)                     # (N,I)
    m, v = np.zeros((2, x.size), x.dtype)                                       # each (N I,)
    for step in range(steps):
        s, cache = network.forward(x)                                           # (N,C)
        _, ds = CrossEntropy()(s, None, y, network.ops)                         # (N,C)
        dx = np.asarray(network.backward(ds * count, cache, input_gradient=True))           # (N,I) each of its own row
        network.ops.adam_update(x.reshape(-1), dx.reshape(-1), m, v, rate, step + 1)
        np.clip(x, low, high, out=x)
    return Dataset(x, y)
