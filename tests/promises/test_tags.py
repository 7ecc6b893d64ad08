# SPDX-License-Identifier: MIT
"""A formula's tag, such as KD-3 in brackets, stands in the code, on a page of docs/ and in the test that checks it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAG = re.compile(r"\[[A-Z]+-\d+\]")  # one formula: a range, "[OPT-3 to OPT-5]", does not count


def tags(paths):
    return {tag for path in paths for tag in TAG.findall(path.read_text(encoding="utf-8"))}


CODE = tags((ROOT / "minidistill").rglob("*.py"))
DOCS = tags((ROOT / "docs").glob("*/*.md"))
TESTS = tags(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__).resolve())
PLACES = {"minidistill/**/*.py": CODE, "docs/*/*.md": DOCS, "tests/**/*.py": TESTS}


@pytest.mark.parametrize("tag", sorted(CODE | DOCS))
def test_each_tag_stands_in_the_code_in_the_docs_and_in_a_test(tag):
    missing = [place for place, found in PLACES.items() if tag not in found]
    assert not missing, f"{tag} is missing from {' and '.join(missing)}"
