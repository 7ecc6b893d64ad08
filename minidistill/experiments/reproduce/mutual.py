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
from typing import Any

from ...distillation.mutual import mutual_learning
from ...losses import SoftTarget
from ...network import MLP
from .claims import ACCURACY, Claim, Findings, Panel, above_zero, bars, differences
from .study import Study, Trainer, chosen, on_all_cores

SOURCE = "Zhang et al. 2018"
DATA = "fashion-mnist"
SEEDS = 5

HIDDEN = (128,)
COHORTS = (2, 4)
EPOCHS = 30
RATES = (0.02, 0.05, 0.1, 0.2)                              # of networks alone,
TRIALS = ((0.5, 0.05), (0.5, 0.1), (0.8, 0.05), (0.8, 0.1))  # of those that have peers or a teacher: alpha and rate
T = 1.0  # the paper's


def run(study: Study, log: Callable[[str], None]) -> Findings:
    cohorts = COHORTS[:1] if study.quick else COHORTS
    trainer = CohortTrainer.of(study, HIDDEN, EPOCHS)
    with on_all_cores(trainer) as run:

        def tested(kind: Callable[..., Any], *settings: Any) -> list[float]:
            return run((Trainer.measured, "test", kind, seed, *settings) for seed in study.seeds)

        log("choosing how networks learn alone, from a teacher and from peers ...")
        rate = chosen(run, RATES, Trainer.alone)
        taught = chosen(run, TRIALS, CohortTrainer.by_teacher, rate)
        together = chosen(run, TRIALS, CohortTrainer.by_peers, cohorts[0])
        log(f"training cohorts of {' and '.join(map(str, cohorts))}, {len(study.seeds)} times ...")
        found = Outcome(
            alone=tested(CohortTrainer.by_labels, rate),
            taught=tested(CohortTrainer.by_teacher, taught, rate),
            together={size: tested(CohortTrainer.by_peers, together, size) for size in cohorts},
        )
    settings = {
        "network": HIDDEN, "images": len(trainer.data), "epochs": trainer.epochs, "temperature": T, "rate_alone": rate,
        "taught": taught, "together": together, "seeds": study.seeds,
    }  # fmt: skip
    return _claims(found), [_panel(found)], settings


@dataclass(frozen=True)
class Outcome:
    """Accuracies on the test images, in percent, one a seed."""

    alone: list[float]
    taught: list[float]              # by a network like it, trained beforehand
    together: dict[int, list[float]]  # by the number of peers, the mean over them


class CohortTrainer(Trainer):
    """Networks alone, with a trained teacher, and with peers."""

    def by_labels(self, seed: int, rate: float) -> MLP:
        return self.alone(_seed_of_peer(seed, 0), rate)

    def by_teacher(self, seed: int, trial: tuple[float, float], rate_alone: float) -> MLP:
        """By a network that differs in its first weights, trained before."""
        answers = self.alone(_seed_of_peer(seed, 1), rate_alone).logits(self.data.x)        # (N,C)
        return self.distilled(answers, _seed_of_peer(seed, 0), T, *trial)

    def by_peers(self, seed: int, trial: tuple[float, float], size: int) -> list[MLP]:
        alpha, rate = trial
        networks = [self.network(_seed_of_peer(seed, k)) for k in range(size)]
        mutual_learning(networks, self.data, SoftTarget(T, alpha), **self.budget(rate).options(seed))
        return networks


def _seed_of_peer(seed: int, k: int) -> int:
    """No two cohorts have a peer in common."""
    return seed * max(COHORTS) + k


def _claims(found: Outcome) -> list[Claim]:
    fewest, size = min(found.together), max(found.together)
    pair, most = found.together[fewest], found.together[size]
    return [
        above_zero("gain_2_peers_over_alone", "points of two peers over one alone", differences(pair, found.alone), 2),
        above_zero("gain_2_peers_over_teacher", "points of two peers over one with a trained teacher",
                   differences(pair, found.taught), 2),
        above_zero(f"gain_{size}_peers_over_2", f"points of {size} peers over two", differences(most, pair), 2),
    ]  # fmt: skip


def _panel(found: Outcome) -> Panel:
    peers = {f"{size} peers": figures for size, figures in found.together.items()}
    values = {"alone": found.alone, "taught by one like it": found.taught, **peers}
    return bars(f"Fashion-MNIST, {HIDDEN[0]} hidden units", ACCURACY, values)
