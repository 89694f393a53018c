"""Recipes: files that say the stages of a training, and how they are run one after the other."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from selfdrive_env.config.checks import (
    as_list,
    as_table,
    check_choice,
    check_integer,
    suggestion,
)
from selfdrive_env.config.files import write_whole
from selfdrive_env.policies.files import POLICY_FILE
from selfdrive_env.training.config import (
    HUGE,
    PRESETS,
    TrainConfig,
    from_table,
    parse_assignments,
    read_file,
)

if TYPE_CHECKING:
    from selfdrive_env.training.snapshot import RunState

__all__ = ["RECIPES", "Follow", "Recipe", "Stage", "load_recipe", "train_recipe"]

FOLDER = Path(__file__).parent

RECIPES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
"""Names of those that come with the package."""

PARTS = ("preset", "out_dir", "common", "stages", "evaluation")

EVERY = 10_000_000
"""Transitions between two evaluations, where `evaluation` names none."""

Follow = Callable[[Path, str, int], None]
"""Called with the file of a policy on its way, the stage, and the transitions of all stages."""

OWN = {
    "out_dir": "the recipe has one, with a folder for each stage",
    "minutes": "a stage ends after its steps, which mean the same on every machine",
}
"""Settings that no stage has, and why."""

CHAINED = {"start_from": "a stage goes on from the one before"}
"""Settings that only the first stage may have, and why."""


class Stage(NamedTuple):
    """A run of a recipe."""

    name: str
    config: TrainConfig


class Recipe(NamedTuple):
    """Stages, each with a folder of its own in the folder of the recipe."""

    name: str
    out_dir: str
    stages: tuple[Stage, ...]
    every: int
    """Transitions between two evaluations."""

    evaluation: Mapping[str, Any] | None
    """What they are, None without any; `selfdrive train` does them, in Python `follow` does."""


def load_recipe(
    name: str | os.PathLike[str],
    assignments: Iterable[str] = (),
    out_dir: str | None = None,
) -> Recipe:
    """Returns a recipe with the settings of all its stages, checked.

    Args:
        name: One of `RECIPES`, or a file of TOML or JSON: `preset`, `out_dir`, the table `common`
            of settings of all stages, `stages`, tables of a `name` and settings, and the table
            `evaluation`, `every` so many transitions.
        assignments: `key=value` that change every stage.
        out_dir: Folder of the recipe instead of its own.

    Raises:
        ValueError: If there is no such recipe, or it has something that it cannot have.
    """
    text = os.fspath(name)
    file = FOLDER / f"{text}.toml" if text in RECIPES else Path(text)
    if not file.is_file():
        raise ValueError(
            f"recipe must be {', '.join(RECIPES)} or a file that is there, got {text!r}"
            f"{suggestion(text, RECIPES, '')}"
        )
    table = read_file(file)
    for key in table:
        check_choice(f"recipe {text!r}: its parts", key, PARTS)
    folder = out_dir if out_dir is not None else table.get("out_dir", f"runs/{file.stem}")
    if not isinstance(folder, str) or not folder:
        raise ValueError(f"recipe {text!r}: out_dir must be the path of a folder, got {folder!r}")
    changes = parse_assignments(assignments)
    preset = table.get("preset", "cpu")
    check_choice(f"recipe {text!r}: preset", preset, tuple(PRESETS))
    base = {key: value for key, value in PRESETS[preset].items() if key != "minutes"}
    common = as_table(f"recipe {text!r}: common", table.get("common", {}))
    stages: list[Stage] = []
    for place, one in enumerate(as_list(f"recipe {text!r}: stages", table.get("stages", ()))):
        where = f"recipe {text!r}: stages[{place}]"
        stage = dict(as_table(where, one))
        called = _name_of(stage.pop("name", None), where, [s.name for s in stages])
        for change in (common, stage, changes):
            _refuse(change, {**OWN, **(CHAINED if stages else {})}, where)
        own = {"out_dir": os.path.join(folder, called)}
        if stages:
            own["start_from"] = stages[-1].config.out_dir
        try:
            stages.append(Stage(called, from_table(_merged(base, common, stage, changes, own))))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} ({called}): {error}") from None
    if not stages:
        raise ValueError(f"recipe {text!r} must have at least one table in stages, got none")
    evaluation = table.get("evaluation")
    if evaluation is not None:
        evaluation = dict(as_table(f"recipe {text!r}: evaluation", evaluation))
    where = f"recipe {text!r}: evaluation: every"
    every = check_integer(where, (evaluation or {}).pop("every", EVERY), 1, HUGE)
    return Recipe(file.stem, folder, tuple(stages), every, evaluation)


def _name_of(name: Any, where: str, others: list[str]) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError(f"{where}: name must be 1 to 64 letters, digits, - and _, got {name!r}")
    if name in others:
        raise ValueError(f"{where}: name must be another than those before, got {name!r}")
    return name


def _refuse(table: Mapping[str, Any], reasons: Mapping[str, str], where: str) -> None:
    for key, why in reasons.items():
        if key in table:
            raise ValueError(f"{where}: {key} cannot be set ({why}), got {table[key]!r}")


def _merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns tables of settings laid over one another, those of the environment one by one."""
    found: dict[str, Any] = {}
    for table in tables:
        env = {**found.get("env", {}), **as_table("env", table.get("env", {}))}
        found = {**found, **table, "env": env}
    return found


def train_recipe(
    recipe: Recipe, *, resume: bool = False, follow: Follow | None = None
) -> tuple[Stage, dict[str, float]]:
    """Trains the stages in turn; leaves the newest policy in the folder of the recipe.

    Args:
        recipe: What to do.
        resume: Whether to go on with the stage that was cut off; stages that are done stay.
        follow: Looks at the policy whenever `recipe.every` transitions more are learnt from, and
            after each stage.

    Returns:
        The last stage that ran, and figures of its last update. When a signal ends a stage, those
        after it do not begin.

    Raises:
        ValueError: Without `resume`, if the folder holds a run of a stage already.
    """
    from selfdrive_env.training import train

    begun = {
        stage.name: any((Path(stage.config.out_dir) / "checkpoints").glob("[0-9]*"))
        for stage in recipe.stages
    }
    if not resume and any(begun.values()):
        raise ValueError(
            f"out_dir {recipe.out_dir!r} holds a run of this recipe already: resume it, or take "
            "another"
        )
    leads = os.environ.get("RANK", "0") == "0"
    before = 0
    for number, stage in enumerate(recipe.stages, 1):
        if leads:
            text = f"selfdrive_env: stage {number} of {len(recipe.stages)}, {stage.name}"
            print(text, file=sys.stderr)
        policy = Path(stage.config.out_dir) / POLICY_FILE
        look = _Look(recipe, stage.name, before, follow) if follow and leads else None
        figures = train(stage.config, resume=resume and begun[stage.name], follow=look)
        before += int(figures["steps"])
        if look is not None:
            look.end(policy)
        if leads:
            write_whole(Path(recipe.out_dir) / POLICY_FILE, policy.read_bytes(), alone=True)
        if figures["steps"] < stage.config.steps:
            break
    return stage, figures


class _Look:
    """Looks at a stage after each update, and follows it now and then.

    Args:
        recipe: Whose stage it is.
        stage: Its name.
        before: Transitions of the stages before.
        follow: What is called.
    """

    def __init__(self, recipe: Recipe, stage: str, before: int, follow: Follow) -> None:
        self._every, self._stage, self._before, self._follow = recipe.every, stage, before, follow
        self._steps = self._followed = -1

    def __call__(self, run: RunState) -> None:
        """Follows the run if it has got as far again."""
        last = self._steps if self._steps >= 0 else run.steps - run.steps // run.updates
        self._steps = run.steps
        if (self._before + run.steps) // self._every > (self._before + last) // self._every:
            self._tell(run.write_policy())

    def end(self, policy: Path) -> None:
        """Follows the policy that a stage left, unless it did so already."""
        if self._steps > self._followed:
            self._tell(policy)

    def _tell(self, policy: Path) -> None:
        self._followed = self._steps
        self._follow(policy, self._stage, self._before + self._steps)
