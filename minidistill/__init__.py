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

if TYPE_CHECKING:  # X as X: a name that users may import
    from .data import Dataset as Dataset, load_idx as load_idx, load_table as load_table
    from .data.augmentation import (
        LabelNoise as LabelNoise,
        Mixup as Mixup,
        RandomShift as RandomShift,
        with_label_noise as with_label_noise,
    )
    from .data.digits import digits as digits
    from .data.mnist import fashion_mnist as fashion_mnist, mnist as mnist
    from .data.spirals import spirals as spirals
    from .deployment import Cascade as Cascade, QualityGate as QualityGate
    from .deployment.compression import compress as compress
    from .deployment.prune import prune_weights as prune_weights, remove_units as remove_units
    from .deployment.quantization import (
        QuantizationAwareMLP as QuantizationAwareMLP,
        QuantizedMLP as QuantizedMLP,
        quantize as quantize,
    )
    from .diagnosis.check_loss import check_loss as check_loss
    from .diagnosis.check_training import check_training as check_training
    from .diagnosis.gradcheck import check_direction as check_direction, check_gradient as check_gradient
    from .distillation.chains import born_again as born_again, teacher_assistant as teacher_assistant
    from .distillation.ensembles import Ensemble as Ensemble, NoisyTeacher as NoisyTeacher
    from .distillation.mutual import mutual_learning as mutual_learning
    from .distillation.soft_targets import SoftTargets as SoftTargets
    from .distillation.student import distill as distill
    from .distillation.unlabeled import (
        data_impressions as data_impressions,
        pseudo_label as pseudo_label,
        self_train as self_train,
    )
    from .kernels import use_backend as use_backend
    from .losses import (
        DIST as DIST,
        NKD as NKD,
        Annealed as Annealed,
        ContrastiveRepresentation as ContrastiveRepresentation,
        CorrelationCongruence as CorrelationCongruence,
        CrossEntropy as CrossEntropy,
        DecoupledKD as DecoupledKD,
        Hint as Hint,
        JensenShannon as JensenShannon,
        LogitMatching as LogitMatching,
        ProbabilisticTransfer as ProbabilisticTransfer,
        RelationalAngle as RelationalAngle,
        RelationalDistance as RelationalDistance,
        ReverseKL as ReverseKL,
        SimilarityPreserving as SimilarityPreserving,
        SkewKL as SkewKL,
        SkewReverseKL as SkewReverseKL,
        SoftTarget as SoftTarget,
        StandardizedTarget as StandardizedTarget,
        TopK as TopK,
        TopKTarget as TopKTarget,
        TotalVariation as TotalVariation,
        VariationalInformation as VariationalInformation,
        VirtualTeacher as VirtualTeacher,
        WeightedSum as WeightedSum,
    )
    from .network import MLP as MLP, Outputs as Outputs
    from .training.evaluation import Report as Report, compare as compare
    from .training.history import History as History, TrainingDiverged as TrainingDiverged
    from .training.loop import fit as fit
    from .training.optim import SGD as SGD, Adam as Adam, AdamW as AdamW
    from .training.schedules import (
        ConstantSchedule as ConstantSchedule,
        CosineSchedule as CosineSchedule,
        LinearSchedule as LinearSchedule,
        StepSchedule as StepSchedule,
        WarmUp as WarmUp,
    )
else:

    def __getattr__(name: str) -> object:
        """A file or a public name, imported at its first use: the command line must handle Ctrl-C before all that."""
        from importlib import import_module

        if name in FOLDERS:
            return import_module(f".{name}", __name__)
        if name in FILES:
            return getattr(import_module(f".{FILES[name]}", __name__), name)
        if name in RENAMED:
            from .support.deprecation import warn_renamed

            warn_renamed(f"minidistill.{name}", RENAMED[name])
            return __getattr__(RENAMED[name])
        losses = import_module(".losses", __name__)
        if name == "__all__":
            return sorted({*FILES, *losses.METHODS})
        if name not in losses.METHODS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(losses, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__"), *FOLDERS})


__version__ = "0.1.0"
