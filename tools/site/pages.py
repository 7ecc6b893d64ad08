# SPDX-License-Identifier: MIT
"""What the site shows of files outside docs/: the course, and a page for each source file.

The pages of docs/ are read on a code host as well, where a link to ../minidistill/ops.py leads to the file. In the site
it leads to the file's page; a link to something that has no page becomes plain text.
"""

import json
import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE, NOTEBOOKS = ROOT / "minidistill", ROOT / "notebooks"
COURSE, SOURCE = DOCS / "course", DOCS / "source"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^(`{3,}).*?^\1$", re.DOTALL | re.MULTILINE)


def written_pages() -> list[Path]:
    """The pages of docs/ that no build makes."""
    return [page for page in sorted(DOCS.rglob("*.md")) if COURSE not in page.parents and SOURCE not in page.parents]


def source_files() -> list[Path]:
    """Of which there is a page: all of the package, and what the pages of docs/ and the course link to."""
    linked = [written_pages(), NOTEBOOKS.glob("*.md")]
    found = {
        (page.parent / target).resolve()
        for pages in linked
        for page in pages
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8"))
    }
    solutions = NOTEBOOKS.glob("solutions/*.py")
    return sorted({*PACKAGE.rglob("*.py"), *solutions, *(path for path in found if path.suffix == ".py")})


def page_of(path: Path) -> Path:
    """Where the site has what a link to `path` shows; `path` itself where it is a page of docs/."""
    if path.suffix == ".py":
        return SOURCE / path.relative_to(ROOT).with_suffix(".md")
    if path == PACKAGE:
        return SOURCE / "index.md"
    if path == NOTEBOOKS / "README.md":
        return COURSE / "index.md"
    return COURSE / path.name if path.suffix == ".ipynb" else path


def make_sources() -> None:
    """A page for each source file, and one that lists them."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    files = source_files()
    for path in files:
        page = page_of(path)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(
            f"# `{path.relative_to(ROOT)}`\n\n```{{literalinclude}} {os.path.relpath(path, page.parent)}\n"
            ":language: python\n:lineno-match:\n```\n"
        )
    package = sorted((path for path in files if path.is_relative_to(PACKAGE)), key=place_in_reading_order)
    others = [path for path in files if path not in package]
    (SOURCE / "index.md").write_text(
        "# The source\n\n"
        "Every file of the package as it is, in the order in which the docstring of the first one lists them.\n\n"
        + _toctree("The package", package)
        + _toctree("Answers of the course, and tests that these pages quote", others)
    )


def place_in_reading_order(path: Path) -> tuple[int, Path]:
    """First what the package's docstring lists, in that order, then all else by name."""
    docstring = (PACKAGE / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    order = ["__init__", *re.findall(r"^    (\w+)/? ", docstring, re.MULTILINE)]
    name = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return (order.index(name) if name in order else len(order)), path


def _toctree(caption: str, files: list[Path]) -> str:
    """A list of pages. The files of the package go by their names in it."""
    names = [path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT) for path in files]
    pages = [page_of(path).relative_to(SOURCE).with_suffix("").as_posix() for path in files]
    entries = "\n".join(f"{name} <{page}>" for name, page in zip(names, pages, strict=True))
    return f"## {caption}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n\n"


def make_course() -> None:
    """The notebooks that are built, and the course's README as their first page."""
    shutil.rmtree(COURSE, ignore_errors=True)
    COURSE.mkdir()
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for notebook in notebooks:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = rewritten("".join(cell["source"]), NOTEBOOKS, COURSE)
        (COURSE / notebook.name).write_text(json.dumps(content), encoding="utf-8")
    text = rewritten((NOTEBOOKS / "README.md").read_text(encoding="utf-8"), NOTEBOOKS, COURSE)
    if notebooks:
        entries = "\n".join(notebook.stem for notebook in notebooks)
        text += f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{entries}\n```\n"
    (COURSE / "index.md").write_text(text)


def with_links_into_the_site(app: object, docname: str, source: list[str]) -> None:
    """For Sphinx's event: the page with its links as the site needs them; those that were made here have them."""
    if not docname.startswith(("course/", "source/")):
        folder = (DOCS / docname).parent
        source[0] = rewritten(source[0], folder, folder)


def rewritten(text: str, written_in: Path, shown_in: Path) -> str:
    """A page that stands in the first folder, with its links as they must be in the second."""

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        path = (written_in / target).resolve()
        page = page_of(path)
        if not path.exists():
            return words if written_in == NOTEBOOKS else match[0]  # not built yet; of others, Sphinx complains
        if not page.is_relative_to(DOCS) or page.is_dir():
            return words
        return f"[{words}]({os.path.relpath(page, shown_in)}{anchor})"

    code = [match.span() for match in CODE.finditer(text)]
    parts, end = [], 0
    for start, stop in [*code, (len(text), len(text))]:
        parts += [LINK.sub(link, text[end:start]), text[start:stop]]
        end = stop
    return "".join(parts)
