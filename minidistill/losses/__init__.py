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

from .base import Loss, LossLike, WeightedSum, as_loss, value_and_ds
from .cross_entropy import CrossEntropy
from .soft_target import SoftTarget
from .top_k import TopK, TopKTarget

METHODS = {  # name: file, imported when it is first asked for: all at once would make the import a third slower
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
    from .annealed import Annealed
    from .contrastive import ContrastiveRepresentation
    from .correlation import CorrelationCongruence
    from .decoupled import DecoupledKD
    from .dist import DIST
    from .divergences import JensenShannon, ReverseKL, SkewKL, SkewReverseKL, TotalVariation
    from .hint import Hint
    from .logit_matching import LogitMatching
    from .nkd import NKD
    from .probabilistic import ProbabilisticTransfer
    from .relational import RelationalAngle, RelationalDistance
    from .similarity import SimilarityPreserving
    from .standardized import StandardizedTarget
    from .variational import VariationalInformation
    from .virtual_teacher import VirtualTeacher
else:

    def __getattr__(name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{METHODS[name]}", __name__), name)


__all__ = [
    "DIST",
    "NKD",
    "Annealed",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "CrossEntropy",
    "DecoupledKD",
    "Hint",
    "JensenShannon",
    "LogitMatching",
    "Loss",
    "LossLike",
    "ProbabilisticTransfer",
    "RelationalAngle",
    "RelationalDistance",
    "ReverseKL",
    "SimilarityPreserving",
    "SkewKL",
    "SkewReverseKL",
    "SoftTarget",
    "StandardizedTarget",
    "TopK",
    "TopKTarget",
    "TotalVariation",
    "VariationalInformation",
    "VirtualTeacher",
    "WeightedSum",
    "as_loss",
    "value_and_ds",
]
