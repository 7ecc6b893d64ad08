# SPDX-License-Identifier: MIT
"""Mutants: copies of a source file with one small mistake each, such as < for <= or an argument left out."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

EXCHANGED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in", ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*",
    ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*", ast.And: "or", ast.Or: "and",
}  # fmt: skip
SILENT = (  # functions whose arguments are texts, guards or the looks of a picture, and not results
    "warn", "log", "check_", "errstate", "print", "plot", "errorbar", "legend", "titled", "text", "annotate",
    "new_figure",
)  # fmt: skip
GUARDS = ("strict", "copy")  # arguments that change no result of a right program


@dataclass(frozen=True)
class Mutant:
    """The characters from `start` to `end` of a file's text replaced by `text`."""

    start: int
    end: int
    text: str
    line: int
    what: str

    def of(self, source: str) -> str:
        """The text of the file with the mistake."""
        return source[: self.start] + self.text + source[self.end :]


def mutants(source: str) -> list[Mutant]:
    """All mutants of a Python file, in the order of their places; none of annotations, docstrings and messages."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    text = source.encode()

    def place(line: int, column: int) -> int:
        return len(text[: starts[line - 1] + column].decode())

    def replaced(node: ast.AST, new: str, what: str) -> Mutant:
        start, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        return Mutant(start, end, new, node.lineno, what)

    def between(left: ast.AST, right: ast.AST, kind: type, line: int) -> Mutant:
        """The operator between two operands: found again in the text, since the tree has no place for it."""
        start, end = place(left.end_lineno, left.end_col_offset), place(right.lineno, right.col_offset)
        operator = source[start:end].strip().strip("()").strip()
        at = source.index(operator.split("#")[0].strip(), start)
        return Mutant(at, at + len(operator), EXCHANGED[kind], line, f"{operator} -> {EXCHANGED[kind]}")

    found = []
    for node in _code(tree):
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in EXCHANGED:
                found.append(between(left, right, type(op), node.lineno))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in EXCHANGED and not _is_text(left):
                found.append(between(left, right, type(op), node.lineno))
            case ast.BoolOp(op=op, values=[left, right]):
                found.append(between(left, right, type(op), node.lineno))
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                found.append(replaced(node, ast.get_source_segment(source, operand), "sign or not left out"))
            case ast.Constant(value=bool() as value):
                found.append(replaced(node, str(not value), f"{value} -> {not value}"))
            case ast.Constant(value=int() | float() as value):
                new = repr(value + 1 if isinstance(value, int) else 2 * value or 1.0)
                found.append(replaced(node, new, f"{value} -> {new}"))
            case ast.Call(keywords=keywords) if len(keywords) + len(node.args) > 1:
                removable = [keyword for keyword in keywords if keyword.arg not in (None, *GUARDS)]
                found += [_without(source, place, keyword) for keyword in removable]
            case ast.IfExp(orelse=other):
                found.append(replaced(node, ast.get_source_segment(source, other), "always the other of if ... else"))
    whole = [mutant for mutant in found if mutant is not None and _compiles(mutant.of(source))]
    return sorted(whole, key=lambda mutant: (mutant.start, mutant.what))


def _without(source: str, place, keyword: ast.keyword) -> Mutant | None:
    """The call without a keyword argument, and without the comma before or behind it."""
    value = keyword.value
    start, end = place(keyword.lineno, keyword.col_offset), place(value.end_lineno, value.end_col_offset)
    before = source[:start].rstrip()
    if before.endswith(","):
        start = len(before) - 1
    elif source[end:].lstrip().startswith(","):
        end = source.index(",", end) + 1
    else:
        return None
    return Mutant(start, end, "", keyword.lineno, f"argument {keyword.arg} left out")


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that compute something."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr | ast.Assert):
                continue
            if isinstance(child, ast.keyword) and child.arg in GUARDS:
                continue
            if isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1].startswith(SILENT):
                continue
            yield child
            yield from _code(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _compiles(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
