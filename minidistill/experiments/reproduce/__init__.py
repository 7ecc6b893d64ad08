# SPDX-License-Identifier: MIT
"""The field's headline results, done again on real data: what a paper says beside what comes out here.

    claims         a claim, its figures, and whether it holds
    study          the data of an experiment, and how its networks are trained
    hinton_mnist   Hinton, Vinyals and Dean 2015, section 3: MNIST, and digits that a student never sees
    few_labels     what soft targets are worth where labels are few
    capacity       where distilling hurts, and where a student beats a teacher
    fidelity       Stanton et al. 2021: does the student agree with its teacher?
    assistant      Mirzadeh et al. 2020: a network of a size in between
    born_again     Furlanello et al. 2018: students as large as their teachers
    mutual         Zhang et al. 2018: networks that learn together
    deploy         no paper's: a student goes into production, and its teacher keeps watch

Of the 60,000 images to train on, 10,000 are held out to choose settings by; the test images are looked at once, at the
end. With `held_out` an experiment never sees the test images: the held-out ones take their place.
"""

import time
from collections.abc import Callable
from importlib import import_module

from ...support.checks import check_choice, check_whole
from .claims import Claim, Reproduction
from .study import Study

NAMES = ("hinton-mnist", "few-labels", "capacity", "fidelity", "assistant", "born-again", "mutual", "deploy")

__all__ = ["NAMES", "Claim", "Reproduction", "Study", "reproduce"]


def reproduce(
    name: str,
    seeds: int | None = None,
    quick: bool = False,
    held_out: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Runs one experiment of NAMES.

    seeds     students of each kind; what the experiment finds enough, unless given
    quick     a small version that takes under a minute: it shows that everything works, not that the claims hold
    held_out  measure on the images held out of training, and leave the test images alone: how settings are chosen
    log       receives a line per stage
    """
    check_choice("name", name, NAMES)
    experiment = import_module(f".{name.replace('-', '_')}", __package__)
    if seeds is None:
        seeds = 1 if quick else experiment.SEEDS
    check_whole("seeds", seeds)
    start = time.perf_counter()
    study = Study.of(experiment.DATA, seeds, quick, held_out)
    claims, panels, settings = experiment.run(study, log)
    options = f" --seeds {seeds}" + " --quick" * quick + " --held-out" * held_out
    command = f"minidistill reproduce {name}{options}"
    return Reproduction(name, experiment.SOURCE, command, claims, panels, settings, time.perf_counter() - start)
