# SPDX-License-Identifier: MIT
"""Distillation: how a student learns from a teacher, and from which.

    student          distill(): the student trains on the teacher's softened outputs
    soft_targets     SoftTargets: the teacher's logits, kept with the rows that they belong to
    teachers         models of any kind as teachers
    teacher_checks   warnings about unsuitable teachers
    ensembles        teachers made of teachers
    chains           each student is the teacher of the next one
    mutual           networks that train together, without a teacher
    standardized     training on standardized rows, for a teacher of raw rows
    unlabeled        rows that only the teacher labels, and rows synthesized from it
"""

from .soft_targets import SoftTargets
from .student import distill

__all__ = ["SoftTargets", "distill"]
