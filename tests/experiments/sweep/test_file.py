# SPDX-License-Identifier: MIT
"""A results file resumes its own sweep alone, and a changed byte in it is noticed."""

import json
import os
import re
from dataclasses import asdict

import numpy as np
import pytest
from sweeps import GRID, POINTS, TRAINING, VALIDATION, Serial, found, point

from minidistill import MLP, SGD, Dataset
from minidistill.experiments.sweep import sweep
from minidistill.experiments.sweep.file import sealed, unsealed


def test_a_larger_grid_trains_only_what_it_lacks(teacher, serial, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID | {"widths": [8], "temperatures": [4]})
    rest = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=rest, file=file, **GRID)) == found(serial)
    assert rest.count == POINTS - 4
    nobody = "dask://127.0.0.1:1"  # is asked where nothing is left to do
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=nobody, file=file, **GRID)) == found(serial)


def test_every_point_is_in_the_file_before_the_next_begins(teacher, file):
    class Watching(Serial):
        def submit(self, *arguments):
            assert len(file.read_text().splitlines()) == self.count + 1 if self.count else not file.exists()
            return super().submit(*arguments)

    sweep(teacher, TRAINING, VALIDATION, executor=Watching(), file=file, **GRID)
    header, *lines = map(json.loads, file.read_text().splitlines())
    assert header["epochs"] == 2
    assert len(lines) == POINTS


@pytest.mark.parametrize("lost", [1, 20])
def test_a_half_written_last_line_is_done_again(teacher, serial, file, lost):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    whole = file.read_bytes()
    file.write_bytes(whole[:-lost])
    again = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=again, file=file, **GRID)) == found(serial)
    assert again.count == 1
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()[1:]] == [0, 1] * (POINTS // 2)


def test_the_file_of_another_sweep_is_refused_and_left_alone(teacher, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    before = file.read_bytes()
    other = MLP((64, 32, 10), seed=1)
    for difference, changed in (
        ("epochs was 2, is now 3", {**GRID, "epochs": 3}),
        ("batch_size was 32, is now 50", {**GRID, "batch_size": 50}),
        ("optimizer was SGD\\(learning_rate=0.1", {**GRID, "optimizer": SGD(0.2)}),
        ("patience was None, is now 3", {**GRID, "patience": 3}),
        ("activation was relu, is now tanh", {**GRID, "activation": "tanh"}),
        ("dropout was 0.0, is now 0.5", {**GRID, "dropout": 0.5}),
        ("hidden_layers was 1, is now 2", {**GRID, "hidden_layers": 2}),
    ):
        with pytest.raises(ValueError, match=f"sweep.jsonl holds the points of another sweep: {difference}"):
            sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **changed)
    for name, arguments in (
        ("teacher was", (other, TRAINING, VALIDATION)),
        ("training was", (teacher, TRAINING.take(100), VALIDATION)),
        ("training was", (teacher, Dataset(TRAINING.x, np.roll(TRAINING.y, 1)), VALIDATION)),
        ("validation was", (teacher, TRAINING, VALIDATION.take(50))),
    ):
        with pytest.raises(ValueError, match=f"another sweep: {name}"):
            sweep(*arguments, executor=Serial(), file=file, **GRID)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "no newline", "[]\n", '{"minidistill": "demo"}\n'])
def test_a_file_of_something_else_is_refused_and_left_alone(teacher, file, content):
    file.write_text(content)
    with pytest.raises(ValueError, match="does not hold the points of a sweep"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert file.read_text() == content


@pytest.mark.parametrize("line", ["{", "{}", '{"width": 4}', "4"])
def test_a_damaged_line_is_named(teacher, file, line):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[3:], ""]))
    with pytest.raises(ValueError, match=r"sweep\.jsonl is damaged: line 3 is no point of this sweep: its checksum"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)


def test_no_flipped_bit_of_a_results_file_goes_unnoticed(teacher, serial, file):
    grid = GRID | {"widths": [8], "temperatures": [4]}
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    places = [8 * len(whole) - 8 + bit for bit in range(8)]  # of the last newline
    for place in [*random.choice(8 * len(whole), 600, replace=False), *places]:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"sweep\.jsonl (is damaged: line \d|does not hold|was written|holds the)"):
            sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)
        assert file.read_bytes() == damaged


def test_a_line_of_another_sweep_is_refused(teacher, file):
    grid = GRID | {"widths": [8], "temperatures": [4]}
    lines = []
    for epochs in (1, 2):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **{**grid, "epochs": epochs})
        lines.append(file.read_text().splitlines(keepends=True))
        file.unlink()
    file.write_text("".join([lines[1][0], lines[0][1], *lines[1][2:]]))
    with pytest.raises(ValueError, match="line 2 is no point of this sweep"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)


def test_a_file_without_checksums_of_an_earlier_version_is_refused_and_left_alone(teacher, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    plain = [{k: v for k, v in json.loads(line).items() if k != "sha256"} for line in file.read_text().splitlines()]
    before = "".join(json.dumps(line) + "\n" for line in plain)
    file.write_text(before)
    with pytest.raises(ValueError, match=r"sweep\.jsonl was written by an earlier version, without checksums; give"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 7}, "accuracy must be in [0, 1], got 7"),
        ({"accuracy": float("nan")}, "accuracy must be in [0, 1], got nan"),
        ({"agreement": -0.1}, "agreement must be in [0, 1], got -0.1"),
        ({"seconds": -1}, "seconds must be in [0, inf), got -1"),
        ({"seconds": "1"}, "seconds must be a number in [0, inf), got '1'"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be in [1e-6, 1e6), got 0"),
        ({"alpha": 2}, "alpha must be in [0, 1], got 2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"reason": "it diverged"}, "a point has an accuracy or a reason, got 0.5 and 'it diverged'"),
        ({"accuracy": None}, "a point has an accuracy or a reason, got None and None"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_figures_out_of_their_range_are_refused_whatever_the_checksum(teacher, file, change, said):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    first, _, *rest = file.read_bytes().split(b"\n")
    absurd = sealed({**asdict(point()), **change}, first)
    file.write_bytes(b"\n".join([first, absurd, *rest]))
    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert str(refusal.value).startswith(f"{file} is damaged: line 2 is no point of this sweep: ")


def test_a_place_where_no_file_can_be_is_refused_before_anything_is_trained(teacher, tmp_path):
    none = Serial()
    for place, error in ((tmp_path, IsADirectoryError), (tmp_path / "nowhere" / "x", FileNotFoundError),
                         (os.devnull, FileExistsError)):  # fmt: skip
        with pytest.raises(error, match="file: cannot"):
            sweep(teacher, TRAINING, VALIDATION, executor=none, file=place, **GRID)
    assert none.count == 0


def test_brackets_in_brackets_are_damage(teacher, file):
    file.write_text("[" * 200_000 + "\n")
    with pytest.raises(ValueError, match="does not hold the points of a sweep"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)


def test_a_second_sweep_with_the_same_file_is_refused_while_the_first_runs(teacher, file):
    class Twice(Serial):
        def submit(self, *arguments):
            with pytest.raises(BlockingIOError, match="is in use by another process"):
                sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
            return super().submit(*arguments)

    sweep(teacher, TRAINING, VALIDATION, executor=Twice(), file=file, **GRID)


def test_lines_that_are_in_files_today_are_read_for_ever():
    first = b'{"minidistill": "sweep", "sha256": "1ffc3e1dae48088a"}'
    line = b'{"seed": 3, "sha256": "d7e2adfe8eb652c4"}'
    assert unsealed(first) == {"minidistill": "sweep"}
    assert unsealed(line, first) == {"seed": 3}
    assert sealed({"seed": 3}, first) == line
