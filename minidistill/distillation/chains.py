# SPDX-License-Identifier: MIT
"""Chains of students: each student is the teacher of the next one."""

from collections.abc import Sequence
from typing import Any

from ..data import Dataset
from ..losses import LossLike
from ..network import MLP
from ..support.checks import check_options, check_whole
from ..training.history import History
from ..training.run import check_data
from .student import OPTIONS, distill


def teacher_assistant(
    teacher: Any, students: Sequence[MLP], data: Dataset, loss: LossLike | None = None, **options: Any
) -> list[History]:
    """A chain: `teacher` teaches the first of the `students`, that one the second, and so on; a History of each.

    A student far smaller than its teacher follows a teacher assistant of a size in between more easily (Mirzadeh et al.
    2020). The students are trained in place, from the largest to the smallest as a rule, the last one being what one
    wants. `loss` and `options` are those of `distill`, and each student has the same.
    """
    check_options("teacher_assistant", options, OPTIONS)
    students = check_networks("students", students, fewest=1)
    for student in students:  # what is wrong with the last one is told before the first one is trained
        if student is teacher:
            raise ValueError("students must be other networks than the teacher")
        check_data(student, data, options.get("validation"))
    if options.get("checkpoint") is not None:
        raise ValueError("checkpoint is the file of one run, a chain has several: distill() one by one takes one each")
    histories = []
    for student in students:
        histories.append(distill(teacher, student, data, loss, **options))
        teacher = student
    return histories


def born_again(first: MLP, data: Dataset, generations: int, loss: LossLike | None = None, **options: Any) -> list[MLP]:
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
    teacher_assistant(first, students, data, loss, **options)
    return students


def check_networks(name: str, networks: Sequence[MLP], fewest: int) -> list[MLP]:
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
