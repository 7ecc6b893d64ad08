# SPDX-License-Identifier: MIT
"""Files that commands read: data sets by a word, pipes, damaged files, and files that no output may overwrite."""

import numpy as np
import pytest
from fifo import through_a_pipe

import minidistill.data
from minidistill import MLP, Dataset
from minidistill.cli import main
from minidistill.data import load_table


@pytest.mark.parametrize(("word", "function"), [("mnist", "mnist"), ("fashion-mnist", "fashion_mnist")])
def test_a_data_set_has_a_word_for_training_and_test(word, function, folder, monkeypatch, capsys):
    random = np.random.default_rng(0)
    training, test = (Dataset(random.random((rows, 3)), np.arange(rows) % 2) for rows in (40, 7))
    monkeypatch.setattr(minidistill.data, function, lambda: (training, test))
    assert main(["train", word, "--validation", "0", "--epochs", "1", "--out", "x.npz"]) == 0
    assert "on 40 rows" in capsys.readouterr().err
    assert main(["predict", "x.npz", word]) == 0
    assert len(capsys.readouterr().out.split()) == 7
    assert main(["evaluate", "x.npz", word]) == 0


def test_data_that_cannot_be_had_is_one_clear_line(folder, monkeypatch, refusal):
    monkeypatch.setenv("MINIDISTILL_DATA", "nowhere")
    said = refusal("train", "mnist", "--out", "x.npz")
    assert said == "minidistill train: error: MINIDISTILL_DATA must name a folder, got 'nowhere'"


def test_a_truncated_network_is_refused(teacher, folder, refusal):
    whole = (folder / teacher).read_bytes()
    (folder / "half.npz").write_bytes(whole[: len(whole) // 2])
    assert "half.npz is not an .npz file, or is damaged" in refusal("predict", "half.npz", "clouds.csv")


READS = {  # a command, and the arguments of which each names a file that it reads
    "train": (["train", "clouds.csv", "--epochs", "1"], ["clouds.csv"]),
    "distill": (["distill", "clouds.csv", "--teacher", "t.npz", "--epochs", "1"], ["clouds.csv", "t.npz"]),
    "sweep": (["sweep", "clouds.csv", "--teacher", "t.npz"], ["clouds.csv", "t.npz"]),
    "predict": (["predict", "t.npz", "clouds.csv", "--label", "-1"], ["clouds.csv", "t.npz"]),
    "export": (["export", "t.npz", "--format", "c"], ["t.npz"]),
    "import": (["import", "t.npz", "--format", "onnx"], ["t.npz"]),
    "compress": (["compress", "clouds.csv", "--teacher", "t.npz"], ["clouds.csv", "t.npz"]),
    "gate": (["gate", "t.npz", "clouds.csv", "--teacher", "u.npz", "--min-agreement", "0.5", "--reference", "more.csv"],
             ["t.npz", "clouds.csv", "u.npz", "more.csv"]),
}  # fmt: skip
WRITES = {"sweep": ["--results", "--figure"], "compress": ["--figure"], "gate": ["--state"],
          "train": ["--out", "--checkpoint"], "distill": ["--out", "--checkpoint"]}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "option", "read"),
    [(name, option, read) for name in READS for option in WRITES.get(name, ["--out"]) for read in READS[name][1]],
)
@pytest.mark.parametrize("through", ["{}", "here/{}", "link"])
def test_no_command_overwrites_a_file_that_it_reads(table, folder, command, option, read, through, refusal):
    for name in ("t.npz", "u.npz"):
        MLP((2, 3, 2)).save(name)
    (folder / "more.csv").write_text("1,0\n" * 40)
    (folder / "here").symlink_to(".")
    if option == "--figure":  # which must end in .png
        (folder / read).rename("read.png")
        read_as = "read.png"
    else:
        read_as = read
    (folder / "link.png").symlink_to(read_as)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    output = through.format(read_as).replace("link", "link.png")
    arguments = [read_as if argument == read else argument for argument in READS[command][0]]
    more = [] if option == "--out" or "--out" not in WRITES.get(command, ["--out"]) else ["--out", "out.npz"]
    said = refusal(*arguments, *more, option, output)
    assert f"{option}: {output} is the same file as " in said
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_two_outputs_of_a_command_are_two_files(teacher, table, refusal):
    sweep = ["sweep", table, "--teacher", teacher, "--results", "s.png", "--figure", "./s.png"]
    assert "is the same file as --figure" in refusal(*sweep)


@pytest.mark.parametrize("packed", [False, True], ids=["csv", "npz"])
def test_data_may_come_from_a_pipe(teacher, table, folder, capsys, packed):
    content = (folder / table).read_bytes()
    assert main(["predict", teacher, table, "--label", "-1"]) == 0
    expected = capsys.readouterr().out
    label = ["--label", "-1"]
    if packed:
        np.savez("clouds.npz", **vars(load_table(table)))
        content, label = (folder / "clouds.npz").read_bytes(), []
    for k, command in enumerate((["predict", teacher], ["evaluate", teacher], ["train"])):
        more = ["--out", "x.npz", "--epochs", "1"] if command == ["train"] else label if command[0] == "predict" else []
        with through_a_pipe(folder / f"pipe{k}", content) as path:
            assert main([*command, str(path), *more]) == 0
        said = capsys.readouterr()
        if command[0] == "predict":
            assert said.out == expected
    assert "on 64 rows" in said.err
