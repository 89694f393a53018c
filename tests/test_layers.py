"""Which module may import which: read from the sources, without importing them."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "selfdrive_env"
ROOT = Path(__file__).parents[1] / PACKAGE
MIN_LINES, MAX_LINES = 30, 500
MAX_MODULES = 10
"""Of a folder, beside `__init__`."""

# A folder imports from itself and from the rows above it, not from the others of its row.
LAYERS = (
    ("state",),
    ("config",),
    ("compiler",),
    ("kernels", "maps", "policies"),
    ("engine", "rendering"),
    ("images",),
    ("scenes",),
    ("metrics",),
    ("episodes",),
    ("envs",),
    ("adapters", "wrappers"),
    ("training", "evaluation", "testing", "datasets"),
    ("play",),
    ("commands",),
    ("moved",),
    ("__init__", "__main__"),
)

# Within a folder a module imports from the rows above its own, likewise.
ORDER = {
    "state": (
        *(("arrays",), ("images", "rewards", "road", "scratch", "world", "params")),
        ("bounds", "camera", "dynamics", "model", "places"),
    ),
    "config": (
        *(("aliases",), ("checks", "files", "installation"), ("choices", "observation")),
        *(("images", "layouts", "presets"), ("settings",), ("params",), ("__init__",)),
    ),
    "state.images": (("codes", "structs"), ("__init__",)),
    "config.images": (("pictures",), ("camera",), ("views",), ("__init__",)),
    "compiler": (
        *(("progress", "threads"), ("cache",), ("njit", "structs", "device")),
        *(("workers", "vectors"), ("simd",), ("half",)),
    ),
    "kernels": (
        *(
            ("math",),
            ("dynamics",),
            ("surface", "collision"),
            ("road",),
            ("walks",),
            ("rules", "route"),
        ),
        *(
            ("drivers", "events", "starts"),
            ("spawn",),
            ("observation", "reward"),
            ("rows",),
            ("step",),
            ("images",),
        ),
    ),
    "kernels.math": (("elementary",), ("geometry", "random")),
    "kernels.dynamics": (
        *(("pose",), ("bicycle", "delta", "placed"), ("classic",), ("models",)),
        *(("acted",), ("recorded",), ("actions", "jerk_bicycle")),
    ),
    "kernels.rules": (("gaps", "lights", "stop_lines"), ("right_of_way",)),
    "kernels.drivers": (
        *(("path_info", "erratic"), ("lane_changes", "lines", "precedence"), ("path",)),
        *(("conflicts", "steering"), ("idm",), ("recorded",), ("scripted",)),
    ),
    "kernels.images": (("frames", "shapes", "store"), ("camera", "tiles"), ("bev",)),
    "kernels.images.camera": (
        *(("eye", "labels", "noise", "store"), ("faces",), ("bodies", "ground"), ("things",)),
        ("picture",),
    ),
    "kernels.starts": (("bodies", "room"), ("recorded", "standing")),
    "kernels.observation": (
        *(("crowd", "kept_way", "outlook", "scales"), ("way",)),
        *(("leaders", "road_points", "shown_way"), ("neighbours",), ("rows",)),
    ),
    "maps": (
        *(("columns", "warps"), ("flaws",), ("road_network",), ("network", "inspection", "xml")),
        ("opendrive", "sumo", "lanelet2", "commonroad", "towns", "compile"),
        *(("procedural", "pool"), ("integrity",), ("cache", "readers"), ("__init__",)),
    ),
    "maps.pool": (("kept_map",), ("map_pool",)),
    "scenes": (
        *(("tracks",), ("agents", "experts"), ("roads",), ("checks", "edits", "packing", "plot")),
        *(("scene",), ("readers", "tasks"), ("command",), ("__init__",)),
    ),
    "scenes.tasks": (("roads",), ("cast",), ("crossings", "streets"), ("table",)),
    "scenes.readers": (
        *(("recorded",), ("json_tables",)),
        *(("argoverse", "commonroad", "gpudrive", "scenarionet", "womd"), ("__init__",)),
    ),
    "scenes.readers.womd": (
        *(("crc32c", "wire"), ("tfrecord", "scenario"), ("example",), ("reader",)),
    ),
    "engine": (
        *(("buffers", "devices", "launch", "states", "next_maps", "open_maps"), ("pictures",)),
        *(("device_pictures",), ("cpu",), ("cuda",)),
    ),
    "images": (("codes", "raster", "scenery"), ("camera", "ground", "labels"), ("render", "views")),
    "images.scenery": (
        *(("bridges", "markings", "materials", "shapes"), ("baking",), ("texels",), ("pool",)),
    ),
    "metrics": (
        *(("lines", "metric"), ("boxes", "road"), ("case", "maps"), ("divergence",)),
        *(("routes", "surroundings"), ("rules",), ("realism", "scores"), ("table",)),
        ("__init__",),
    ),
    "metrics.lines": (("search",), ("segments",), ("polylines",), ("ways",)),
    "metrics.rules": (
        *(("comfort", "lanes", "lights"), ("faults", "lane_changes"), ("time_to_collision",)),
    ),
    "metrics.realism": (("likelihoods", "neighbours"), ("score",)),
    "metrics.scores": (("driving", "scenes"),),
    "envs": (
        *(("infos", "views", "codrivers", "spec"), ("backend",), ("vector",)),
        *(("traffic", "scenes"), ("torch",)),
        *(("single", "make"), ("__init__",)),
    ),
    "envs.torch": (("backends",), ("vector",), ("forms",), ("__init__",)),
}

# Library -> the parts (or modules) that may import it, at the top or inside a function.
LIBRARIES = {
    "numba": ("compiler",),
    "llvmlite": ("compiler",),
    "gymnasium": ("envs", "__init__", "adapters", "wrappers", "testing", "commands"),
    "torch": (
        *("policies.encoder", "engine.cuda", "engine.devices", "engine.device_pictures"),
        *("envs.torch",),
        *("adapters", "training", "evaluation"),
    ),
    "safetensors": ("maps.columns", "policies.files", "training"),
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
    "pyarrow": ("scenes.readers.argoverse",),
    "av": ("rendering",),
    "pygame": ("rendering.window",),
    "shtab": ("commands",),
    "matplotlib": ("evaluation",),
    "onnx": ("policies.onnx_export",),
}

# (module, import) -> why it is allowed inside functions.
LAZY_EXCEPTIONS = {
    ("state.arrays", "torch"): "device memory belongs to torch",
}

HEAVY = (
    *("torch", "numba", "matplotlib", "shapely", "PIL", "av", "stable_baselines3", "pettingzoo"),
    *("minari", "torchrl", "pygame", "onnx", "pyarrow"),
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
        direct = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        # Handlers of `try` and cases of `match` are no statements but hold some.
        held = [
            statement
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.ExceptHandler | ast.match_case)
            for statement in child.body
        ]
        yield from nodes(direct + held, inside)


@functools.cache
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


def breaches_an_order(entry: Import) -> bool:
    """Whether a module imports from its own row of `ORDER`, or from one below."""
    for folder, rows in ORDER.items():
        names = [name_in(folder, module) for module in (entry.module, entry.target)]
        if None in names or names[0] == names[1]:
            continue
        ranks = [[rank for rank, row in enumerate(rows) if name in row] for name in names]
        if names[0] == "__init__" and not ranks[0]:  # hands out names of its folder
            continue
        if not all(ranks) or ranks[1] >= ranks[0]:
            return True
    return False


def name_in(folder: str, module: str) -> str | None:
    """The part of a dotted name that lies directly in a folder; the folder itself is `__init__`."""
    if module == folder:
        return "__init__"
    inside = module.removeprefix(f"{folder}.")
    return None if inside == module else part(inside)


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
            wrong = breaches_a_layer(entry) or breaches_an_order(entry)
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


def test_every_module_of_an_ordered_folder_has_a_place() -> None:
    for folder, rows in ORDER.items():
        place = ROOT.joinpath(*folder.split("."))
        names = {path.stem for path in place.iterdir() if is_module(path)} - {"__init__"}
        assert names <= {name for row in rows for name in row}, folder


def is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def circles(entries: list[Import]) -> list[str]:
    """Modules that import each other, over any number of steps."""
    targets: dict[str, set[str]] = {}
    for entry in entries:
        if entry.own and entry.module != entry.target:
            targets.setdefault(entry.module, set()).add(entry.target)
    found = []
    for module in targets:
        reached: set[str] = set()
        left = list(targets[module])
        while left:
            one = left.pop()
            if one not in reached:
                reached.add(one)
                left += targets.get(one, ())
        if module in reached:
            found.append(module)
    return sorted(found)


def test_no_module_imports_itself_over_others() -> None:
    assert circles(imports(ROOT)) == []


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "envs/vector", "def f():\n    from selfdrive_env.envs import make")
    (tmp_path / "envs" / "make.py").write_text("from selfdrive_env.envs.vector import f\n")
    assert circles(imports(tmp_path)) == ["envs.make", "envs.vector"]


def test_folders_are_small_and_say_what_they_are() -> None:
    for place in sorted({path.parent for path in ROOT.rglob("*.py")}):
        modules = [path for path in place.glob("*.py") if path.stem not in ("__init__", "__main__")]
        assert len(modules) <= MAX_MODULES, place
        assert ast.get_docstring(ast.parse((place / "__init__.py").read_text())), place


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("state/world", "from selfdrive_env.engine.cpu import Engine"),
        ("state/world", "from ..engine.cpu import Engine"),
        ("state/arrays", "from selfdrive_env.state.world import Agents"),
        ("state/road", "from .world import Agents"),
        ("maps/compile/grid", "from selfdrive_env.kernels import road"),
        ("maps/compile/grid", "from ...kernels.road import nearest_lane"),
        ("state/arrays", "import selfdrive_env.config"),
        ("adapters/sb3", "from selfdrive_env.training.ppo import train"),
        ("rendering/painter", "from selfdrive_env.envs.vector import make"),
        ("kernels/math/geometry", "from selfdrive_env.kernels.math.random import uniform"),
        ("kernels/road", "from .reward import weigh"),
        ("kernels/unheard_of", "from selfdrive_env.kernels.math.geometry import rotate"),
        ("envs/vector", "import numba"),
        ("kernels/road", "from numba import njit"),
        ("engine/cpu", "import gymnasium as gym"),
        ("envs/vector", "import torch.nn"),
        ("state/arrays", "import torch"),
        ("adapters/torch", "from stable_baselines3 import PPO"),
        (
            "state/world",
            "def f():\n    try:\n        pass\n    except OSError:\n        import torch",
        ),
    ],
)
def test_a_planted_import_is_caught(tmp_path: Path, module: str, line: str) -> None:
    plant(tmp_path, module, line)
    assert len(breaches(tmp_path)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine/cpu", "from selfdrive_env.kernels import road"),
        ("kernels/road", "from .math.geometry import rotate"),
        ("envs/vector", "def render():\n    from selfdrive_env.rendering import painter"),
        ("compiler/njit", "from numba import njit"),
        ("state/world", "if TYPE_CHECKING:\n    from selfdrive_env.engine.cpu import Engine"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, module: str, line: str) -> None:
    plant(tmp_path, module, line)
    assert breaches(tmp_path) == []


def plant(root: Path, module: str, line: str) -> None:
    """A package of empty modules, one of which holds `line`."""
    names = [f"{folder.replace('.', '/')}/{name}" for folder, rows in ORDER.items()
        for row in rows for name in row if f"{folder}.{name}" not in ORDER]  # fmt: skip
    names += ["maps/compile/grid", "adapters/sb3", "adapters/torch", "training/ppo"]
    for name in [*names, "rendering/painter", module]:
        path = root / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        if not path.with_suffix("").is_dir():
            path.touch()
    (root / f"{module}.py").write_text(line + "\n")


def test_modules_are_neither_long_nor_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    wrong = {
        str(path): lines
        for path, lines in lengths.items()
        if lines > MAX_LINES or (lines < MIN_LINES and path.stem != "__init__")
    }
    assert wrong == {}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, {PACKAGE}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
