# SPDX-License-Identifier: MIT
"""Deep mutual learning: do networks that learn together do better than alone, and better than from a trained teacher?

Zhang et al. 2018 (CVPR) let networks teach one another from the first step on: each was better than the same network
alone, better than one taught by a network like it that was trained beforehand, and the better the more peers it had.
Here the networks are perceptrons and see 5,000 images of Fashion-MNIST, photographs of shop articles.

All kinds have as many trials on the validation images, and as many steps. Peers and networks alone share first weights,
seed by seed; a cohort's figure is the mean over its peers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...data import Dataset
from ...distillation.mutual import mutual_learning
from ...losses import SoftTarget
from ...network import MLP
from .claims import Claim, Curve, Findings, Panel, always_above, differences
from .study import Budget, Study, accuracy, alone, distilled, highest, on_all_cores

SOURCE = "Zhang et al. 2018"
DATA = "fashion-mnist"
SEEDS = 5

IMAGES = 5_000
HIDDEN = (128,)
COHORTS = (2, 4)
EPOCHS = 30
RATES = (0.02, 0.05, 0.1, 0.2)                              # of networks alone,
TRIALS = ((0.5, 0.05), (0.5, 0.1), (0.8, 0.05), (0.8, 0.1))  # of those that have peers or a teacher: alpha and rate
T = 1.0  # the paper's


def run(study: Study, say: Callable[[str], None]) -> Findings:
    data = study.training.take(min(IMAGES, len(study.training)))
    cohorts = COHORTS[:1] if study.quick else COHORTS
    room = Classroom(study, data, 3 if study.quick else EPOCHS)
    with on_all_cores(room) as run:
        say("choosing how networks learn alone, from a teacher and from peers ...")
        rate = highest(RATES, run((Classroom.score_alone, rate) for rate in RATES))
        taught = highest(TRIALS, run((Classroom.score_taught, rate, trial) for trial in TRIALS))
        together = highest(TRIALS, run((Classroom.score_peers, cohorts[0], trial) for trial in TRIALS))
        say(f"training cohorts of {' and '.join(map(str, cohorts))}, {len(study.seeds)} times ...")
        hard = run((Classroom.alone, rate, seed) for seed in study.seeds)
        soft = run((Classroom.taught, rate, taught, seed) for seed in study.seeds)
        by_size = {size: run((Classroom.peers, size, together, seed) for seed in study.seeds) for size in cohorts}
    found = Outcome(hard, soft, by_size)
    settings = {
        "network": HIDDEN, "images": len(data), "epochs": room.epochs, "temperature": T, "rate_alone": rate,
        "taught": taught, "together": together, "seeds": study.seeds,
    }  # fmt: skip
    return Findings(_claims(found), [_panel(found)], settings)


@dataclass(frozen=True)
class Outcome:
    """Accuracies on the test images, in percent, one a seed."""

    alone: list[float]
    taught: list[float]              # by a network like it, trained beforehand
    together: dict[int, list[float]]  # by the number of peers, the mean over them


@dataclass(frozen=True)
class Classroom:
    study: Study
    data: Dataset
    epochs: int

    def budget(self, rate: float) -> Budget:
        return Budget(self.epochs, rate, batch_size=100)

    def _alone(self, rate: float, seed: int) -> MLP:
        return alone(self.data, HIDDEN, self.budget(rate), seed)

    def _taught(self, rate_alone: float, trial: tuple[float, float], seed: int) -> MLP:
        """By a network that differs in its first weights, trained before."""
        alpha, rate = trial
        answers = self._alone(rate_alone, _seed_of_peer(seed, 1)).logits(self.data.x)       # (N,C)
        return distilled(answers, self.data, HIDDEN, self.budget(rate), _seed_of_peer(seed, 0), T, alpha)

    def _together(self, size: int, trial: tuple[float, float], seed: int) -> list[MLP]:
        alpha, rate = trial
        sizes = (self.data.x.shape[1], *HIDDEN, self.data.classes)
        networks = [MLP(sizes, seed=_seed_of_peer(seed, k)) for k in range(size)]
        mutual_learning(networks, self.data, SoftTarget(T, alpha), **self.budget(rate).options(seed))
        return networks

    def score_alone(self, rate: float) -> float:
        return accuracy(self._alone(rate, 0), self.study.validation)

    def score_taught(self, rate_alone: float, trial: tuple[float, float]) -> float:
        return accuracy(self._taught(rate_alone, trial, 0), self.study.validation)

    def score_peers(self, size: int, trial: tuple[float, float]) -> float:
        return _mean(self._together(size, trial, 0), self.study.validation)

    def alone(self, rate: float, seed: int) -> float:
        return accuracy(self._alone(rate, _seed_of_peer(seed, 0)), self.study.test)

    def taught(self, rate_alone: float, trial: tuple[float, float], seed: int) -> float:
        return accuracy(self._taught(rate_alone, trial, seed), self.study.test)

    def peers(self, size: int, trial: tuple[float, float], seed: int) -> float:
        return _mean(self._together(size, trial, seed), self.study.test)


def _seed_of_peer(seed: int, k: int) -> int:
    """No two cohorts have a peer in common."""
    return seed * max(COHORTS) + k


def _mean(networks: list[MLP], data: Dataset) -> float:
    return float(np.mean([accuracy(network, data) for network in networks]))


def _claims(found: Outcome) -> list[Claim]:
    fewest, size = min(found.together), max(found.together)
    pair, most = found.together[fewest], found.together[size]
    return [
        always_above(0, "points of two peers over one alone", differences(pair, found.alone), decimals=2),
        always_above(0, "points of two peers over one with a trained teacher", differences(pair, found.taught),
                     decimals=2),
        always_above(0, f"points of {size} peers over two", differences(most, pair), decimals=2),
    ]  # fmt: skip


def _panel(found: Outcome) -> Panel:
    names = ["alone", "taught by one like it", *(f"{size} peers" for size in found.together)]
    curve = Curve("", names, [found.alone, found.taught, *found.together.values()])
    return Panel(f"Fashion-MNIST, {HIDDEN[0]} hidden units", "", "accuracy on test images, %", [curve])
