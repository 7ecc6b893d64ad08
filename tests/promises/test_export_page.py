# SPDX-License-Identifier: MIT
"""The page on export is true: its code runs as written, from a PyTorch teacher to a program in C."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from minidistill import MLP
from minidistill.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "export.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_pytorch_teacher_becomes_a_program_in_c_as_written(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    how_to, by_ctypes = blocks("python")
    scope = {}
    exec(compile(how_to, "export.md", "exec"), scope)
    student, test = scope["student"], scope["test"]
    assert (scope["teacher"].predict(test.x) == test.y).mean() > 0.9
    assert (student.predict(test.x) == test.y).mean() > 0.9

    declaration, program = blocks("c")
    assert declaration.strip() in Path("student.c").read_text()
    Path("program.c").write_text(program)
    (compile_program,) = blocks("")
    subprocess.run(shlex.split(compile_program), check=True)
    for row in test.x[:5]:
        said = subprocess.run(["./program"], input=" ".join(map(str, row)), capture_output=True, text=True, check=True)
        assert int(said.stdout) == student.predict(row[None])[0]

    compile_library = re.search("`(gcc .* -shared .*)`:", PAGE)[1]
    subprocess.run(shlex.split(compile_library), check=True)
    exec(compile(by_ctypes, "export.md", "exec"), scope)
    assert scope["label"] == student.predict(test.x[:1])[0]


def test_the_shell_commands_run_as_written(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    MLP((64, 32, 10)).save("student.npz")
    for line in blocks("sh")[0].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "minidistill"
        assert main(arguments) == 0
    assert (MLP.load("back.npz").parameters == MLP.load("student.npz").parameters).all()


def test_every_name_on_the_page_is_there():
    import minidistill.export

    names = set(re.findall(r"`((?:to|from)_\w+)`", PAGE))
    assert names == set(minidistill.export.__all__) - {"c_source"}
