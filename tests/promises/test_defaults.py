# SPDX-License-Identifier: MIT
"""The defaults of everything public, in defaults.txt: whoever changes one changes that file too, and the CHANGELOG."""

import inspect
import types
from pathlib import Path

import minidistill
from minidistill import export
from minidistill.cli import command_parser

METHOD = types.FunctionType | types.MethodType
DEFAULTS = Path(__file__).parent / "defaults.txt"


def defaults():
    """A line for each public function, class, method and command that has defaults."""
    found = {}
    for module in (minidistill, export):
        for name in set(module.__all__) - {"TrainingDiverged"}:
            thing = getattr(module, name)
            found[name] = thing
            if inspect.isclass(thing):
                methods = {method: getattr(thing, method) for method in dir(thing) if not method.startswith("_")}
                found |= {f"{name}.{method}": value for method, value in methods.items() if isinstance(value, METHOD)}
    lines = []
    for name, thing in sorted(found.items()):
        given = {p.name: p.default for p in inspect.signature(thing).parameters.values() if p.default is not p.empty}
        if given:
            lines.append(f"{name}({', '.join(f'{key}={shown(value)}' for key, value in given.items())})")
    (commands,) = [action for action in command_parser()._actions if action.dest == "command"]
    for name, command in sorted(commands.choices.items()):
        options = [a for a in command._actions if a.option_strings and a.help != "==SUPPRESS==" and a.dest != "help"]
        given = [f"{action.option_strings[0]} {shown(action.default)}" for action in options]
        lines.append(f"minidistill {name} {', '.join(given)}")
    return lines


def shown(value):
    return getattr(value, "__name__", None) or repr(value)


def test_the_defaults_are_those_that_are_written_down():
    assert defaults() == DEFAULTS.read_text().splitlines()
