# SPDX-License-Identifier: MIT
"""minidistill: learn knowledge distillation by reading it.

Every gradient here is written and derived by hand. Read the source in this order; each file needs only those above it:

    ops            all the maths: each operation forward and, right under it, backward
    network        MLP: one flat parameter vector, layers are views of it
    losses/        one distillation method a file; begin with soft_target
    optim          SGD, Adam; learning-rate schedules
    training       fit(): the one training loop
    distillation   distill(): a teacher's softened outputs teach a student
    evaluation     compare(): what the student kept, and what it costs

Beside the path: data/ (digits, MNIST, your own), augmentation, checkpoint (go on after a kill), gradcheck (finite
differences), sweep (a grid of settings), plots, demo, cli; kernels/ (the same maths compiled), bench and peers (how
fast).
"""

from .augmentation import Jitter, LabelNoise, Mixup, with_label_noise
from .data import Dataset, digits, fashion_mnist, load_idx, load_table, mnist, spirals
from .distillation import SoftTargets, distill
from .evaluation import Report, compare
from .gradcheck import check_direction, check_gradient
from .kernels import use_backend
from .losses import (
    ContrastiveRepresentation,
    CorrelationCongruence,
    CrossEntropy,
    Hint,
    ProbabilisticTransfer,
    RelationalAngle,
    RelationalDistance,
    SimilarityPreserving,
    SoftTarget,
    TopK,
    TopKTarget,
    VariationalInformation,
)
from .network import MLP, Outputs
from .optim import SGD, Adam, AdamW, Constant, Cosine, Step, WarmUp
from .training import History, TrainingDiverged, fit

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "Cosine",
    "CrossEntropy",
    "Dataset",
    "Hint",
    "History",
    "Jitter",
    "LabelNoise",
    "Mixup",
    "Outputs",
    "ProbabilisticTransfer",
    "RelationalAngle",
    "RelationalDistance",
    "Report",
    "SimilarityPreserving",
    "SoftTarget",
    "SoftTargets",
    "Step",
    "TopK",
    "TopKTarget",
    "TrainingDiverged",
    "VariationalInformation",
    "WarmUp",
    "check_direction",
    "check_gradient",
    "compare",
    "digits",
    "distill",
    "fashion_mnist",
    "fit",
    "load_idx",
    "load_table",
    "mnist",
    "spirals",
    "use_backend",
    "with_label_noise",
]
