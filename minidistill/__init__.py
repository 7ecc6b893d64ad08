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

Beside the path: teachers (models of any kind as teachers), teacher_checks (warnings about unsuitable ones), schemes
(ensembles, chains, mutual learning), data/ (digits, MNIST, your own), augmentation, checkpoint (go
on after a kill), gradcheck (finite differences), invariants and rehearsal (what is wrong with a loss or a training loop
of yours; mistakes and fingerprints are what they know), sweep (a grid of settings), prune (smaller networks from
trained ones), quantization (integer networks from trained ones), compression (what each of these keeps and costs),
serving/ (the teacher keeps watch over its student), export/ (to C and ONNX; from PyTorch and scikit-learn), reproduce/
(the papers' results, again), leaderboard/ (every method beside every other), course (what is wrong with an answer to an
exercise), plots, demo, cli; kernels/ (the same maths compiled), bench and peers (how fast).
"""

TYPE_CHECKING = False  # True to type checkers; typing itself is slow to import

PUBLIC = {  # file: its public names. The methods of losses/ are listed there, as METHODS
    "augmentation": ("Jitter", "LabelNoise", "Mixup", "with_label_noise"),
    "compression": ("compress",),
    "data": ("Dataset", "digits", "fashion_mnist", "load_idx", "load_table", "mnist", "spirals"),
    "distillation": ("distill",),
    "evaluation": ("Report", "compare"),
    "gradcheck": ("check_direction", "check_gradient"),
    "invariants": ("check_loss",),
    "kernels": ("use_backend",),
    "losses": ("CrossEntropy", "SoftTarget", "TopK", "TopKTarget", "WeightedSum"),
    "network": ("MLP", "Outputs"),
    "ops": (),
    "optim": ("SGD", "Adam", "AdamW", "Constant", "Cosine", "Linear", "Step", "WarmUp"),
    "prune": ("prune_weights", "remove_units"),
    "quantization": ("QuantizationAwareMLP", "QuantizedMLP", "quantize"),
    "rehearsal": ("check_training",),
    "schemes": ("Ensemble", "NoisyTeacher", "assist", "born_again", "data_impressions", "mutual", "pseudo_labelled",
                "self_train"),
    "serving": ("Cascade", "QualityGate"),
    "soft_targets": ("SoftTargets",),
    "training": ("History", "TrainingDiverged", "fit"),
}  # fmt: skip
FILES = {name: file for file, names in PUBLIC.items() for name in names}

if TYPE_CHECKING:
    from .augmentation import Jitter, LabelNoise, Mixup, with_label_noise
    from .compression import compress
    from .data import Dataset, load_idx, load_table
    from .data.digits import digits
    from .data.mnist import fashion_mnist, mnist
    from .data.spirals import spirals
    from .distillation import distill
    from .evaluation import Report, compare
    from .gradcheck import check_direction, check_gradient
    from .invariants import check_loss
    from .kernels import use_backend
    from .losses import (
        DIST,
        NKD,
        Annealed,
        ContrastiveRepresentation,
        CorrelationCongruence,
        CrossEntropy,
        DecoupledKD,
        Hint,
        JensenShannon,
        LogitMatching,
        ProbabilisticTransfer,
        RelationalAngle,
        RelationalDistance,
        ReverseKL,
        SimilarityPreserving,
        SkewKL,
        SkewReverseKL,
        SoftTarget,
        StandardisedTarget,
        TopK,
        TopKTarget,
        TotalVariation,
        VariationalInformation,
        VirtualTeacher,
        WeightedSum,
    )
    from .network import MLP, Outputs
    from .optim import SGD, Adam, AdamW, Constant, Cosine, Linear, Step, WarmUp
    from .prune import prune_weights, remove_units
    from .quantization import QuantizationAwareMLP, QuantizedMLP, quantize
    from .rehearsal import check_training
    from .schemes import (
        Ensemble,
        NoisyTeacher,
        assist,
        born_again,
        data_impressions,
        mutual,
        pseudo_labelled,
        self_train,
    )
    from .serving import Cascade, QualityGate
    from .soft_targets import SoftTargets
    from .training import History, TrainingDiverged, fit
else:

    def __getattr__(name: str) -> object:
        """A file or a public name, imported at its first use: the command line must handle Ctrl-C before all that."""
        from importlib import import_module

        if name in PUBLIC:
            return import_module(f".{name}", __name__)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{FILES.get(name, 'losses')}", __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *PUBLIC})


__version__ = "0.1.0"

__all__ = [
    "DIST",
    "MLP",
    "NKD",
    "SGD",
    "Adam",
    "AdamW",
    "Annealed",
    "Cascade",
    "Constant",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "Cosine",
    "CrossEntropy",
    "Dataset",
    "DecoupledKD",
    "Ensemble",
    "Hint",
    "History",
    "JensenShannon",
    "Jitter",
    "LabelNoise",
    "Linear",
    "LogitMatching",
    "Mixup",
    "NoisyTeacher",
    "Outputs",
    "ProbabilisticTransfer",
    "QualityGate",
    "QuantizationAwareMLP",
    "QuantizedMLP",
    "RelationalAngle",
    "RelationalDistance",
    "Report",
    "ReverseKL",
    "SimilarityPreserving",
    "SkewKL",
    "SkewReverseKL",
    "SoftTarget",
    "SoftTargets",
    "StandardisedTarget",
    "Step",
    "TopK",
    "TopKTarget",
    "TotalVariation",
    "TrainingDiverged",
    "VariationalInformation",
    "VirtualTeacher",
    "WarmUp",
    "WeightedSum",
    "assist",
    "born_again",
    "check_direction",
    "check_gradient",
    "check_loss",
    "check_training",
    "compare",
    "compress",
    "data_impressions",
    "digits",
    "distill",
    "fashion_mnist",
    "fit",
    "load_idx",
    "load_table",
    "mnist",
    "mutual",
    "prune_weights",
    "pseudo_labelled",
    "quantize",
    "remove_units",
    "self_train",
    "spirals",
    "use_backend",
    "with_label_noise",
]
