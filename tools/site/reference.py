# SPDX-License-Identifier: MIT
"""The reference of the site, from docstrings and from the command line's own help.

Docstrings are written to be read in the source: paragraphs, tables of arguments with a name, two spaces and a text, and
indented formulas. Here they become what Sphinx understands.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import os
import re
import textwrap
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from minidistill import cli

NOT_OURS = r"(np|numpy|Any|Callable|Iterable|Sequence|Mapping|os|concurrent|collections|typing|dask)\b.*"
ITEM = re.compile(r"([\w*]+(?:, [\w*]+)*)(?: : |  +)(\S.*)")
FIELD = re.compile(r"\s+(\w+):[^#]*#\s*(.*)")


def as_markup(app: object, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """For autodoc's event: rewrites the docstring's lines in place, and adds what a dataclass says of its fields."""
    text = markup(lines)
    fields = fields_of(thing) if isinstance(thing, type) and dataclasses.is_dataclass(thing) else {}
    for field, words in fields.items():
        if f"``{field}``" not in text:  # the docstring has not said it
            text += _item(field, [words])
    lines[:] = text


def markup(lines: list[str]) -> list[str]:
    """reStructuredText of a plain docstring: what is indented stays as it is, names and their texts become a list."""
    found: list[str] = []
    place = 0
    while place < len(lines):
        line = lines[place]
        item = ITEM.fullmatch(line)
        end = place + 1
        if not line.strip():
            found.append("")
        elif line.startswith("    "):
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith("    ")):
                end += 1
            block = textwrap.dedent("\n".join(lines[place:end])).strip("\n").splitlines()
            found += ["", ".. code-block:: none", "", *(f"    {each}" for each in block), ""]
        elif item:
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            found += _item(item[1], [item[2], *(each.strip() for each in lines[place + 1 : end])])
        else:
            found.append(_escaped(line))
        place = end
    return found


def _item(name: str, text: list[str]) -> list[str]:
    names = ", ".join(f"``{each}``" for each in name.split(", "))
    return ["", names, *(f"    {_escaped(line)}" for line in text), ""]


def _escaped(line: str) -> str:
    """Text as it stands; what is between backticks is code."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", text) for text in parts[::2]]
    parts[1::2] = [f"``{code}``" for code in parts[1::2]]
    return "".join(parts)


def fields_of(dataclass: type) -> dict[str, str]:
    """What the comments behind a dataclass's fields say."""
    source = textwrap.dedent(inspect.getsource(dataclass))
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    lines = source.splitlines()
    fields = (node for node in body if isinstance(node, ast.AnnAssign))
    matches = (FIELD.fullmatch(lines[node.end_lineno - 1]) for node in fields if node.end_lineno)
    return {match[1]: match[2] for match in matches if match}


class CommandHelp(Directive):
    """`{command-help} train`: what `minidistill train --help` prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"], os.environ["NO_COLOR"] = "100", "1"
        with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
            cli.main([*self.arguments[0].split(), "--help"])
        return [nodes.literal_block(shown.getvalue(), shown.getvalue(), language="none")]
