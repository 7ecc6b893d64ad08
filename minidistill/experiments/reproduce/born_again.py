# SPDX-License-Identifier: MIT
"""Born-again networks: is a student of its teacher's own size better than the teacher, and its student again?

Furlanello et al. 2018 (ICML) taught each generation of DenseNets by the one before. On CIFAR-100 the first generations
were better than the network that they began with, and the mean of all generations was better still. Here the networks
are perceptrons and see 5,000 images of Fashion-MNIST, photographs of shop articles.

Two controls stand beside the paper's claims: an ensemble of as many networks that learned from labels alone, and the
same number of trials on the validation images for the first network and for the later ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...data import Dataset
from ...distillation.chains import born_again
from ...distillation.ensembles import Ensemble
from ...losses import SoftTarget
from ...network import MLP
from .claims import Claim, Curve, Findings, Panel, always_above, differences
from .study import Budget, Study, accuracy, alone, highest, on_all_cores

SOURCE = "Furlanello et al. 2018"
DATA = "fashion-mnist"
SEEDS = 5

IMAGES = 5_000
HIDDEN = (128,)
GENERATIONS = 3
EPOCHS = 30
RATES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)                                                      # of the first network,
TRIALS = tuple((T, alpha, 0.05) for T in (1.0, 2.0, 4.0) for alpha in (0.5, 1.0))  # of the others: T, alpha and rate


def run(study: Study, say: Callable[[str], None]) -> Findings:
    data = study.training.take(min(IMAGES, len(study.training)))
    room = Classroom(study, data, 3 if study.quick else EPOCHS)
    with on_all_cores(room) as run:
        say("choosing how the first network learns, and how the others ...")
        rate = highest(RATES, run((Classroom.score_alone, rate) for rate in RATES))
        trial = highest(TRIALS, run((Classroom.score, rate, trial) for trial in TRIALS))
        say(f"teaching {GENERATIONS} generations, {len(study.seeds)} times ...")
        families = run((Classroom.family, rate, trial, seed) for seed in study.seeds)
    settings = {
        "network": HIDDEN, "images": len(data), "epochs": room.epochs, "rate": rate, "trial": trial,
        "seeds": study.seeds,
    }  # fmt: skip
    return Findings(_claims(families), [_panel(families)], settings)


@dataclass(frozen=True)
class Family:
    """Accuracies on the test images, in percent, of one line of networks."""

    generations: list[float]  # the first network, and each that was taught
    ensemble: float           # of all of them
    strangers: float          # an ensemble of as many that learned alone


@dataclass(frozen=True)
class Classroom:
    study: Study
    data: Dataset
    epochs: int

    def budget(self, rate: float) -> Budget:
        return Budget(self.epochs, rate, batch_size=100)

    def first(self, rate: float, seed: int) -> MLP:
        return alone(self.data, HIDDEN, self.budget(rate), seed)

    def born(self, first: MLP, trial: tuple[float, float, float], generations: int, seed: int) -> list[MLP]:
        T, alpha, rate = trial
        return born_again(first, self.data, generations, SoftTarget(T, alpha), **self.budget(rate).options(seed))

    def score_alone(self, rate: float) -> float:
        return accuracy(self.first(rate, 0), self.study.validation)

    def score(self, rate: float, trial: tuple[float, float, float]) -> float:
        (child,) = self.born(self.first(rate, 0), trial, 1, 0)
        return accuracy(child, self.study.validation)

    def family(self, rate: float, trial: tuple[float, float, float], seed: int) -> Family:
        start = seed * (GENERATIONS + 1)  # no two families have a network in common
        strangers = [self.first(rate, start + k) for k in range(GENERATIONS + 1)]
        line = [strangers[0], *self.born(strangers[0], trial, GENERATIONS, seed)]
        return Family([accuracy(one, self.study.test) for one in line], self._together(line), self._together(strangers))

    def _together(self, networks: list[MLP]) -> float:
        test = self.study.test
        return 100 * float((Ensemble(networks).predict_proba(test.x).argmax(axis=1) == test.y).mean())


def _claims(families: list[Family]) -> list[Claim]:
    first, second, last = ([family.generations[k] for family in families] for k in (0, 1, GENERATIONS))
    together, strangers = ([getattr(family, name) for family in families] for name in ("ensemble", "strangers"))
    best_one = [max(family.generations) for family in families]
    return [
        always_above(0, "points of the first generation over its teacher", differences(second, first), decimals=2),
        always_above(0, f"points of generation {GENERATIONS} over the first", differences(last, second), decimals=2),
        always_above(0, "points of their ensemble over the best of them", differences(together, best_one), decimals=2),
        always_above(
            0, "points of their ensemble over one of as many that learned alone", differences(together, strangers),
            decimals=2,
        ),
    ]  # fmt: skip


def _panel(families: list[Family]) -> Panel:
    lines = np.array([family.generations for family in families])               # (seeds, generations)
    names = ["first", *(f"generation {k}" for k in range(1, lines.shape[1])), "ensemble", "ensemble alone"]
    values = [*lines.T.tolist(), [one.ensemble for one in families], [one.strangers for one in families]]
    return Panel(
        f"Fashion-MNIST, {HIDDEN[0]} hidden units", "", "accuracy on test images, %", [Curve("", names, values)]
    )
