# SPDX-License-Identifier: MIT
"""Losses, one distillation method a file: its derivation in brief, its value and its gradient.

A loss is a small frozen dataclass. Called with the student's logits s (B,C), the teacher's logits t (B,C) or None, and
the labels y (B,) or None, it returns its value and ds (B,C), the gradient for the student. Read them in this order:

    cross_entropy   labels only: the loss of a network that learns alone
    soft_target     labels and the teacher's softened probabilities (Hinton, Vinyals and Dean 2015)
    top_k           the same, of the teacher's k likeliest classes and all others as one

Losses of hidden activations are called with Outputs s and t, and return their gradient in that form. Read `features`
first, which says what they share:

    hint            a regression onto the teacher's hidden layer (Romero et al. 2015)
    variational     VID: the same, with a variance of each unit that is learnt as well (Ahn et al. 2019)
    contrastive     CRD: to tell a sample's own teacher from the others' (Tian, Krishnan and Isola 2020)
    relational      RKD: the distances and angles between samples (Park et al. 2019)
    similarity      scalar products of samples (Tung and Mori 2019)
    probabilistic   PKT: which samples are neighbours, as probabilities (Passalis and Tefas 2018)
    correlation     a Gaussian kernel of all pairs of samples (Peng et al. 2019)
"""

from .base import Loss
from .contrastive import ContrastiveRepresentation
from .correlation import CorrelationCongruence
from .cross_entropy import CrossEntropy
from .features import FeatureLoss
from .hint import Hint
from .probabilistic import ProbabilisticTransfer
from .relational import RelationalAngle, RelationalDistance
from .similarity import SimilarityPreserving
from .soft_target import SoftTarget
from .top_k import TopK, TopKTarget
from .variational import VariationalInformation

__all__ = [
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "CrossEntropy",
    "FeatureLoss",
    "Hint",
    "Loss",
    "ProbabilisticTransfer",
    "RelationalAngle",
    "RelationalDistance",
    "SimilarityPreserving",
    "SoftTarget",
    "TopK",
    "TopKTarget",
    "VariationalInformation",
]
