# SPDX-License-Identifier: MIT
"""Options: their help, their former spellings, JSON, and one line for each mistake."""

import json
import os

import pytest

from minidistill.cli import command_parser, main


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_json_is_one_object_and_nothing_else(command, teacher, table, capsys):
    more = {"train": [table, "--out", "x.npz", "--validation", "0"], "evaluate": [teacher, table],
            "predict": [teacher, table, "--label", "cloud"]}[command]
    assert main([command, *more, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_help_teaches(capsys):
    for command in ("demo", "train", "distill", "sweep", "evaluate", "predict", "export", "import", "leaderboard"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert len(said) > 400
        assert command in ("demo", "export", "import") or "fashion-mnist" in said


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        (["train", "t.csv", "--out", "x.npz"], ["--jitter", "2"], ["--max-shift", "2"]),
        (["demo"], ["--seeds", "2"], ["--num-seeds", "2"]),
        (["gate", "s", "b", "--teacher", "t", "--state", "g"], ["--promised", "0.9", "--drop", "0.02", "--share", "1"],
         ["--min-agreement", "0.9", "--tolerance", "0.02", "--sample-rate", "1"]),
    ],
)  # fmt: skip
def test_former_spellings_of_options_are_aliases_that_help_does_not_show(command, old, new, capsys):
    read = command_parser().parse_args
    assert read([*command, *old]) == read([*command, *new])
    with pytest.raises(SystemExit):
        read([command[0], "--help"])
    said = capsys.readouterr().out
    assert all(option in said for option in new[::2])
    assert not any(f"{option} " in said for option in old[::2])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nowhere.csv", "--out", "x.npz"], "data: no such file: nowhere.csv"),
        (["train", "clouds.csv", "--out", "nowhere/x.npz"], "cannot write nowhere/x.npz"),
        (["train", "clouds.csv", "--out", "."], "it is a folder"),
        (["train", "clouds.csv", "--out", "x.npz", "--epochs", "0"],
         "--epochs: must be a whole number from 1, below 2^63, got '0'"),
        (["train", "clouds.csv", "--out", "s.npz", "--seed", str(2**63)],
         "--seed: must be a whole number from 0, below 2^63, got '9223372036854775808'"),
        (["train", "clouds.csv", "--out", "x.npz", "--hidden", "8,0"], "whole numbers parted by commas"),
        (["train", "clouds.csv", "--out", "x.npz", "--dropout", "1"], "--dropout: must be a number in [0, 1), got '1'"),
        (["train", "clouds.csv", "--out", "x.npz", "--validation", "1.5"],
         "--validation: must be a number in [0, 1), got '1.5'"),
        (["train", "clouds.csv", "--out", "x.npz", "--learning-rate", "1e30", "--optimizer", "adam"], "epoch 1, step"),
        (["train", "clouds.csv", "--out", "x.npz", "--label", "colour"],
         "data: clouds.csv must have one column named 'colour'"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "clouds.csv"],
         "--teacher: clouds.csv is not an .npz"),
        (["distill", "digits", "--out", "x.npz", "--teacher", "teacher.npz"], "digits has 64 columns, and --teacher"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "teacher.npz", "--temperature", "0"],
         "--temperature: must be a number in [1e-6, 1e6), got '0'"),
        (["distill", "clouds.csv", "--out", "x.npz", "--teacher", "teacher.npz", "--alpha", "2"],
         "--alpha: must be a number in [0, 1], got '2'"),
        (["predict", "teacher.npz", "clouds.csv"], "and model takes 2; if the last one is the label, pass --label -1"),
        (["evaluate", "teacher.npz", "digits"], "data: digits has 64 columns, and model takes 2"),
        (["train", "clouds.csv", "--out", "x.npz", "--classes", "1"], "--classes must be at least the 2"),
        (["train", "clouds.csv", "--out", "x.npz", "--batch-size", "0"], "--batch-size: must be a whole number from 1"),
        (["train", "clouds.csv", "--out", "x.npz", "--learning-rate", "0"],
         "--learning-rate: must be a number in (0, inf)"),
        (["train", "clouds.csv", "--out", "x.npz", "--hidden", "100000,100000"], "too many for memory"),
        (["train", "clouds.csv", "--out", ""], "cannot write '': it is a folder"),
        (["train", "clouds.csv", "--out", "clouds.csv/x.npz"], "cannot write clouds.csv/x.npz: no folder"),
        (["predict", "teacher.npz", "clouds.csv", "--out", "nowhere/p.csv"], "--out: cannot write nowhere/p.csv"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--temperatures", "1;2"],
         "must be numbers in [1e-6, 1e6) separated"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--validation", "0"], "--validation above 0"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--num-seeds", "0"],
         "--num-seeds: must be a whole number from 1"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--results", "nowhere/x"], "cannot write nowhere/x"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--results", "clouds.csv"], "is the same file as data"),
        (["sweep", "clouds.csv", "--teacher", "teacher.npz", "--executor", "dask"], "executor must be 'processes:N'"),
        (["demo", "--figure", "nowhere/demo.png"], "--figure: cannot write nowhere/demo.png"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "teacher.npz"], "is not a checkpoint of"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "./x.npz"],
         "./x.npz is the same file as --out, x.npz"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", "nowhere/x"], "checkpoint: cannot write nowhere/x"),
        (["train", "clouds.csv", "--out", "x.npz", "--max-shift", "1"], "RandomShift needs square images"),
        (["train", "clouds.csv", "--out", "x.npz", "--max-shift", "-1"],
         "--max-shift: must be a whole number from 0, below"),
        (["train", "clouds.csv", "--out", "x.npz", "--mixup", "0"], "--mixup: must be a number in (0, inf), got '0'"),
        (["train", "clouds.csv", "--out", "x.npz", "--label-noise", "2"], "--label-noise: must be a number in [0, 1]"),
        (["demo", "--num-seeds", "0"], "argument --num-seeds: must be a whole number from 1"),
        (["demo", "--seed", "-1"], "argument --seed: must be a whole number from 0"),
        (["demo", "--figure", "demo.exe"], "--figure: must end in .png, .svg or .pdf, got demo.exe"),
        (["export", "clouds.csv", "--out", "x.c"], "clouds.csv is not an .npz file"),
        (["export", "teacher.npz", "--out", "x.exe"], "x.exe should end in .c, .onnx, .safetensors, .pt, or --format"),
        (["export", "teacher.npz", "--out", "nowhere/x.c"], "--out: cannot write nowhere/x.c"),
        (["export", "teacher.npz", "--out", "x.c", "--name", "2d"], "name must begin with a letter"),
        (["export", "teacher.npz", "--out", "x.onnx", "--name", "a"], "--name is for the functions of a C file, not"),
        (["import", "teacher.npz", "--out", "x.npz"], "teacher.npz should end in .onnx, .safetensors, .pt, or"),
        (["import", "nowhere.onnx", "--out", "x.npz"], "file: no such file: nowhere.onnx"),
        (["import", "teacher.npz", "--out", "x.npz", "--format", "onnx"], "file: teacher.npz is not an ONNX file"),
        (["import", "teacher.npz", "--out", "x.npz", "--format", "safetensors"], "is not a safetensors file"),
        (["import", "teacher.npz", "--out", "nowhere/x.npz"], "--out: cannot write nowhere/x.npz"),
        (["import", "teacher.npz", "--out", "x.npz", "--activation", "relu", "--format", "onnx"], "onnx does: teacher"),
        (["evaluate", "teacher.npz", "digits", "--teacher", "nope.npz"], "--teacher: no such file: nope.npz"),
        (["evaluate", ".", "digits"], "model: expected a file, got a folder: ."),
        (["evaluate", os.devnull, "digits"], "model: expected a regular file, got a pipe or a device: /dev/null"),
        (["train", "clouds.csv", "--out", "x.npz", "--checkpoint", os.devnull],
         "--checkpoint: expected a regular file"),
        (["train", "clouds.csv", "--out", "x.npz", "--backend", "fpga"], "--backend: backend must be one of 'numpy'"),
        (["gate", "teacher.npz", "nope.csv", "--teacher", "teacher.npz", "--state", "s"],
         "batch: no such file: nope.csv"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_clear_line(arguments, said, teacher, refusal):
    assert said in refusal(*arguments)
