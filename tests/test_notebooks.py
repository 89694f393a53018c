"""The notebooks run from clean kernels; those stored are theirs, and hold pictures."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import PATIENCE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
MAX_BYTES = 1_500_000
BUDGET = "0.2"
"""Share of a notebook's work that runs here: four rollouts where one trains, and every cell."""

NEEDS = {
    **dict.fromkeys(NAMES, ("matplotlib", "PIL")),
    "02_train_sb3": ("stable_baselines3", "matplotlib", "PIL"),
    "03_ppo_loop": ("torch", "matplotlib", "PIL"),
    "07_gpu": ("torch", "PIL"),
    "09_pixels": ("torch", "matplotlib", "PIL"),
}
BY_NIGHT = {"01_quickstart", "06_selfplay_evaluation", "07_gpu"}
"""Whose calls are those of pages, which tests/test_docs.py runs, or are for a GPU: with --full."""

FILMS = {*NAMES} - {"07_gpu"}


def missing(*libraries: str) -> list[str]:
    return [name for name in libraries if importlib.util.find_spec(name) is None]


needs_jupyter = pytest.mark.skipif(
    bool(missing("ipykernel", "jupytext", "nbclient")),
    reason='notebooks need: pip install "selfdrive_env[notebooks]"',
)


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "SELFDRIVE_BUDGET": BUDGET,
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def notebook(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in code_cells(path) for output in cell["outputs"]]


def frames(path: Path) -> list[int]:
    """Number of frames of each picture shown, 1 for a plain one."""
    from PIL import Image

    found = []
    for output in outputs(path):
        data = output.get("data", {}).get("image/png")
        if data is not None:
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                image.load()
                assert min(image.size) >= 200
                found.append(getattr(image, "n_frames", 1))
    return found


def check_outputs(path: Path) -> None:
    """Every cell was run once, in order, printed no error, and there are pictures and films."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {(one["output_type"], one.get("name", "")) for one in outputs(path)}
    assert kinds <= {("stream", "stdout"), ("display_data", ""), ("execute_result", "")}
    counts = frames(path)
    assert counts
    assert (max(counts) > 5) == (path.stem in FILMS)
    assert path.stat().st_size < MAX_BYTES


@needs_jupyter
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name in BY_NIGHT)) for name in NAMES]
)
def test_a_notebook_runs_from_a_clean_kernel(name: str, tmp_path: Path) -> None:
    lacking = missing(*NEEDS[name])
    if lacking:
        pytest.skip(f"{name} needs {', '.join(lacking)}")
    result = run(FOLDER / "execute.py", name, "--out-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr[-4000:]
    check_outputs(tmp_path / f"{name}.ipynb")


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_notebook_holds_pictures_and_no_error(name: str) -> None:
    pytest.importorskip("PIL", reason="looks at pictures with pillow")
    path = FOLDER / f"{name}.ipynb"
    check_outputs(path)
    text = json.dumps([one for one in outputs(path) if "data" not in one])
    assert "/tmp/" not in text
    assert str(Path.home()) not in text


@needs_jupyter
@pytest.mark.parametrize("name", NAMES)
def test_both_files_of_a_notebook_agree(name: str) -> None:
    import jupytext

    source, stored = FOLDER / f"{name}.py", FOLDER / f"{name}.ipynb"
    cells = jupytext.read(source, fmt="py:percent").cells
    assert [(cell.cell_type, cell.source) for cell in cells] == [
        (cell["cell_type"], "".join(cell["source"])) for cell in notebook(stored)["cells"]
    ]
    back = jupytext.read(stored)
    back.metadata["jupytext"] = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"}
    assert jupytext.writes(back, fmt="py:percent") == source.read_text()


@needs_jupyter
def test_an_error_in_a_cell_is_reported_and_keeps_the_stored_notebook(tmp_path: Path) -> None:
    script = tmp_path / "execute.py"
    shutil.copy(FOLDER / "execute.py", script)
    (tmp_path / "01_bad.py").write_text("# %%\nprint('so far')\n\n# %%\n1 / 0\n")
    (tmp_path / "01_bad.ipynb").write_text("as it was")
    result = run(script)
    assert result.returncode == 1
    assert "01_bad failed" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert (tmp_path / "01_bad.ipynb").read_text() == "as it was"


def test_an_unknown_notebook_is_named_with_those_there_are() -> None:
    result = run(FOLDER / "execute.py", "08_none")
    assert result.returncode == 2
    assert "no notebook '08_none'" in result.stderr
    assert NAMES[0] in result.stderr


def test_the_page_lists_every_notebook() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text()
    assert NAMES
    assert [name for name in NAMES if f"{name}.ipynb" not in page] == []
