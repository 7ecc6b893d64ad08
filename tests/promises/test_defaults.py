# SPDX-License-Identifier: MIT
"""The defaults of all that is public, and all options, are in defaults.txt: a change there belongs in the CHANGELOG."""

import inspect
import types
from pathlib import Path

import minidistill
from minidistill import export
from minidistill.cli import command_parser
from minidistill.distillation.standardized import Standardization, fit_standardized
from minidistill.experiments.bench import run_bench
from minidistill.experiments.demo import run_demo
from minidistill.experiments.leaderboard import leaderboard
from minidistill.experiments.reproduce import reproduce
from minidistill.experiments.sweep import sweep

OF_AN_OPTION = ("type", "nargs", "required", "choices", "metavar", "default", "help")
FURTHER = (sweep, reproduce, leaderboard, run_demo, run_bench, fit_standardized, Standardization.of)
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
    found |= {thing.__qualname__: thing for thing in FURTHER}
    found |= {f"ops.{name}": thing for name, thing in vars(minidistill.ops).items() if isinstance(thing, METHOD)}
    lines = []
    for name, thing in sorted(found.items()):
        given = {p.name: p.default for p in inspect.signature(thing).parameters.values() if p.default is not p.empty}
        if given:
            lines.append(f"{name}({', '.join(f'{key}={shown(value)}' for key, value in given.items())})")
    (commands,) = [action for action in command_parser()._actions if action.dest == "command"]
    for name, command in sorted(commands.choices.items()):
        lines.append(f"minidistill {name}: {command.prog}, {command.formatter_class.__name__}")
        for option in command._actions[1:]:  # all but --help
            what = {key: getattr(option, key) for key in OF_AN_OPTION}
            given = ", ".join(f"{key}={shown(value)}" for key, value in what.items() if value is not None)
            lines.append(f"minidistill {name} {'|'.join(option.option_strings) or option.dest}: {given}")
    return lines


def shown(value):
    return getattr(value, "__name__", None) or repr(value)


def test_the_defaults_are_those_that_are_written_down():
    assert defaults() == DEFAULTS.read_text().splitlines()
