"""How Sphinx builds the pages: `sphinx-build -W --keep-going -n docs build/docs`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import web_replay  # noqa: E402

import selfdrive_env  # noqa: E402

project = "selfdrive_env"
author = "selfdrive_env developers"
copyright = f"2026, {author}"
release = version = selfdrive_env.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "tables",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The pages are built without what they only describe.
OPTIONAL = (
    *("torch", "stable_baselines3", "pettingzoo", "torchrl", "tensordict", "ray", "skrl"),
    *("pufferlib", "minari", "rsl_rl", "rl_games", "pygame", "tensorboard"),
)
autodoc_mock_imports = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
# What is in single backticks in a docstring is code; names of other projects are not looked up.
default_role = "code"
nitpick_ignore_regex = [("py:.*", r"(?!selfdrive_env).*")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "selfdrive_env"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False


def shield_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps napoleon from reading "words: more words" below a constant as its type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "\\ ")  # nothing, but no empty line


def write_replay(app: Any, problem: Exception | None) -> None:
    """Puts the replay beside the pages, which link to it."""
    if problem is None and app.builder.format == "html":
        web_replay.write(Path(app.outdir) / "live-replay.html")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", shield_colons, priority=400)
    app.connect("build-finished", write_replay)
