# SPDX-License-Identifier: MIT
"""Commands that train: train, distill and sweep. Rows are standardized; saved networks take them as they come."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from .options import COUNT, NATURAL, TEMPERATURES, Option, command, number, numbers, widths
from .printing import log, print_report, print_result
from .reading import as_one, read_data, read_teachers

if TYPE_CHECKING:
    from ..data import Dataset
    from ..training.optim import Optimizer


FITTING = (  # of train, distill and sweep
    Option("--activation", default="relu", choices=("relu", "tanh", "gelu")),
    Option("--dropout", type=number("[0, 1)"), default=0.0, metavar="P",
           help="share of hidden activations left out in training"),
    Option("--epochs", type=COUNT, default=50, metavar="N", help="passes over the data (default 50)"),
    Option("--batch-size", type=COUNT, default=32, metavar="B", help="rows per step, at most all (default 32)"),
    Option("--optimizer", default="sgd", choices=("sgd", "adam")),
    Option("--learning-rate", type=number("(0, inf)"), metavar="R",
           help="falls along a cosine (default 0.1, with adam 0.003)"),
    Option("--validation", type=number("[0, 1)"), default=0.2, metavar="FRACTION",
           help="of the rows, held out as validation rows; 0 for none (default 0.2)"),
    Option("--patience", type=COUNT, metavar="N", help="stop after N epochs that were no better, and keep the best"),
    Option.seed("of weights, order, split and noise"),
)  # fmt: skip
TRAINING = (  # of train and distill
    Option("--out", required=True, metavar="FILE", help="where the network goes, an .npz file"),
    Option("--hidden", type=widths, default=(64,), metavar="W,W,...", help="widths of the hidden layers (default 64)"),
    *FITTING,
    Option("--max-shift", "--jitter", type=NATURAL, default=0, metavar="K",
           help="move each row, a square image, by up to K pixels, anew each epoch; the teacher is evaluated on the "
                "moved rows"),
    Option("--mixup", type=number("(0, inf)"), metavar="ALPHA",
           help="mix each row, and its label, with another row, anew each epoch: try 0.2"),
    Option("--label-noise", type=number("[0, 1]"), default=0.0, metavar="FRACTION",
           help="of the labels to train on, replaced once by other classes, to see what that does"),
    Option("--checkpoint", metavar="FILE",
           help="written after each epoch; where it is there already, the same command resumes from it"),
)  # fmt: skip


@command("train a network on labeled rows", """\
Columns are standardized; the saved network takes rows as they come all the same, for the scaling is folded into its
first layer. Ctrl-C keeps the best network so far.""",
    *Option.data(),
    Option("--classes", type=COUNT, metavar="C", help="number of classes, where the data lacks the last ones"),
    *TRAINING,
)  # fmt: skip
def train(options: argparse.Namespace) -> None:
    data = read_data("data", options.data, options.label)[0]
    if data.y is None:
        raise ValueError(f"{options.data} has no labels to learn from")
    if options.classes is not None and options.classes < data.classes:
        raise ValueError(f"--classes must be at least the {data.classes} that the labels need, got {options.classes}")
    _train_and_save(options, data, max(2, options.classes or data.classes))


@command("train a student on a teacher's softened outputs", """\
The student minimizes (1 - alpha) CE(s, y) + alpha T^2 KL(softmax(t/T) || softmax(s/T)), where s and t are the
student's and the teacher's logits and y the labels. A larger T gives more weight to the teacher's probabilities of the
wrong classes; try 2 to 8, and compare on validation data. Distilling pays where labels are few or noisy and the student
has spare capacity. With --alpha 1 no labels are needed (--label none).""",
    *Option.data(),
    Option.teachers(),
    Option("--temperature", type=number(TEMPERATURES), default=4.0, metavar="T", help="softens both sides (default 4)"),
    Option("--alpha", type=number("[0, 1]"), default=0.5, metavar="A", help="the teacher's weight (default 0.5)"),
    *TRAINING,
)  # fmt: skip
def distill(options: argparse.Namespace) -> None:
    from ..losses import SoftTarget

    teachers = read_teachers(options.teacher)
    loss = SoftTarget(options.temperature, options.alpha)
    data = read_data("data", options.data, options.label, {"--teacher": teachers})[0]
    _train_and_save(options, data, teachers[0].sizes[-1], as_one(teachers), loss)


@command("try temperatures, weights of the teacher and widths, over seeds", """\
Distills a student for each of them and for each seed, on all cores, and prints mean and standard deviation. They are
compared on validation rows alone, held out of the data. Choose one by them, then distill it and evaluate it on test
data, once.""",
    *Option.data(),
    Option.teachers(),
    Option("--temperatures", type=numbers(TEMPERATURES), default=(1, 2, 4, 8), metavar="T,T,...",
           help="default 1,2,4,8"),
    Option("--alphas", type=numbers("[0, 1]"), default=(0.5, 0.9), metavar="A,A,...",
           help="weights of the teacher (default 0.5,0.9)"),
    Option("--widths", type=widths, default=(32,), metavar="W,W,...",
           help="of students: a student for each, all its hidden layers of that width (default 32)"),
    Option("--layers", type=COUNT, default=1, metavar="N", help="hidden layers of a student (default 1)"),
    Option.num_seeds("students per point of the grid (default 3)", 3),
    Option("--executor", metavar="WHERE",
           help="processes:N, or dask://HOST:PORT for a Dask cluster (default: a process for each core)"),
    Option("--results", metavar="FILE",
           help="keeps finished students; the same command resumes from it when it was stopped"),
    Option.figure("draw the mean accuracies"),
    *FITTING,
)  # fmt: skip
def sweep(options: argparse.Namespace) -> None:
    from ..distillation.standardized import Standardization
    from ..experiments.sweep import sweep as run_sweep

    teachers = read_teachers(options.teacher)
    teacher, classes = as_one(teachers), teachers[0].sizes[-1]
    data = read_data("data", options.data, options.label, {"--teacher": teachers})[0]
    raw_training, raw_validation = _split(options, data)
    if raw_validation is None:
        raise ValueError("a sweep needs validation rows: labels, and --validation above 0")
    standardization = Standardization.of(raw_training)
    training, targets = standardization.with_targets(teacher, raw_training, classes)
    validation, validation_targets = standardization.with_targets(teacher, raw_validation, classes)
    found = run_sweep(
        targets, training, validation,
        temperatures=options.temperatures, alphas=options.alphas, widths=options.widths,
        seeds=range(options.seed, options.seed + options.num_seeds),
        hidden_layers=options.layers, activation=options.activation, dropout=options.dropout, epochs=options.epochs,
        batch_size=options.batch_size, optimizer=_optimizer(options), patience=options.patience,
        classes=classes, validation_targets=validation_targets,
        executor=options.executor, file=options.results, log=log,
    )  # fmt: skip
    print_report(options, found)


def _train_and_save(
    options: argparse.Namespace, data: "Dataset", classes: int, teacher: Any = None, loss: Any = None
) -> None:
    """Trains a network, saves it and prints the result; after Ctrl-C the best network so far is saved."""
    from ..data.augmentation import Augment, Mixup, RandomShift, with_label_noise
    from ..distillation.standardized import fit_standardized
    from ..network import MLP
    from ..training.history import History

    training, validation = _split(options, data)
    network = MLP((data.x.shape[1], *options.hidden, classes), options.activation, options.dropout, options.seed)
    if options.label_noise:
        training = with_label_noise(training, options.label_noise, options.seed, classes)
    augment: list[Augment] = [RandomShift(options.max_shift)] if options.max_shift else []
    if options.mixup is not None:
        augment.append(Mixup(classes, options.mixup))
    after_epochs: list[History] = []
    log(f"training {network} on {len(training)} rows ...")
    if options.checkpoint and os.path.exists(options.checkpoint):
        log(f"resuming from {options.checkpoint}")
    try:
        history = fit_standardized(
            network, training, teacher, loss, validation=validation, augment=augment, per_column=not options.max_shift,
            epochs=options.epochs, batch_size=options.batch_size, optimizer=_optimizer(options), seed=options.seed,
            patience=options.patience, checkpoint=options.checkpoint,
            callbacks=(lambda network, history: after_epochs.append(history),),
        )  # fmt: skip
    except KeyboardInterrupt:
        if after_epochs:
            network.save(options.out)
            log(f"stopped after {len(after_epochs[-1].epochs)} epochs; saved the best network to {options.out}")
        else:
            log("stopped before the first epoch was over; nothing was saved")
        raise
    network.save(options.out)
    last = history.epochs[-1]
    best = (history.best if options.patience is not None else None) or last
    result = {
        "network": repr(network), "out": options.out, "epochs": last.epoch, "loss": last.loss,
        "validation_accuracy": best.validation_accuracy, "validation_loss": best.validation_loss,
        "best_epoch": best.epoch, "seconds": float(history.column("seconds").sum()),
    }  # fmt: skip
    text = f"{last.epoch} epochs in {result['seconds']:.1f} s, training loss {last.loss:.4f}"
    if validation is not None:
        text += f", validation accuracy {best.validation_accuracy:.2%} (epoch {best.epoch})"
    print_result(options, result, f"{text}\nsaved {options.out}")


def _split(options: argparse.Namespace, data: "Dataset") -> tuple["Dataset", "Dataset | None"]:
    """Training rows and, unless they are switched off or the rows have no labels, validation rows."""
    share = options.validation
    return data.split(1 - share, seed=options.seed) if share > 0 and data.y is not None else (data, None)


def _optimizer(options: argparse.Namespace) -> "Optimizer":
    from ..training.optim import SGD, Adam
    from ..training.schedules import CosineSchedule

    if options.optimizer == "adam":
        return Adam(CosineSchedule(options.learning_rate or 0.003))
    return SGD(CosineSchedule(options.learning_rate or 0.1), clip_norm=1.0)  # a rare column, standardized, can be huge
