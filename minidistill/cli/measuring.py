# SPDX-License-Identifier: MIT
"""Commands that apply and measure saved networks: evaluate, predict, compress and gate."""

import argparse
import sys

from .options import COUNT, MODEL_HELP, Option, column, command, number, widths
from .printing import log, print_report, print_result
from .reading import as_one, read_data, read_network, read_teachers

ALARM = 3  # the exit status of a gate that has raised an alarm


@command("measure a network, compared with its teacher or alone", """\
Accuracy, agreement with the teacher, calibration, size, multiply-adds, latency and throughput. Use data that the
network was not trained on; of digits, mnist and fashion-mnist, the test images are taken.""",
    Option("model", help=MODEL_HELP),
    *Option.data(),
    Option.teachers(required=False),
)  # fmt: skip
def evaluate(options: argparse.Namespace) -> None:
    from ..training.evaluation import Report, compare, measure

    model = read_network("model", options.model)
    teachers = read_teachers(options.teacher) if options.teacher else []
    data = read_data("data", options.data, options.label, {"model": model, "--teacher": teachers})[1]
    if teachers:
        report = compare(as_one(teachers), {"student": model}, data)
    else:
        report = Report([measure("network", model, data)])
    print_report(options, report)


@command("label rows with a saved network", """\
Prints one label per line, or with --proba the probabilities of the classes. Of digits, mnist and fashion-mnist, the
test images are taken.""",
    Option("model", help=MODEL_HELP),
    *Option.data(label=None),
    Option("--proba", action="store_true", help="probabilities instead of labels"),
    Option("--temperature", type=number("[1e-6, inf)"), default=1.0, metavar="T", help="softens them (default 1)"),
    Option("--out", metavar="FILE", help="write to a .csv, or to an .npz with labels and probabilities"),
)  # fmt: skip
def predict(options: argparse.Namespace) -> None:
    import numpy as np

    from ..support.files import replacing

    model = read_network("model", options.model)
    x = read_data("data", options.data, options.label, {"model": model})[1].x
    probabilities = model.predict_proba(x, options.temperature)                 # (N,C)
    labels = probabilities.argmax(axis=1)                                       # (N,)
    shown, form = (probabilities, "%.6g") if options.proba else (labels, "%d")
    if options.out is not None:
        with replacing(options.out) as stream:
            if options.out.endswith(".npz"):
                np.savez(stream, labels=labels, probabilities=probabilities)
            else:
                np.savetxt(stream, shown, form, delimiter=",")
        log(f"saved {options.out}")
    if options.json:
        optional = {"probabilities": probabilities.tolist()} if options.proba else {}
        print_result(options, {"labels": labels.tolist(), **optional}, "")
    elif options.out is None:
        np.savetxt(sys.stdout, shown, form, delimiter=",")


@command("compare pruned and quantized forms of a student", """\
The student learns from labels alone, and distilled; the distilled one is then pruned to half of its units, and
quantized to eight bits, with and without fine-tuning; the teacher is quantized too, where it is a single network. The
table has accuracy, agreement, calibration, bytes, multiply-adds, latency and throughput of one core, and the cost of a
million predictions. Of a file's rows a part is held out for it; of digits, mnist and fashion-mnist it is measured on
the test images.""",
    *Option.data(),
    Option.teachers(),
    Option("--hidden", type=widths, default=(32,), metavar="N[,N...]", help="of the student (default 32)"),
    Option("--rows", type=COUNT, metavar="N", help="learn from so many rows (default: all)"),
    Option("--test", type=number("(0, 1)"), default=0.2, metavar="FRACTION", help="of a file's rows (default 0.2)"),
    Option("--epochs", type=COUNT, default=100, metavar="N", help="of the first training (default 100)"),
    Option("--batch-size", type=COUNT, default=32, metavar="N", help="rows per step (default 32)"),
    Option.num_seeds("students of each form (default 3)", 3),
    Option.seed("of the first student"),
    Option("--price", type=number("[0, inf)"), default=0.05, metavar="P", help="of a core-hour (default 0.05)"),
    Option.figure("draw accuracy by latency"),
)  # fmt: skip
def compress(options: argparse.Namespace) -> None:
    from ..deployment.compression import compress as run_compression
    from ..distillation.standardized import Standardization

    networks = read_teachers(options.teacher)
    data, test = read_data("data", options.data, options.label, {"--teacher": networks})
    if data is test:  # one file
        test, data = data.split(options.test, seed=options.seed)
    if options.rows is not None:
        data = data.take(min(options.rows, len(data)), seed=options.seed)
    standardization = Standardization.of(data)
    for network in networks:
        standardization.fold_inverse_into(network)
    found = run_compression(
        as_one(networks), standardization.apply(data), standardization.apply(test), options.hidden,
        epochs=options.epochs, batch_size=options.batch_size, seeds=options.num_seeds, seed=options.seed,
        price=options.price, log=log,
    )  # fmt: skip
    print_report(options, found)


@command("test whether a student still agrees with its teacher", """\
The teacher predicts a fraction of the rows too; no labels are needed. The state file holds the counts so far: give each
batch once, in the order in which it came, and repeat the options. A line is printed for each batch that the file has
taken in, with the agreement in it, an interval for the agreement so far and the verdict: ok; warning, where there is
some evidence that agreement is below --min-agreement; alarm, where there is enough. An alarm stays.

Exit status: 0 for ok and warning, 3 for alarm, 2 for errors in the options or the files.""",
    Option("student", help=MODEL_HELP),
    Option("batches", nargs="+", metavar="BATCH", help="rows as they came, in CSV or NPZ files"),
    Option("--teacher", required=True, action="append", metavar="FILE",
           help="a saved network; given several times, their mean probability"),
    Option("--state", required=True, metavar="FILE", help="where the gate is kept, an .npz file"),
    Option("--min-agreement", "--promised", type=number("(0, 1)"), metavar="P",
           help="the smallest acceptable agreement, between 0 and 1"),
    Option("--reference", metavar="DATA",
           help="instead: rows that neither was trained on; --min-agreement is what they prove minus --tolerance"),
    Option("--tolerance", "--drop", type=number("[0, 1)"), default=0.01, metavar="D",
           help="the loss of agreement tolerated (default 0.01)"),
    Option("--sample-rate", "--share", type=number("(0, 1]"), default=0.05, metavar="R",
           help="fraction of the rows that the teacher predicts too (default 0.05)"),
    Option("--false-alarms", type=number("(0, 1)"), default=0.05, metavar="A",
           help="probability of an alarm within --horizon while agreement is at least --min-agreement (default 0.05)"),
    Option("--horizon", type=COUNT, default=100_000, metavar="N", help="rows (default 100000)"),
    Option.seed("of which rows the teacher predicts too"),
    Option("--label", type=column, default=None, metavar="COLUMN",
           help="the column of a CSV to leave aside, by name or number (default: none)"),
)  # fmt: skip
def gate(options: argparse.Namespace) -> int:
    from ..deployment.gate import QualityGate, promise
    from ..deployment.pair import Pair

    if (options.min_agreement is None) == (options.reference is None):
        raise ValueError("give either --min-agreement or --reference")
    student, teachers = read_network("student", options.student), read_teachers(options.teacher)
    teacher, models = as_one(teachers), {"student": student, "--teacher": teachers}
    least = options.min_agreement
    if least is None:
        reference = read_data("--reference", options.reference, options.label, models)[1]
        least = promise(Pair(student, teacher), reference, options.tolerance, 0.05)
    state = QualityGate(
        student, teacher, least, options.sample_rate, false_alarm_rate=options.false_alarms, horizon=options.horizon,
        seed=options.seed, file=options.state,
    )  # fmt: skip
    log(f"promised agreement {least:.2%}; {state.n_sampled} of {state.n_seen} inputs watched before")
    batches = []
    for name in options.batches:
        seen = state.update(read_data("batch", name, options.label, models)[1].x)
        low, high = seen.interval
        batches.append({
            "batch": name, "inputs": len(seen.labels), "watched": seen.n_sampled, "agreed": seen.n_agreed,
            "interval": [low, high], "verdict": seen.verdict,
        })  # fmt: skip
        if not options.json:  # a line states that the batch is counted, and kept in the file
            agreed = f"{seen.n_agreed} of {seen.n_sampled} watched agree"
            print(f"{name}: {agreed}; so far between {low:.2%} and {high:.2%}: {seen.verdict}", flush=True)
    if options.json:
        print_result(options, {"promised": least, "batches": batches, "verdict": state.verdict}, "")
    if state.alarm_index is not None:
        log(f"alarm since input {state.alarm_index + 1} of {state.n_seen}: agreement is below the promised {least:.2%}")
        return ALARM
    return 0
