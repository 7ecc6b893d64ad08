# SPDX-License-Identifier: MIT
"""Losses, one distillation method a file: its derivation in brief, its value and its gradient.

A loss is a small frozen dataclass. Called with the student's logits s (B,C), the teacher's logits t (B,C) or None, and
the labels y (B,) or None, it returns its value and ds (B,C), the gradient for the student. Read them in this order:

    cross_entropy    labels only: the loss of a network that learns alone
    soft_target      labels and the teacher's softened probabilities (Hinton, Vinyals and Dean 2015)
    top_k            the same, of the teacher's k likeliest classes and all others as one

What else a student can be asked to do with the teacher's logits, from 2006 to today, and what each adds (derived in
docs/maths/logit_losses.md; each file needs only those above it):

    logit_matching   squared error of the logits, the limit of high temperature (Bucila 2006, Ba and Caruana 2014)
    virtual_teacher  a teacher made of the labels: how much of the gain needs no teacher (Yuan et al. 2020)
    decoupled        DKD: the label's class and the others weighed apart (Zhao et al. 2022)
    standardized     logits without their size, which a small student cannot reach (Sun et al. 2024)
    dist             DIST: correlation with the teacher, over classes and over samples (Huang et al. 2022)
    nkd              NKD: the cross-entropy split as DKD splits the KL (Yang et al. 2023)
    divergences      other measures than KL(p || q): reverse, skewed, Jensen-Shannon, total variation (2023 to 2024)

Losses of hidden activations are called with Outputs s and t, and return their gradient in that form (derived in
docs/maths/features.md; read features.py first, which says what they share):

    hint             a regression onto the teacher's hidden layer (Romero et al. 2015)
    variational      VID: the same, with a variance of each unit that is learned as well (Ahn et al. 2019)
    contrastive      CRD: to tell a sample's own teacher from the others' (Tian, Krishnan and Isola 2020)
    relational       RKD: the distances and angles between samples (Park et al. 2019)
    similarity       SP: scalar products of samples (Tung and Mori 2019)
    probabilistic    PKT: which samples are neighbors, as probabilities (Passalis and Tefas 2018)
    correlation      CCKD: a Gaussian kernel of all pairs of samples (Peng et al. 2019)

Beside them: base (how losses add up: 0.5 * SoftTarget(4.0, 1.0) + 0.1 * LogitMatching(1.0), and what they refuse),
labels_and_teacher (the labels' part, which most of the second list share) and annealed (a temperature or a weight that
goes with the progress of training).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import (
    Loss as Loss,
    LossLike as LossLike,
    WeightedSum as WeightedSum,
    as_loss as as_loss,
    value_and_ds as value_and_ds,
)
from .cross_entropy import CrossEntropy as CrossEntropy
from .soft_target import SoftTarget as SoftTarget
from .top_k import TopK as TopK, TopKTarget as TopKTarget

METHODS = {  # name: file, imported at its first use: all at once would make the import a third slower
    "LogitMatching": "logit_matching",
    "VirtualTeacher": "virtual_teacher",
    "DecoupledKD": "decoupled",
    "StandardizedTarget": "standardized",
    "DIST": "dist",
    "NKD": "nkd",
    "ReverseKL": "divergences",
    "SkewKL": "divergences",
    "SkewReverseKL": "divergences",
    "JensenShannon": "divergences",
    "TotalVariation": "divergences",
    "Annealed": "annealed",
    "Hint": "hint",
    "VariationalInformation": "variational",
    "ContrastiveRepresentation": "contrastive",
    "RelationalDistance": "relational",
    "RelationalAngle": "relational",
    "SimilarityPreserving": "similarity",
    "ProbabilisticTransfer": "probabilistic",
    "CorrelationCongruence": "correlation",
}

if TYPE_CHECKING:
    from .annealed import Annealed as Annealed
    from .contrastive import ContrastiveRepresentation as ContrastiveRepresentation
    from .correlation import CorrelationCongruence as CorrelationCongruence
    from .decoupled import DecoupledKD as DecoupledKD
    from .dist import DIST as DIST
    from .divergences import (
        JensenShannon as JensenShannon,
        ReverseKL as ReverseKL,
        SkewKL as SkewKL,
        SkewReverseKL as SkewReverseKL,
        TotalVariation as TotalVariation,
    )
    from .hint import Hint as Hint
    from .logit_matching import LogitMatching as LogitMatching
    from .nkd import NKD as NKD
    from .probabilistic import ProbabilisticTransfer as ProbabilisticTransfer
    from .relational import RelationalAngle as RelationalAngle, RelationalDistance as RelationalDistance
    from .similarity import SimilarityPreserving as SimilarityPreserving
    from .standardized import StandardizedTarget as StandardizedTarget
    from .variational import VariationalInformation as VariationalInformation
    from .virtual_teacher import VirtualTeacher as VirtualTeacher
else:

    def __getattr__(name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{METHODS[name]}", __name__), name)

    __all__ = ["CrossEntropy", "Loss", "LossLike", "SoftTarget", "TopK", "TopKTarget", "WeightedSum", "as_loss",
               "value_and_ds", *METHODS]  # fmt: skip
