"""Executes the notebooks from clean kernels and stores them with what they print and show.

    python examples/notebooks/execute.py [NAME ...] [--out-dir DIR]

The `.py` files are the source. Each is run from top to bottom in a scratch folder and becomes the
`.ipynb` beside it, or in `--out-dir`. An error in a cell stops with its traceback and leaves the
stored notebook as it was. SELFDRIVE_BUDGET=10 gives every notebook ten times the work of
SELFDRIVE_BUDGET=1; without it the two that train take 4, the others 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NAMES = tuple(sorted(path.stem for path in HERE.glob("[0-9]*.py")))
STORED_BUDGET = {"02_train_sb3": "4", "03_ppo_loop": "4"}
"""What the stored outputs of notebooks that train were made with, where the caller says nothing."""

MOST_SECONDS = 600
"""A cell with the usual budget takes a few; this is for larger ones."""


def read(path: Path) -> Any:
    """Returns the notebook in a `.py` file, the same each time."""
    import jupytext

    notebook = jupytext.read(path, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(name: str, out_dir: Path) -> Path:
    """Runs one notebook in a kernel of its own and returns the file written."""
    import nbformat
    from nbclient import NotebookClient

    notebook = read(HERE / f"{name}.py")
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=MOST_SECONDS,
            record_timing=False,
            resources={"metadata": {"path": scratch}},
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not told_once(one)]
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of Python
    path = out_dir / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def told_once(output: Any) -> bool:
    """Whether an output is no more than the announcement that kernels are compiled."""
    lines = output.text.splitlines() if output.get("name") == "stderr" else [""]
    return all(line.startswith("selfdrive_env: compiling kernels") for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out-dir", type=Path, default=HERE, help="folder of the .ipynb files")
    options = parser.parse_args()
    names = [Path(name).stem for name in options.names] or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no notebook {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        import ipykernel  # noqa: F401
        import jupytext  # noqa: F401
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        parser.error(f'{error}: pip install "selfdrive_env[notebooks]"')

    options.out_dir.mkdir(parents=True, exist_ok=True)
    # A debugger that is never used would announce itself in the first output.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    budget = os.environ.get("SELFDRIVE_BUDGET")
    for name in names:
        start = time.monotonic()
        os.environ["SELFDRIVE_BUDGET"] = budget or STORED_BUDGET.get(name, "1")
        try:
            path = execute(name, options.out_dir)
        except CellExecutionError as error:
            print(f"{name} failed:\n{error}", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {path.stat().st_size // 1024} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
