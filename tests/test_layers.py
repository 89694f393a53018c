"""Which module may import which: read from the sources, without importing them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "selfdrive_env"
ROOT = Path(__file__).parents[1] / PACKAGE
MAX_LINES = 600

# A part imports from itself and from the rows above it, not from the others of its row.
LAYERS = (
    ("arrays", "buffers", "checks", "signatures"),
    ("cache",),
    ("state",),
    ("params",),
    ("layout",),
    ("config",),
    ("kernels", "maps", "policies"),
    ("engine", "devices", "episodes"),
    ("device",),
    ("env",),
    ("traffic",),
    ("single", "device_env"),
    ("adapters", "rendering"),
    ("training", "evaluation", "testing", "bench", "warmup"),
    ("play",),
    ("commands",),
    ("__init__", "__main__"),
)

# A kernel imports from those to its left.
KERNELS = (
    *("block", "compiling", "parallel", "clock", "pointers", "functions", "vectors"),
    *("halves",),
    *("geometry", "random", "actions"),
    *("dynamics", "surface", "road", "collision", "lights"),
    *("route", "path", "conflicts", "drivers", "metrics", "spawn", "points"),
    *("neighbours", "observation"),
    *("reward", "world", "cuda"),
)

# Library -> the parts (or modules) that may import it, at the top or inside a function. Two
# searches of the map compiler are too slow without numba, so they name it too.
LIBRARIES = {
    "numba": (
        *("kernels", "cache", "signatures", "arrays", "engine", "maps.routes", "maps.near"),
        "policies.sets",
    ),
    "llvmlite": ("kernels", "cache", "arrays", "engine", "policies.sets"),
    "gymnasium": (
        *("single", "traffic", "device_env", "__init__", "env", "adapters", "testing", "bench"),
        "commands",
    ),
    "torch": ("device", "devices", "device_env", "adapters", "training", "evaluation"),
    "safetensors": ("policies.files", "training"),
    "stable_baselines3": ("adapters.sb3",),
    "pettingzoo": ("adapters.pettingzoo",),
    "torchrl": ("adapters.torchrl",),
    "tensordict": ("adapters.torchrl", "adapters.rsl_rl"),
    "rsl_rl": ("adapters.rsl_rl",),
    "rl_games": ("adapters.rl_games",),
    "pufferlib": ("adapters.pufferlib",),
    "minari": ("adapters.minari",),
    "shapely": ("maps",),
    "PIL": ("rendering",),
    "av": ("rendering",),
    "pygame": ("rendering.window",),
    "shtab": ("commands",),
    "matplotlib": ("evaluation", "maps.plot"),
}

# (module, import) -> why it is allowed inside functions.
LAZY_EXCEPTIONS = {
    ("arrays", "torch"): "device memory belongs to torch",
    ("env", "device_env"): "worlds on a device are made only when they are asked for",
    ("env", "traffic"): "a policy is read only where one drives",
    ("env", "rendering"): "render() draws only when it is asked to",
}

HEAVY = (
    *("torch", "numba", "matplotlib", "shapely", "PIL", "av", "stable_baselines3", "pettingzoo"),
    *("minari", "torchrl", "pygame"),
)


class Import(NamedTuple):
    module: str
    """Importing module, dotted, without the package's name; "__init__" for the package itself."""

    target: str
    """Imported module: of this package likewise, else the library's top name."""

    own: bool
    lazy: bool
    """Stands inside a function."""


def part(module: str) -> str:
    return module.split(".")[0]


def module_name(path: Path, root: Path) -> str:
    names = path.relative_to(root).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 1 else names)


def is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes(body: list[ast.stmt], lazy: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Import statements below `body`, and whether a function holds them."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, lazy
        if is_typing_only(node):
            continue
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        children = [child for child in ast.walk(node) if isinstance(child, ast.stmt)]
        direct = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        # Handlers of `try` and cases of `match` are no statements but hold some.
        held = [
            statement
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.ExceptHandler | ast.match_case)
            for statement in child.body
        ]
        if len(children) > 1:
            yield from nodes(direct + held, inside)


def imports(root: Path) -> list[Import]:
    found = []
    for path in sorted(root.rglob("*.py")):
        module = module_name(path, root)
        is_package = path.name == "__init__.py" and path.parent != root
        parents = module.split(".") if is_package else module.split(".")[:-1]
        for node, lazy in nodes(ast.parse(path.read_text()).body):
            for name in imported_names(node, parents):
                top, _, rest = name.partition(".")
                own = top == PACKAGE
                found.append(Import(module, own_module(rest, root) if own else top, own, lazy))
    return found


def imported_names(node: ast.stmt, parents: list[str]) -> list[str]:
    """Absolute dotted names that an import statement reaches for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    base = node.module or ""
    if node.level:
        above = [PACKAGE, *parents][: len(parents) + 2 - node.level]
        base = ".".join([*above, base] if base else above)
    return [f"{base}.{alias.name}" for alias in node.names]


def own_module(name: str, root: Path) -> str:
    """The longest prefix of a dotted name that is a module of the package."""
    names = name.split(".")
    while names:
        path = root.joinpath(*names)
        if path.with_suffix(".py").is_file() or path.is_dir():
            return ".".join(names)
        names.pop()
    return "__init__"


def layer(module: str) -> int | None:
    ranks = [rank for rank, parts in enumerate(LAYERS) if part(module) in parts]
    return ranks[0] if ranks else None


def breaches_a_layer(entry: Import) -> bool:
    if part(entry.module) == part(entry.target):
        return False
    if entry.target == "__init__":  # a name of the package itself, such as its version
        return part(entry.module) not in LAYERS[-1]
    above, below = layer(entry.module), layer(entry.target)
    return above is None or below is None or below >= above


def breaches_kernel_order(entry: Import) -> bool:
    if not (entry.module.startswith("kernels.") and entry.target.startswith("kernels.")):
        return False
    names = [module.split(".")[1] for module in (entry.module, entry.target)]
    if not set(names) <= set(KERNELS):
        return True
    return names[0] != names[1] and KERNELS.index(names[1]) >= KERNELS.index(names[0])


def breaches_a_library(entry: Import) -> bool:
    allowed = LIBRARIES.get(entry.target)
    return allowed is not None and not any(
        entry.module == name or entry.module.startswith(f"{name}.") for name in allowed
    )


def breaches(root: Path) -> list[str]:
    found = []
    for entry in imports(root):
        keys = {(name, part(entry.target)) for name in (entry.module, part(entry.module))}
        if entry.lazy and keys & set(LAZY_EXCEPTIONS):
            continue
        if entry.own:
            wrong = breaches_a_layer(entry) or breaches_kernel_order(entry)
        else:
            wrong = breaches_a_library(entry)
        if wrong:
            found.append(f"{entry.module} imports {entry.target}")
    return sorted(set(found))


def test_modules_import_only_from_below() -> None:
    assert breaches(ROOT) == []


def test_every_module_has_a_layer() -> None:
    modules = {module_name(path, ROOT) for path in ROOT.rglob("*.py")}
    assert [module for module in sorted(modules) if layer(module) is None] == []


def test_every_kernel_has_a_place_in_the_order() -> None:
    names = {path.stem for path in (ROOT / "kernels").glob("*.py")} - {"__init__"}
    assert names <= set(KERNELS)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("state", "from selfdrive_env.engine import Engine"),
        ("state", "from .engine import Engine"),
        ("maps/compile", "from selfdrive_env.kernels import road"),
        ("maps/compile", "from ..kernels.road import nearest_lane"),
        ("arrays", "import selfdrive_env.config"),
        ("adapters/sb3", "from selfdrive_env.training.ppo import train"),
        ("env", "from selfdrive_env.rendering import draw"),
        ("kernels/geometry", "from selfdrive_env.kernels.random import uniform"),
        ("kernels/road", "from .reward import weigh"),
        ("kernels/unheard_of", "from selfdrive_env.kernels.geometry import rotate"),
        ("env", "import numba"),
        ("maps/compile", "from numba import njit"),
        ("engine", "import gymnasium as gym"),
        ("env", "import torch.nn"),
        ("arrays", "import torch"),
        ("adapters/torch", "from stable_baselines3 import PPO"),
        ("state", "def f():\n    try:\n        pass\n    except OSError:\n        import torch"),
    ],
)
def test_a_planted_import_is_caught(tmp_path: Path, module: str, line: str) -> None:
    plant(tmp_path, module, line)
    assert len(breaches(tmp_path)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine", "from selfdrive_env.kernels import road"),
        ("kernels/road", "from .geometry import rotate"),
        ("env", "def render():\n    from selfdrive_env.rendering import draw"),
        ("maps/routes", "from numba import njit"),
        ("state", "if TYPE_CHECKING:\n    from selfdrive_env.engine import Engine"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, module: str, line: str) -> None:
    plant(tmp_path, module, line)
    assert breaches(tmp_path) == []


def plant(root: Path, module: str, line: str) -> None:
    """A package of empty modules, one of which holds `line`."""
    names = [name for row in LAYERS for name in row if name not in ("kernels", "maps", "adapters")]
    names += ["kernels/geometry", "kernels/random", "kernels/road", "kernels/reward"]
    names += ["maps/compile", "maps/routes", "adapters/sb3", "adapters/torch", "training/ppo"]
    for name in names:
        path = root / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (root / f"{module}.py").write_text(line + "\n")


def test_no_module_is_over_600_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert [str(path) for path, lines in lengths.items() if lines > MAX_LINES] == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, {PACKAGE}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
