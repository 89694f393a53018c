"""The tasks by name, and the scene of each seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from selfdrive_env.config.checks import check_choice, check_integer, check_number
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tasks import crossings, streets
from selfdrive_env.scenes.tasks.cast import Cast
from selfdrive_env.scenes.tasks.roads import road

__all__ = ["DT", "DT_RANGE", "LAST_SEED", "SECONDS", "TASKS", "Task", "task_scene"]

SECONDS = 60.0
"""Of every scene."""

LAST_SEED = 2**31 - 1
DT = 0.1
"""Of scenes unless a caller says otherwise [s]."""

DT_RANGE = (0.02, 0.4)
"""Shortest and longest step [s]."""


class Task(NamedTuple):
    """A situation to master."""

    make: Callable[[Cast], None]
    """Chooses the road and adds the agents."""

    meaning: str
    """What is to be done."""

    stops: bool = False
    """Whether it fails by passing a stop sign without having stopped, too."""

    distance: float = 0.0
    """Where no goal can be reached: how far one has to drive, and then to keep standing [m]."""

    told: Callable[[Scene], Scene] | None = None
    """The scene as a scripted driver is given it, with waypoints; None: as it is."""


TASKS = {
    "merge": Task(streets.merge, "joins motorway traffic from a ramp"),
    "unprotected_left_turn": Task(crossings.left_turn, "turns left through oncoming traffic"),
    "four_way_stop": Task(
        crossings.four_way_stop, "stops at the line and crosses when it is its turn", stops=True
    ),
    "roundabout": Task(crossings.roundabout, "enters a busy roundabout and leaves it opposite"),
    "overtake": Task(
        streets.overtake,
        "passes a standing vehicle on a street of two lanes a direction",
        told=streets.told_to_overtake,
    ),
    "lane_keeping": Task(streets.keep_lane, "follows a winding road of one lane"),
    "closed_road": Task(
        streets.closed_road, "comes to a road that is closed, and stops", distance=60.0
    ),
}
"""Task -> what makes its scenes and what is to be done."""


def task_scene(task: str, seed: int, *, dt: float = DT) -> Scene:
    """Returns a scene of a task: on the same seed the same one.

    The ego is agent 0 and learns. Lights of its map are to be off.

    Args:
        task: One of `TASKS`.
        seed: From 0 to `LAST_SEED`.
        dt: Length of a step, up to 0.4 [s].
    """
    check_choice("task", task, tuple(TASKS))
    check_integer("seed", seed, 0, LAST_SEED)
    check_number("dt", dt, *DT_RANGE)
    cast = Cast(int(seed))
    TASKS[task].make(cast)
    return Scene(
        tuple(cast.agents),
        map=road(cast.road),
        dt=float(dt),
        steps=round(SECONDS / dt) + 1,
        ego=0,
        name=f"{task}/{seed}",
    )
