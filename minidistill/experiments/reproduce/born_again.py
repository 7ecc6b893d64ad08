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

from ...distillation.chains import born_again
from ...distillation.ensembles import Ensemble
from ...losses import SoftTarget
from ...network import MLP
from .claims import ACCURACY, Claim, Findings, Panel, above_zero, bars, differences
from .study import Study, Trainer, accuracies, chosen, on_all_cores

SOURCE = "Furlanello et al. 2018"
DATA = "fashion-mnist"
SEEDS = 5

HIDDEN = (128,)
GENERATIONS = 3
EPOCHS = 30
RATES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)                                                      # of the first network,
TRIALS = tuple((T, alpha, 0.05) for T in (1.0, 2.0, 4.0) for alpha in (0.5, 1.0))  # of the others: T, alpha and rate


def run(study: Study, log: Callable[[str], None]) -> Findings:
    trainer = GenerationTrainer.of(study, HIDDEN, EPOCHS)
    with on_all_cores(trainer) as run:
        log("choosing how the first network learns, and how the others ...")
        rate = chosen(run, RATES, Trainer.alone)
        trial = chosen(run, TRIALS, GenerationTrainer.second, rate)
        log(f"teaching {GENERATIONS} generations, {len(study.seeds)} times ...")
        families = run((GenerationTrainer.family, rate, trial, seed) for seed in study.seeds)
    settings = {
        "network": HIDDEN, "images": len(trainer.data), "epochs": trainer.epochs, "rate": rate, "trial": trial,
        "seeds": study.seeds,
    }  # fmt: skip
    return _claims(families), [_panel(families)], settings


@dataclass(frozen=True)
class Family:
    """Accuracies on the test images, in percent, of one line of networks."""

    generations: list[float]  # the first network, and each that was taught
    ensemble: float           # of all of them
    strangers: float          # an ensemble of as many that learned alone


class GenerationTrainer(Trainer):
    """Networks, each taught by the one before."""

    def born(self, first: MLP, trial: tuple[float, float, float], generations: int, seed: int) -> list[MLP]:
        T, alpha, rate = trial
        return born_again(first, self.data, generations, SoftTarget(T, alpha), **self.budget(rate).options(seed))

    def second(self, seed: int, trial: tuple[float, float, float], rate: float) -> list[MLP]:
        return self.born(self.alone(seed, rate), trial, 1, seed)

    def family(self, rate: float, trial: tuple[float, float, float], seed: int) -> Family:
        start = seed * (GENERATIONS + 1)  # no two families have a network in common
        strangers = [self.alone(start + k, rate) for k in range(GENERATIONS + 1)]
        line = [strangers[0], *self.born(strangers[0], trial, GENERATIONS, seed)]
        return Family(accuracies(line, self.study.test), self._together(line), self._together(strangers))

    def _together(self, networks: list[MLP]) -> float:
        test = self.study.test
        return 100 * float((Ensemble(networks).predict_proba(test.x).argmax(axis=1) == test.y).mean())


def _claims(families: list[Family]) -> list[Claim]:
    first, second, last = ([family.generations[k] for family in families] for k in (0, 1, GENERATIONS))
    together, strangers = ([getattr(family, name) for family in families] for name in ("ensemble", "strangers"))
    best_one = [max(family.generations) for family in families]
    return [
        above_zero("gain_generation_1", "points of the first generation over its teacher", differences(second, first),
                   2),
        above_zero(f"gain_generation_{GENERATIONS}", f"points of generation {GENERATIONS} over the first",
                   differences(last, second), 2),
        above_zero("gain_ensemble_over_best", "points of their ensemble over the best of them",
                   differences(together, best_one), 2),
        above_zero("gain_ensemble_over_independent", "points of their ensemble over one of as many that learned alone",
                   differences(together, strangers), 2),
    ]  # fmt: skip


def _panel(families: list[Family]) -> Panel:
    names = ["first", *(f"generation {k}" for k in range(1, GENERATIONS + 1)), "ensemble", "ensemble alone"]
    figures = ([*family.generations, family.ensemble, family.strangers] for family in families)
    columns = map(list, zip(*figures, strict=True))  # one seed each
    return bars(f"Fashion-MNIST, {HIDDEN[0]} hidden units", ACCURACY, dict(zip(names, columns, strict=True)))
