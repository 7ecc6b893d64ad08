# SPDX-License-Identifier: MIT
"""Commands that run the experiments of the package: demo, reproduce, leaderboard and bench."""

import argparse

from .options import Option, command
from .printing import log, print_report, print_result


@command("train a teacher on real handwriting and distill it", """\
A student trains on 150 images, once on labels alone and once on the softened outputs of a teacher that was trained on
1,297. The hyperparameters are chosen on validation images; the table is of test images. It takes under half a
minute.""",
    Option.num_seeds("students to train (default 5)", 5),
    Option.seed("of teacher and first student"),
    Option.figure("the picture; '' for none (default %(default)s)", "minidistill-demo.png"),
)  # fmt: skip
def demo(options: argparse.Namespace) -> None:
    from ..experiments.demo import run_demo

    print_report(options, run_demo(options.num_seeds, options.seed, log=log))


@command("reproduce the field's headline results", """\
Prints the number in a paper and the one measured here, as mean and standard deviation over seeds, and whether the claim
holds.

  hinton-mnist  soft targets on MNIST, and digits that a student never sees (Hinton et al. 2015); half an hour
  few-labels    what a teacher is worth where labels are few (the same, section 6)
  capacity      where distilling hurts, and where a student beats its teacher (Cho and Hariharan 2019), Fashion-MNIST
  fidelity      does the student agree with its teacher? (Stanton et al. 2021)
  assistant     a network of a size in between, as the student's teacher (Mirzadeh et al. 2020), Fashion-MNIST
  born-again    students as large as their teachers (Furlanello et al. 2018), Fashion-MNIST
  mutual        networks that teach one another while they learn (Zhang et al. 2018), Fashion-MNIST
  deploy        no paper's: a student in production, with cascade and quality gate, Fashion-MNIST; or digits where that
                is not on this machine""",
    Option("name", metavar="NAME", help="one of those above"),
    Option("--quick", action="store_true", help="under a minute: shows that it works, not that claims hold"),
    Option.num_seeds("students of each kind (default: 3 to 5; with --quick 1)"),
    Option("--held-out", action="store_true",
           help="measure on images held out of training instead of the test images: to choose hyperparameters by"),
    Option.figure("the picture (default minidistill-NAME.png); '' for none", None),
)  # fmt: skip
def reproduce(options: argparse.Namespace) -> None:
    from ..experiments.reproduce import reproduce as run_experiment
    from ..support.files import check_place

    if options.figure is None:
        options.figure = f"minidistill-{options.name}.png"
        check_place("--figure", options.figure)
    found = run_experiment(options.name, options.num_seeds, options.quick, options.held_out, log=log)
    print_report(options, found)


@command("rank every method of the library", """\
Every loss and every scheme with the same teacher, student, budget and order of images, over several seeds: accuracy on
test images, the difference to soft targets, seed by seed, agreement with the teacher, seconds per run. Each method has
six trials on validation images. On two cores digits take about a minute, MNIST and Fashion-MNIST under ten each. With
--json a data set is an object on a line of its own.""",
    Option("names", nargs="*", metavar="DATA",
           help="digits, mnist, fashion-mnist: by default those that need no download"),
    Option("--quick", action="store_true", help="a fifth of the steps: shows that it works, not how methods rank"),
    Option.num_seeds("students of each method (default 5; with --quick 2)"),
    Option.figure("draw all students, one panel per data set"),
)  # fmt: skip
def leaderboard(options: argparse.Namespace) -> None:
    from ..experiments.leaderboard import NAMES, leaderboard as run_leaderboard, names_at_hand
    from ..support.checks import check_choice

    names = [check_choice("DATA", name, NAMES) for name in dict.fromkeys(options.names)] or names_at_hand(log)
    boards = []
    for name in names:
        boards.append(run_leaderboard(name, options.num_seeds, options.quick, log=log))
        print_result(options, boards[-1].to_dict(), f"{boards[-1]}\n")
    if options.figure:
        from ..experiments.leaderboard.board import leaderboard_figure

        leaderboard_figure(boards, options.figure)
        log(f"saved {options.figure}")


@command("measure its speed compared with other libraries", """\
Training steps, losses, predictions and matrix products, by minidistill, NumPy, PyTorch, JAX, scikit-learn and ONNX
Runtime, each where it is installed: the same work, compared before it is timed, in turns, on one thread and on all.
It takes about ten minutes, with --quick under one.""",
    Option("--quick", action="store_true", help="small cases, on one thread"),
    Option.figure("draw the training steps"),
)  # fmt: skip
def bench(options: argparse.Namespace) -> None:
    from ..experiments.bench import run_bench

    print_report(options, run_bench(options.quick, log=log))
