"""Tables of the documentation, made from the package's own tables while the pages are built.

As a Sphinx extension it brings one directive, which puts one of `TABLES` in its place::

    ```{generated} settings
    ```
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import selfdrive_env
from selfdrive_env.config.choices import CHOICES, MAP_FAMILIES, POLICIES, TRAFFIC
from selfdrive_env.config.images import BirdsEye, Camera, Picture
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.observation import OBSERVATION, slots
from selfdrive_env.config.params import make_draws
from selfdrive_env.config.presets import BODY_TYPES, PRESETS
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.infos import FINALS
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.procedural.families import MIXTURE, URBAN, Family
from selfdrive_env.maps.procedural.layout.dress import Style
from selfdrive_env.maps.procedural.layout.lattice import Lattice
from selfdrive_env.metrics import METRICS as TRAFFIC_METRICS
from selfdrive_env.metrics.realism import FEATURES
from selfdrive_env.state.rewards import REWARDS, TRAINING_RANGE, WEIGHTS

__all__ = ["TABLES", "field_texts", "setup"]

PAGES = (
    *("training", "evaluation", "metrics", "libraries", "libraries/*", "notebooks", "play"),
    *("replay", "cli", "how-to/*", "gpu"),
)
"""How the package is used, in the order of the contents: those pages that there are."""

HERE = Path(__file__).parent
NAMED = {**CHOICES, "preset": tuple(PRESETS), "traffic": (*TRAFFIC, *POLICIES)}
"""Names that a setting knows."""

ADAPTERS = Path(selfdrive_env.__file__).parent / "adapters"


def code(value: Any) -> str:
    """Returns a value as code in a cell."""
    if dataclasses.is_dataclass(value) or callable(value):
        return ""
    text = repr(list(value) if isinstance(value, tuple) else value).replace("'", '"')
    return f"`{text}`"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Returns a Markdown table."""
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def field_texts(kind: type) -> dict[str, str]:
    """Returns what stands below each field of a dataclass, by name."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts, name = {}, None
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            continue
        text = node.value if isinstance(node, ast.Expr) else None
        if name and isinstance(text, ast.Constant) and isinstance(text.value, str):
            texts[name] = " ".join(text.value.split())
        name = None
    return texts


def as_prose(text: str) -> str:
    """Returns a docstring as Markdown: what it names in single backticks is code there too."""
    return text.replace("<", r"\<").replace("*", r"\*")


def settings() -> str:
    """Returns every setting with its default and meaning."""
    texts, rows = field_texts(Settings), []
    for field in dataclasses.fields(Settings):
        missing = field.default is dataclasses.MISSING
        default = field.default_factory() if missing else field.default  # type: ignore[misc]
        meaning = as_prose(texts[field.name])
        if field.name in NAMED:
            meaning += " Names: " + ", ".join(code(one) for one in NAMED[field.name]) + "."
        rows.append((f"`{field.name}`", code(default), meaning))
    return table(("setting", "default", "meaning"), rows)


def bev() -> str:
    """Returns the settings of pictures from above."""
    return picture_settings(BirdsEye)


def camera() -> str:
    """Returns the settings of cameras."""
    return picture_settings(Camera)


def picture_settings(kind: type[Picture]) -> str:
    """Returns the settings of a kind of pictures."""
    texts = {**field_texts(Picture), **field_texts(kind)}
    rows = [
        (f"`{field.name}`", code(field.default), as_prose(texts[field.name]))
        for field in dataclasses.fields(kind)
    ]
    return table(("setting", "default", "meaning"), rows)


def observation() -> str:
    """Returns the groups of a row, with their place in both layouts, and every column."""
    counts = {name: layout.counts for name, layout in LAYOUTS.items()}
    rows: list[tuple[Any, ...]] = []
    for group, columns in OBSERVATION.items():
        row: list[Any] = [f"`{group}`", len(columns)]
        for name, layout in LAYOUTS.items():
            place = layout.slices[group]
            row += [slots(counts[name])[group], f"{place.start}:{place.stop}"]
        rows.append(tuple(row))
    total = ["**row**", ""]
    for layout in LAYOUTS.values():
        total += ["", f"{layout.width}"]
    rows.append(tuple(total))
    head = ["group", "columns"]
    for name in LAYOUTS:
        head += [f"slots, `{name}`", f"place, `{name}`"]
    parts = [table(head, rows)]
    for group, columns in OBSERVATION.items():
        cells = [
            (number, f"`{one.name}`", one.text, one.scale) for number, one in enumerate(columns)
        ]
        parts.append(f"**`{group}`**\n\n" + table(("", "column", "meaning", "scale"), cells))
    return "\n".join(parts)


def actions() -> str:
    """Returns the jerks of each discrete action."""
    import numpy as np

    one = np.zeros(1, np.uint8)
    jerk = make_draws(Settings(), one, one).jerk
    rows = [
        (number, *(f"{value:+g}" if value else "0" for value in pair))
        for number, pair in enumerate(jerk.tolist())
    ]
    return table(("action", "longitudinal jerk [m/s³]", "lateral jerk [m/s³]"), rows)


def weight_text(value: Any) -> str:
    """Returns a weight, or the range that it is drawn from."""
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{value:g}"


def rewards() -> str:
    """Returns the terms of the reward with their formulas."""
    rows = ((f"`{one.name}`", f"`{one.formula}`") for one in REWARDS if one.formula)
    return table(("term", "value"), rows)


def weights() -> str:
    """Returns every reward weight in each preset, and whether it is observed."""
    rows = []
    for name in WEIGHTS:
        values = [weight_text(preset[name]) for preset in PRESETS.values()]
        scale = TRAINING_RANGE.get(name)
        rows.append((f"`{name}`", *values, weight_text(scale) if scale else "not observed"))
    return table(("weight", *(f"`{name}`" for name in PRESETS), "observed as -1 to 1"), rows)


def metrics() -> str:
    """Returns what `final_info` holds of an episode that ended."""
    known = {one.name: (one.meaning, one.unit) for one in METRICS}
    known["length"] = ("steps that the episode lasted", "1")
    known["km"] = ("way driven", "km")
    rows = []
    for name in FINALS:
        term = name.removeprefix("reward_")
        meaning, unit = known.get(name, (f"sum of the reward's term `{term}`, weighted", "1"))
        rows.append((f"`{name}`", meaning, unit))
    return table(("name", "meaning", "unit"), rows)


def bodies() -> str:
    """Returns the types of bodies."""
    head = ("type", "share in `typed`", "length [m]", "width [m]", "C_throttle", "C_steer",
        "C_acc", "C_vel")  # fmt: skip
    rows = []
    for name, (share, short, long, slim, wide, *means) in BODY_TYPES.items():
        sizes = (f"{short:g} to {long:g}", f"{slim:g} to {wide:g}")
        rows.append((f"`{name}`", f"{share:.0%}", *sizes, *(f"{mean:g}" for mean in means)))
    return table(head, rows)


def towns() -> str:
    """Returns figures of the built-in towns."""
    rows = []
    for name in BUILT_IN:
        town = describe(load(name))
        figures = (town["roads"], town["junctions"], town["traffic_lights"])
        rows.append((f"`{name}`", f"{town['driving_lane_km']:.1f}", *figures))
    return table(("town", "lanes [km]", "roads", "junctions", "traffic lights"), rows)


def families() -> str:
    """Returns what there is of maps by seed."""
    rows = [(f"`{name}:`", meaning) for name, meaning in MAP_FAMILIES.items()]
    return table(("family", "what its maps are like"), rows)


def mixture() -> str:
    """Returns the shares of the families that maps of the family `town` are of."""
    rows = [(f"`{name}`", percent(share)) for name, share in MIXTURE.items()]
    return table(("family", "share"), rows)


def town_ranges() -> str:
    """Returns what the families of maps by seed without motorways are drawn from."""
    rows = []
    for kind, part in ((Lattice, "lattice"), (Family, ""), (Style, "style")):
        for name, text in field_texts(kind).items():
            drawn = [getattr(one, part) if part else one for one in URBAN.values()]
            cells = [as_range(getattr(one, name)) for one in drawn]
            if any(cells):
                rows.append((f"`{name}`: {as_prose(text)}", *cells))
    return table(("", *(f"`{name}`" for name in URBAN)), rows)


def percent(share: float) -> str:
    """Returns a share in whole per cent."""
    return f"{100.0 * share:.0f} %"


def as_range(value: Any) -> str:
    """Returns a range, a share, numbers or a table of shares for a cell; "" for what is none."""
    if isinstance(value, Mapping):
        total = sum(value.values())
        return ", ".join(f"{name} {percent(share / total)}" for name, share in value.items())
    if isinstance(value, tuple):
        if value and isinstance(value[0], tuple):
            return "; ".join(as_range(one) for one in value)
        joint = " to " if len(value) == 2 else ", "
        return joint.join(f"{one:g}" for one in value)
    if dataclasses.is_dataclass(value):
        return ", ".join(as_range(getattr(value, one.name)) for one in dataclasses.fields(value))
    return f"{value:g}" if isinstance(value, int | float) else ""


def adapters() -> str:
    """Returns what tells autodoc to document every adapter that there is."""
    parts = []
    for path in sorted(ADAPTERS.glob("[!_]*.py")):
        module = f"selfdrive_env.adapters.{path.stem}"
        lines = ("```{eval-rst}", f".. automodule:: {module}", "```")
        parts.append("\n".join((f"**{module}**", "", *lines)))
    return "\n\n".join(parts)


def pages() -> str:
    """Returns the contents' part on how the package is used."""
    found = [path for name in PAGES for path in sorted(HERE.glob(f"{name}.md"))]
    names = [path.relative_to(HERE).with_suffix("").as_posix() for path in found]
    return "\n".join(("```{toctree}", ":caption: Use", ":hidden:", "", *names, "```"))


def traffic_metrics() -> str:
    """Returns every metric of traffic by definition."""
    rows = []
    for one in TRAFFIC_METRICS:
        limit = "" if one.limit is None else f"{one.limit:g}"
        needs = ", ".join(one.needs)
        rows.append((f"`{one.name}`", one.unit, one.meaning, limit, needs, one.source))
    return table(("metric", "unit", "meaning", "wrong above", "needs", "after"), rows)


def realism() -> str:
    """Returns the features that are compared, with their bins and weights."""
    rows = []
    for one in FEATURES:
        bins = "ever" if one.ever else f"{one.num_bins} from {one.bounds[0]:g} to {one.bounds[1]:g}"
        of = "cars" if one.cars_only else "all"
        rows.append((f"`{one.name}`", one.unit, bins, f"{one.weight:g}", of))
    return table(("feature", "unit", "bins", "weight", "of"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "actions": actions,
    "adapters": adapters,
    "bev": bev,
    "camera": camera,
    "bodies": bodies,
    "families": families,
    "metrics": metrics,
    "mixture": mixture,
    "observation": observation,
    "pages": pages,
    "realism": realism,
    "rewards": rewards,
    "settings": settings,
    "town_ranges": town_ranges,
    "towns": towns,
    "traffic_metrics": traffic_metrics,
    "weights": weights,
}
"""Name in the directive -> makes its Markdown."""


def setup(app: Any) -> dict[str, Any]:
    """Tells Sphinx about the directive."""
    from sphinx.util.docutils import SphinxDirective

    class Generated(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[Any]:
            name = self.arguments[0]
            if name not in TABLES:
                raise self.error(f"no table {name!r}; there are {', '.join(TABLES)}")
            return self.parse_text_to_nodes(TABLES[name]())

    app.add_directive("generated", Generated)
    return {"version": "1", "parallel_read_safe": True}
