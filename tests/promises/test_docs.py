# SPDX-License-Identifier: MIT
"""The docs site: docstrings become what they say, links lead somewhere, and the built pages need no network."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import minidistill
from minidistill import export
from minidistill.cli import main

ROOT = Path(__file__).parents[2]
DOCS, SITE = ROOT / "docs", ROOT / "build" / "docs"


def module(name):
    """A file of tools/site/ as a module."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "tools" / "site" / f"{name}.py")
    found = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(found)
    return found


# ---------------------------------------------------------------------------------------- what goes into the site

site_pages = module("pages")


def test_a_link_to_a_source_file_leads_to_its_page():
    text = "See [`ops.py`](../minidistill/ops.py) and [a page](losses.md#soft-targets)."
    assert site_pages.rewritten(text, DOCS, DOCS) == (
        "See [`ops.py`](source/minidistill/ops.md) and [a page](losses.md#soft-targets)."
    )


def test_a_link_to_what_has_no_page_becomes_text():
    assert site_pages.rewritten("[the figures](evidence/results), [a host](https://example.org)", DOCS, DOCS) == (
        "the figures, [a host](https://example.org)"
    )


def test_a_link_from_the_course_to_a_folder_becomes_text():
    text = "answers in [`solutions`](solutions), made by [`build.py`](build.py)"
    assert site_pages.rewritten(text, site_pages.NOTEBOOKS, site_pages.COURSE) == (
        "answers in `solutions`, made by [`build.py`](../source/notebooks/build.md)"
    )


def test_code_and_pictures_stay_as_they_are():
    text = "![a picture](images/demo.png)\n\n```python\nlosses[0](../minidistill/ops.py)\n```\n"
    assert site_pages.rewritten(text, DOCS, DOCS) == text


def test_the_course_links_to_the_notebooks_that_are_built():
    folder = site_pages.NOTEBOOKS
    built = [path.name for path in folder.glob("[0-9]*.ipynb")]
    links = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", (folder / "README.md").read_text())
    text = site_pages.rewritten((folder / "README.md").read_text(), folder, site_pages.COURSE)
    assert set(re.findall(r"\]\((\d\d_\w+\.ipynb)\)", text)) == set(built) & set(links)


WRITTEN = site_pages.written_pages()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_links_of_a_page_lead_to_files(page):
    """On a code host, where nothing is rewritten."""
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)", site_pages.CODE.sub("", page.read_text()))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_source_is_listed_in_the_order_of_the_reading_path():
    files = sorted((ROOT / "minidistill").rglob("*.py"), key=site_pages.place_in_reading_order)
    entries = dict.fromkeys(file.relative_to(ROOT / "minidistill").with_suffix("").parts[0] for file in files)
    assert list(entries)[:6] == ["__init__", "ops", "network", "losses", "training", "distillation"]


def test_a_docstring_becomes_markup():
    pytest.importorskip("docutils")
    markup = module("reference").markup
    lines = ["Trains `network` with **options.", "", "loss    as given: a * b", "        and more", "", "    q = p", ""]
    assert [line for line in markup(lines) if line] == [
        "Trains ``network`` with \\*\\*options.",
        "``loss``",
        "    as given: a \\* b",
        "    and more",
        ".. code-block:: none",
        "    q = p",
    ]


def test_the_fields_of_a_dataclass_say_what_their_comments_say():
    pytest.importorskip("docutils")
    fields = module("reference").fields_of(minidistill.SoftTarget)
    assert fields["temperature"] == "above 0: chosen on validation data"
    assert list(fields) == ["temperature", "alpha"]


# ---------------------------------------------------------------------------------------- the site that is built

pages = sorted(SITE.rglob("*.html")) if SITE.exists() else []
LOADING = dict.fromkeys(("script", "img", "source", "video", "audio", "iframe", "embed"), "src")
LOADING |= {"object": "data", "link": "href", "image": "href"}
NO_FILES = ("canonical", "next", "prev", "search", "index", "author")  # of <link>: they say something, and load nothing


class Page(HTMLParser):
    """What a page loads, where it leads, and what in it can be led to."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.names, self.styles = [], [], {""}, []
        self.in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[name] for name in ("id", "name") if found.get(name)}
        self.styles.append(found.get("style") or "")
        self.in_style = tag == "style"
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        is_file = tag != "link" or (found.get("rel") or "") not in NO_FILES
        if tag in LOADING and is_file and found.get(LOADING[tag]):
            self.loads.append(found[LOADING[tag]])

    def handle_data(self, data):
        if self.in_style:
            self.styles.append(data)


@pytest.fixture(scope="module")
def site():
    """Every built page, parsed."""
    if not pages:
        pytest.skip("the site is not built: make docs")
    return {path: Page(path) for path in pages}


def leads_nowhere(site, page, link):
    """Whether a link of a page within the site leads to no file, or to no place in it."""
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    return target in site and unquote(parts.fragment) not in site[target].names


def is_elsewhere(link):
    return bool(urlsplit(link).netloc) or urlsplit(link).scheme not in ("", "data")


@pytest.mark.docs
def test_each_internal_link_leads_to_a_page_and_a_place_in_it(site):
    broken = [
        f"{path.relative_to(SITE)}: {link}"
        for path, page in site.items()
        for link in page.links + page.loads
        if not is_elsewhere(link) and not link.startswith("data:") and leads_nowhere(site, path, link)
    ]
    assert broken == []


@pytest.mark.docs
def test_no_page_loads_anything_from_elsewhere(site):
    assert {link for page in site.values() for link in page.loads if is_elsewhere(link)} == set()
    styles = {path: path.read_text(encoding="utf-8") for path in SITE.rglob("*.css")}
    styles |= {path: "\n".join(page.styles) for path, page in site.items()}
    fetched = re.compile(r"(?:url\(\s*[\"']?|@import\s+[\"'])(?!data:)((?:\w+:)?//[^\"')\s]+)")
    assert {found for text in styles.values() for found in fetched.findall(text)} == set()


@pytest.mark.docs
def test_the_formulas_are_set_by_what_the_site_brings(site):
    page = SITE / "maths" / "ops.html"
    scripts = [link for link in site[page].loads if "mathjax" in link]
    assert len(scripts) == 1
    folder = (page.parent / scripts[0].split("?")[0]).resolve().parent
    assert folder.is_relative_to(SITE)
    assert list(folder.glob("output/chtml/fonts/**/*.woff"))


@pytest.mark.docs
def test_every_public_name_is_in_the_reference(site):
    names = {name for path, page in site.items() if path.parent == SITE / "reference" for name in page.names}
    assert [name for name in minidistill.__all__ if f"minidistill.{name}" not in names] == []


@pytest.mark.docs
def test_every_function_of_export_is_in_the_reference(site):
    names = site[SITE / "reference" / "export.html"].names
    assert [name for name in export.__all__ if f"minidistill.export.{name}" not in names] == []


def test_every_command_is_in_the_reference(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = set(re.findall(r"^    (\w+)(?: {2,}|$)", capsys.readouterr().out, re.MULTILINE))
    page = (DOCS / "reference" / "command_line.md").read_text()
    assert commands == set(re.findall(r"^```{command-help} (\w+)$", page, re.MULTILINE))


@pytest.mark.docs
def test_every_source_file_has_a_page(site):
    files = [path.relative_to(ROOT) for path in (ROOT / "minidistill").rglob("*.py")]
    assert [file for file in files if SITE / "source" / file.with_suffix(".html") not in site] == []


@pytest.mark.docs
def test_every_notebook_that_is_built_is_a_page_of_the_course(site):
    built = [path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")]
    assert [name for name in built if SITE / "course" / f"{name}.html" not in site] == []
