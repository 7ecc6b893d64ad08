# SPDX-License-Identifier: MIT
"""Malformed calls of the command line, made from right ones, from a fixed seed.

A call may succeed, or be refused with status 2 and a last line that begins with the name of the command. A fault is any
exception, a file that was both read and written, and a temporary file that is left behind. Run as a script for more:

    PYTHONPATH=. python tests/stress/malformed_calls.py [COUNT [SEED]]
"""

import contextlib
import io
import os
import shlex
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from minidistill import MLP, quantize
from minidistill.cli import main
from minidistill.export import to_c

TRAINING = "--epochs 1 --hidden 4 --batch-size 20 --dropout 0.1 --seed 1 --validation 0.2 --patience 2"
CALLS = [  # each of them right, and done in a moment
    f"train t.csv --out new.npz {TRAINING} --learning-rate 0.1 --label-noise 0.1 --checkpoint run.npz --classes 3",
    "train s.npz --out new.npz --epochs 1 --max-shift 1 --mixup 0.2 --optimizer adam --activation gelu --json",
    f"distill t.csv --teacher n.npz m.npz --out new.npz --temperature 2 --alpha 0.3 {TRAINING}",
    "distill t.csv --label 1 --teacher one.npz --out new.npz --epochs 1",
    "evaluate n.npz t.csv --teacher m.npz --label label --json",
    "evaluate q.npz d.npz --backend numpy",
    "predict n.npz t.csv --label -1 --proba --temperature 2 --out p.csv",
    "predict q.npz d.npz --json --out p.npz",
    "export n.npz --out new.c --name net",
    "export q.npz --out new.txt --format c",
    "export n.npz --out new.onnx",
    "export n.npz --out new.safetensors",
    "import n.onnx --out new.npz --dtype float64",
    "import n.safetensors --out new.npz --activation relu --format safetensors",
    "gate n.npz d.npz t.csv --label -1 --teacher m.npz --state g.npz --min-agreement 0.5 --sample-rate 0.5 --horizon 9",
    "gate q.npz d.npz --teacher m.npz --state g.npz --reference t.csv --label -1 --tolerance 0.9 --false-alarms 0.1",
    "sweep t.csv --teacher n.npz --temperatures 1,2 --widths 4 --num-seeds 1 --epochs 1 --executor processes:0",
    "sweep d.npz --teacher n.npz --layers 1 --results r.jsonl --figure f.png --executor dask://127.0.0.1:1 --epochs 1",
    "info --json",
]
SLOW = [  # refused by their last option, since they would run for long
    "demo --num-seeds 1 --seed 1 --json",
    "reproduce few-labels --quick --held-out --num-seeds 1",
    "leaderboard digits --quick --num-seeds 1",
    "bench --quick",
    "compress t.csv --teacher n.npz --hidden 4 --rows 30 --test 0.3 --price 1 --epochs 2 --num-seeds 1",
]
WORDS = [
    "", " ", "-", "--", "0", "-1", "-0", "1", "2", "1.5", "nan", "-nan", "inf", "-inf", "1e309", "1e-320", "abc",
    "1,2", "1,,2", ",", "99999999999999999999", "9" * 5000, "0x10", "1_0", "\uff11", "\u00b2", "\u00e9\u4e2d",
    "\ud800", "a\x00b", "a\nb", "%s", "%", "{}", "none", "auto", "cuda", "numpy", "cpu", "-1.npz", "@t.csv",
    "x" * 300, ".", "..", "/", "~", "/dev/null", "/dev/full", "/proc/self/mem", "nowhere", "nowhere/x.npz", "t.csv",
    "n.npz", "one.npz", "m.npz", "q.npz", "d.npz", "s.npz", "n.onnx", "n.c", "empty", "folder", "folder/",
    "garbage.npz", "text.npz", "single.npy", "names.csv", "ragged.csv", "nan.csv", "huge.csv", "loop", "dangling",
    "link.csv", "digits", "--help", "--version", "--json", "--out", "--teacher", "--label", "--nonsense",
    "--epochs=0", "--out=t.csv", "--label=7", "processes:1x", "dask://", "tanh",
]  # fmt: skip


def make_files(folder):
    """Files that the calls name, and files of the wrong kind or with wrong content."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((60, 3)), np.arange(60) % 3
    np.savetxt(folder / "t.csv", np.column_stack([x, y]), delimiter=",", header="a,b,c,label", comments="")
    np.savez(folder / "d.npz", x=x, y=y)
    np.savez(folder / "s.npz", x=random.random((60, 9)), y=y)
    MLP((3, 4, 3)).save(folder / "n.npz")
    MLP((3, 5, 3), seed=1).save(folder / "m.npz")
    MLP((4, 2)).save(folder / "one.npz")
    quantize(MLP((3, 4, 3)), x).save(folder / "q.npz")
    to_c(MLP((3, 4, 3)), folder / "n.c")
    with contextlib.suppress(ImportError):
        from minidistill.export import to_onnx, to_safetensors

        to_onnx(MLP((3, 4, 3)), folder / "n.onnx")
        to_safetensors(MLP((3, 4, 3)), folder / "n.safetensors")
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "garbage.npz").write_bytes(b"PK" + random.bytes(500))
    (folder / "text.npz").write_text("not an archive\n")
    np.save(folder / "single.npy", x)
    (folder / "names.csv").write_text("a,b,label\n1,2,cat\n3,4,dog\n")
    (folder / "ragged.csv").write_text("1,2,0\n3,1\n")
    (folder / "nan.csv").write_text("1,2,3,0\nnan,2,3,1\n")
    (folder / "huge.csv").write_text("1e30,2,3,0\n-1e30,2,3,2000000000\n1,1,1,1\n")
    (folder / "link.csv").symlink_to("t.csv")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("new.npz")


def malformed(random):
    """A call with one or two changes: a word replaced, inserted, left out, moved or doubled."""
    slow = random.random() < 0.15
    call = shlex.split(random.choice(SLOW if slow else CALLS))
    for _ in range(random.integers(1, 3)):
        place, word = random.integers(len(call)), WORDS[random.integers(len(WORDS))]
        match random.integers(6):
            case 0 | 1:
                call[place] = word
            case 2:
                call.insert(place + 1, word)
            case 3:
                call.insert(place, call[random.integers(len(call))])
            case 4 if len(call) > 1:
                del call[place]
            case _:
                other = random.integers(len(call))
                call[place], call[other] = call[other], call[place]
    return [*call, "--figure", "nowhere/x.png"] if slow else call


def make_malformed_calls(count, seed=0):
    """(Counter of outcomes, faults)."""
    outcomes, faults, before = Counter(), [], os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        inputs = contents(folder)
        os.chdir(folder)
        try:
            for number in range(count):
                call = malformed(np.random.default_rng([seed, number]))
                outcome = outcome_of(call)
                after = contents(folder)
                changed = [path for path, content in inputs.items() if after.get(path) != content]
                overwritten = [path for path in changed if named(call).count(path) > 1]  # read and written
                left = [path for path in after if ".part" in path]
                if overwritten or left:
                    outcome = f"overwritten {overwritten}, left {left}"
                outcomes[outcome if outcome in GOOD else "fault"] += 1
                if outcome not in GOOD:
                    faults.append(f"number {number} of seed {seed}, {call}: {outcome}")
                for path in after.keys() - inputs.keys():
                    (folder / path).unlink()
                for path in changed:
                    (folder / path).write_bytes(inputs[path])
        finally:
            os.chdir(before)
    return outcomes, faults


GOOD = ("done", "refused")


def named(call):
    """The files in the folder that the words of a call name, directly, through a link, or as --option=file."""
    words = (word.partition("=")[2] if word.startswith("--") else word for word in call)
    return [os.path.basename(os.path.realpath(word)) for word in words if "\0" not in word]


def outcome_of(call):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            status = main(call)
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        out.flush()
        err.flush()
    said = err.buffer.getvalue().decode().splitlines()
    if status in (0, 3, None):
        return "done"
    if status != 2 or not said or not said[-1].startswith("minidistill"):
        return f"status {status}, said {said}"
    return "refused"


def contents(folder):
    """{path: bytes} of all regular files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.is_symlink()}


if __name__ == "__main__":
    found, faults = make_malformed_calls(*map(int, sys.argv[1:] or ["1000"]))
    print(dict(found), *faults, sep="\n")
    sys.exit(bool(faults))
