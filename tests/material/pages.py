# SPDX-License-Identifier: MIT
"""The code on pages of Markdown, taken out and run as written: for the tests of README and of the how-tos."""

import re
import shlex

from minidistill.cli import main


def code_blocks(page, language):
    """The fenced blocks of a language; '' for those that name none."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for name, text in fences if name == language]


def run_python(page):
    """Runs the page's Python, one block after the other; returns the names that are there at the end."""
    scope = {"__name__": "__main__"}
    for block in code_blocks(page, "python"):
        exec(compile(block, "page", "exec"), scope)
    return scope


def run_shell(page):
    """Runs the page's commands, each of which must be minidistill's and succeed; returns how many there are."""
    lines = [line for block in code_blocks(page, "sh") for line in block.splitlines()]
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "minidistill"
        assert main(arguments) == 0, line
    return len(lines)
