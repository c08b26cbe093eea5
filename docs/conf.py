"""Sphinx: Markdown by MyST, looks by Furo; builds without a network."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

project = "mail-proxy"
copyright = "the mail-proxy authors"  # noqa: A001 - Sphinx's name for it
release = re.findall(r'__version__ = "(.+)"', (_ROOT / "mail_proxy" / "__init__.py").read_text("utf-8"))[0]

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "text"

html_theme = "furo"
html_title = f"mail-proxy {release}"
html_copy_source = False
