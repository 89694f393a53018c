"""Builds wheel and source package, looks into both, and tries the wheel as a user would.

The wheel goes into a new environment without extras, away from the checkout, and has to import
quickly, step an environment and describe a map. PYTHON names the interpreter to start from,
PACKAGE_CACHE a folder with kernels; without it they are compiled, as for a user who comes anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_WHEEL = 10_000_000
NEEDED = ("py.typed", "policies/selfplay.safetensors", "policies/selfplay.md", "__main__.py")
SOURCES = ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "setup.cfg",
    "constraints.txt", "constraints.in", "run", "docs/conf.py", ".ci/run", "SECURITY.md",
    "docs/images/selfplay.gif", "tests/envs/test_vector.py", "examples/ppo_sb3.py",
    "benchmarks/peers.py")  # fmt: skip
BUILT = (".so", ".pyd", ".dylib", ".dll", ".pyc", ".nbi", ".nbc")
"""What a wheel for every platform cannot have."""
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
HEAVY = ("torch", "numba", "matplotlib", "shapely", "PIL", "av", "stable_baselines3", "pygame")

SMOKE = f"""
import sys, time
start = time.perf_counter()
import selfdrive_env
took = time.perf_counter() - start
assert "site-packages" in selfdrive_env.__file__, selfdrive_env.__file__
assert selfdrive_env.__version__ != "0.0.0"
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, f"import selfdrive_env brings {{heavy}}"
print(f"imported in {{took:.2f}} s")
import gymnasium, numpy
envs = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=8, agents_per_world=8)
observations, infos = envs.reset(seed=0)
observations, rewards, *_ = envs.step(envs.action_space.sample())
assert observations.shape == (8, 1265) and numpy.isfinite(rewards).all()
env = gymnasium.make("selfdrive_env/Drive-v0", traffic="selfplay")
env.reset(seed=0)
env.step(7)
print("made, reset and stepped")
"""


def run(*command: str | Path, **keywords: object) -> str:
    """Runs a command; shows what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **keywords)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return str(done.stdout)


def check_wheel(wheel: Path) -> None:
    size = wheel.stat().st_size
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = opened.read(about).decode()
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is for one platform only"
    built = [name for name in names if name.endswith(BUILT)]
    assert not built, f"{wheel.name} has compiled files: {built}"
    assert "\nLicense-Expression: MIT\n" in metadata, f"{wheel.name} has no SPDX expression"
    assert size < MAX_WHEEL, f"{wheel.name} has {size} bytes"
    missing = [name for name in NEEDED if f"selfdrive_env/{name}" not in names]
    assert not missing, f"{wheel.name} lacks {missing}"
    tops = {name.split("/")[0] for name in names}
    strange = {top for top in tops if top != "selfdrive_env" and not top.endswith(".dist-info")}
    assert not strange, f"{wheel.name} has {strange}"
    modules = {f"selfdrive_env/{path.relative_to(ROOT / 'selfdrive_env').as_posix()}"
        for path in (ROOT / "selfdrive_env").rglob("*.py")}  # fmt: skip
    assert modules <= names, f"{wheel.name} lacks {sorted(modules - names)}"
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files")


def check_sources(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    missing = [name for name in SOURCES if name not in names]
    assert not missing, f"{archive.name} lacks {missing}"
    print(f"{archive.name}: {archive.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def main() -> None:
    python = os.environ.get("PYTHON", sys.executable)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(sys.executable, "-m", "build", "--outdir", scratch / "dist", ROOT)
        (wheel,) = (scratch / "dist").glob("*.whl")
        (archive,) = (scratch / "dist").glob("*.tar.gz")
        check_wheel(wheel)
        check_sources(archive)

        run(python, "-m", "venv", scratch / "venv")
        there = scratch / "venv" / PROGRAMS / "python"
        constraints = ROOT / "constraints.txt"
        run(there, "-m", "pip", "install", "--quiet", "-c", constraints, wheel)
        outside = scratch / "elsewhere"
        outside.mkdir()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["SELFDRIVE_CACHE"] = os.environ.get("PACKAGE_CACHE", str(scratch / "cache"))
        print(run(there, "-c", SMOKE, cwd=outside, env=environment), end="")
        words = ("-m", "selfdrive_env", "map", "info", "harbour")
        said = run(there, *words, cwd=outside, env=environment)
        assert "driving_lane_km" in said, said
        command = there.with_name("selfdrive")
        assert run(command, *words[2:], cwd=outside, env=environment) == said
        print("both forms of the command line work")


if __name__ == "__main__":
    main()
