"""How Sphinx makes the documentation from these pages and from the program itself."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from triage import __version__  # noqa: E402

project = "gpu-triage"
author = "the founders of gpu-triage"
version = release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["decisions/README.md"]
html_theme = "furo"
html_title = f"gpu-triage {__version__}"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
pygments_style = "default"

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)\s]*)\)")


def setup(app: Any) -> None:
    """Write the reference before Sphinx looks for pages, and mend what points out of this folder."""
    from docs import reference

    app.connect("builder-inited", lambda app: reference.write(HERE / "reference"))
    app.connect("source-read", _keep_inside)


def _keep_inside(app: Any, page: str, source: list[str]) -> None:
    """A link to a file of the tree that is no page becomes its name: only a checkout has it beside these pages."""

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link["target"].partition("#")[0]))
        return f"{link['text']} (`{path.removeprefix('../')}`)" if path.startswith("..") else link[0]

    source[0] = _LINK.sub(named, source[0])
