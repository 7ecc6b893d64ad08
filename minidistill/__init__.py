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
on after a kill), gradcheck (finite differences), check_loss and check_training (what is wrong with a loss or a training
loop of yours; mistakes and known_formulas are what they know), sweep (a grid of settings), prune (smaller networks from
trained ones), quantization (integer networks from trained ones), compression (what each of these keeps and costs),
serving/ (the teacher keeps watch over its student), export/ (to C and ONNX; from PyTorch and scikit-learn), reproduce/
(the papers' results, again), leaderboard/ (every method beside every other), course (what is wrong with an answer to an
exercise), plots, demo, cli; kernels/ (the same maths compiled), bench and peers (how fast).
"""

TYPE_CHECKING = False  # True to type checkers; typing itself is slow to import

PUBLIC = {  # file: its public names. The methods of losses/ are listed there, as METHODS
    "data.augmentation": ("RandomShift", "LabelNoise", "Mixup", "with_label_noise"),
    "deployment.compression": ("compress",),
    "data": ("Dataset", "digits", "fashion_mnist", "load_idx", "load_table", "mnist", "spirals"),
    "distillation.student": ("distill",),
    "training.evaluation": ("Report", "compare"),
    "diagnosis.gradcheck": ("check_direction", "check_gradient"),
    "diagnosis.check_loss": ("check_loss",),
    "kernels": ("use_backend",),
    "losses": ("CrossEntropy", "SoftTarget", "TopK", "TopKTarget", "WeightedSum"),
    "network": ("MLP", "Outputs"),
    "ops": (),
    "training.optim": ("SGD", "Adam", "AdamW", "Constant", "Cosine", "Linear", "Step", "WarmUp"),
    "deployment.prune": ("prune_weights", "remove_units"),
    "deployment.quantization": ("QuantizationAwareMLP", "QuantizedMLP", "quantize"),
    "diagnosis.check_training": ("check_training",),
    "distillation.schemes": ("Ensemble", "NoisyTeacher", "assist", "born_again", "data_impressions", "mutual",
                             "pseudo_label", "self_train"),
    "deployment": ("Cascade", "QualityGate"),
    "distillation.soft_targets": ("SoftTargets",),
    "training.loop": ("History", "TrainingDiverged", "fit"),
}  # fmt: skip
RENAMED = {  # old public name: new one
    "Jitter": "RandomShift",
    "StandardisedTarget": "StandardizedTarget",
    "pseudo_labelled": "pseudo_label",
}
FOLDERS = {file.split(".")[0] for file in PUBLIC}
FILES = {name: file for file, names in PUBLIC.items() for name in names}

if TYPE_CHECKING:
    from .data import Dataset, load_idx, load_table
    from .data.augmentation import LabelNoise, Mixup, RandomShift, with_label_noise
    from .data.digits import digits
    from .data.mnist import fashion_mnist, mnist
    from .data.spirals import spirals
    from .deployment import Cascade, QualityGate
    from .deployment.compression import compress
    from .deployment.prune import prune_weights, remove_units
    from .deployment.quantization import QuantizationAwareMLP, QuantizedMLP, quantize
    from .diagnosis.check_loss import check_loss
    from .diagnosis.check_training import check_training
    from .diagnosis.gradcheck import check_direction, check_gradient
    from .distillation.schemes import (
        Ensemble,
        NoisyTeacher,
        assist,
        born_again,
        data_impressions,
        mutual,
        pseudo_label,
        self_train,
    )
    from .distillation.soft_targets import SoftTargets
    from .distillation.student import distill
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
        StandardizedTarget,
        TopK,
        TopKTarget,
        TotalVariation,
        VariationalInformation,
        VirtualTeacher,
        WeightedSum,
    )
    from .network import MLP, Outputs
    from .training.evaluation import Report, compare
    from .training.loop import History, TrainingDiverged, fit
    from .training.optim import SGD, Adam, AdamW, Constant, Cosine, Linear, Step, WarmUp
else:

    def __getattr__(name: str) -> object:
        """A file or a public name, imported at its first use: the command line must handle Ctrl-C before all that."""
        from importlib import import_module

        if name in FOLDERS:
            return import_module(f".{name}", __name__)
        if name in RENAMED:
            from .support.deprecation import warn_renamed

            warn_renamed(f"minidistill.{name}", RENAMED[name])
            return __getattr__(RENAMED[name])
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{FILES.get(name, 'losses')}", __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *FOLDERS})


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
    "RandomShift",
    "RelationalAngle",
    "RelationalDistance",
    "Report",
    "ReverseKL",
    "SimilarityPreserving",
    "SkewKL",
    "SkewReverseKL",
    "SoftTarget",
    "SoftTargets",
    "StandardizedTarget",
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
    "pseudo_label",
    "quantize",
    "remove_units",
    "self_train",
    "spirals",
    "use_backend",
    "with_label_noise",
]
