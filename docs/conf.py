"""Sphinx: .venv/bin/sphinx-build -W docs docs/_build"""
import pathlib
import re

project = "kin"
copyright = "2026, kin contributors"
author = "kin contributors"
# The version is written down once, in meson.build.
release = re.search(r"version: '([^']+)'",
                    (pathlib.Path(__file__).parent.parent / "meson.build").read_text()).group(1)
version = release.rpartition(".")[0]

extensions = []
exclude_patterns = ["_build"]
primary_domain = "c"
highlight_language = "c"
nitpicky = True

html_theme = "alabaster"
html_theme_options = {
    "description": "multi-process programming for C",
    "page_width": "1080px",
    "fixed_sidebar": True,
    "show_powered_by": False,
}
html_show_sourcelink = False
