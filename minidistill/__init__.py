# SPDX-License-Identifier: MIT
"""minidistill: learn knowledge distillation by reading it.

Every gradient here is written and derived by hand. Read the source in this order; each file needs only those above it:

    ops             all the maths: each operation forward and, right under it, backward
    network         MLP: one flat parameter vector, layers are views of it
    losses/         one distillation method per file; begin with soft_target
    training/       optim, one training step, the loop: fit(); evaluation: compare()
    distillation/   distill(): a student trains on a teacher's softened outputs; teachers, ensembles, chains

Beside the path, from the lowest layer to the highest:

    support/        checks of arguments, files, processes, figures, text
    kernels/        the same maths, compiled for CPU and GPU; its README says how to read it
    data/           Dataset, digits, spirals, MNIST, tables, augmentation
    diagnosis/      what is wrong with a loss, a gradient or a training loop
    deployment/     pruning, quantization, cascade, quality gate
    export/         to C, ONNX, safetensors and PyTorch, and back
    experiments/    demo, sweeps, the papers' results again, leaderboard, benchmarks
    cli/            the command line
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
    "training.optim": ("SGD", "Adam", "AdamW"),
    "training.schedules": ("ConstantSchedule", "CosineSchedule", "LinearSchedule", "StepSchedule", "WarmUp"),
    "deployment.prune": ("prune_weights", "remove_units"),
    "deployment.quantization": ("QuantizationAwareMLP", "QuantizedMLP", "quantize"),
    "diagnosis.check_training": ("check_training",),
    "distillation.chains": ("born_again", "teacher_assistant"),
    "distillation.ensembles": ("Ensemble", "NoisyTeacher"),
    "distillation.mutual": ("mutual_learning",),
    "distillation.unlabeled": ("data_impressions", "pseudo_label", "self_train"),
    "deployment": ("Cascade", "QualityGate"),
    "distillation.soft_targets": ("SoftTargets",),
    "training.history": ("History", "TrainingDiverged"),
    "training.loop": ("fit",),
}  # fmt: skip
RENAMED = {  # old public name: new one
    "Constant": "ConstantSchedule",
    "Cosine": "CosineSchedule",
    "Jitter": "RandomShift",
    "Linear": "LinearSchedule",
    "StandardisedTarget": "StandardizedTarget",
    "Step": "StepSchedule",
    "assist": "teacher_assistant",
    "mutual": "mutual_learning",
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
    from .distillation.chains import born_again, teacher_assistant
    from .distillation.ensembles import Ensemble, NoisyTeacher
    from .distillation.mutual import mutual_learning
    from .distillation.soft_targets import SoftTargets
    from .distillation.student import distill
    from .distillation.unlabeled import data_impressions, pseudo_label, self_train
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
    from .training.history import History, TrainingDiverged
    from .training.loop import fit
    from .training.optim import SGD, Adam, AdamW
    from .training.schedules import ConstantSchedule, CosineSchedule, LinearSchedule, StepSchedule, WarmUp
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
    "ConstantSchedule",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "CosineSchedule",
    "CrossEntropy",
    "Dataset",
    "DecoupledKD",
    "Ensemble",
    "Hint",
    "History",
    "JensenShannon",
    "LabelNoise",
    "LinearSchedule",
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
    "StepSchedule",
    "TopK",
    "TopKTarget",
    "TotalVariation",
    "TrainingDiverged",
    "VariationalInformation",
    "VirtualTeacher",
    "WarmUp",
    "WeightedSum",
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
    "mutual_learning",
    "prune_weights",
    "pseudo_label",
    "quantize",
    "remove_units",
    "self_train",
    "spirals",
    "teacher_assistant",
    "use_backend",
    "with_label_noise",
]
