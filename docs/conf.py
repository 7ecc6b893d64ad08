# SPDX-License-Identifier: MIT
"""How Sphinx builds the site: `make docs`, then open build/docs/index.html.

What lies outside docs/ is brought in before the pages are read: the course from notebooks/ to docs/course/, and a page
for each source file to docs/source/. Both folders are made anew by each build, and git does not see them.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools" / "site"), str(ROOT)]

import pages  # noqa: E402
import reference  # noqa: E402

import minidistill  # noqa: E402

project = "minidistill"
author = "the minidistill contributors"
copyright = "the minidistill contributors; MIT licence"
version = release = minidistill.__version__
language = "en_GB"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["evidence/results/*", "**.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", reference.NOT_OURS)]
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False  # the formulas of the docstrings and of the notebooks are found by the same marks
nb_execution_mode = "off"    # the notebooks are committed with their outputs
nb_merge_streams = True
nb_ipywidgets_js = {}        # nothing is loaded from elsewhere

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
maximum_signature_line_length = 120

html_theme = "furo"
html_title = "minidistill"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

suppress_warnings = ["myst.header"]  # an exercise of the course is a heading of its own, wherever it stands


def setup(app):
    pages.make_course()
    pages.make_sources()
    app.connect("source-read", pages.with_links_into_the_site)
    app.connect("autodoc-process-docstring", reference.as_markup)
    app.add_directive("command-help", reference.CommandHelp)
