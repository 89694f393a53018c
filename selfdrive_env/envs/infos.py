"""What comes with a step beside observations: masks, metrics of episodes that ended, what happened.

With the setting `step_info` infos tell of every step. `OUTLOOK` belongs to the observations that
come with it; events and terms of the reward belong to the step, as rewards do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.kernels.events import METRICS
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.rewards import REWARD_TERMS

__all__ = ["EVENTS", "FINALS", "FINAL_MASKS", "OUTLOOK", "Infos", "StepResult", "add_finals",
    "add_outlook", "add_step", "outlook_of_one", "step_of_one",
    "tallies_of_rows"]  # fmt: skip

FINALS = (
    "length",
    "km",
    *(metric.name for metric in METRICS),
    *(f"reward_{name}" for name in REWARD_TERMS),
)
"""Metrics of an episode that ended, by name."""

OUTLOOK = ("speed", "distance_to_goal", "time_to_collision")
"""Columns of `Output.outlook`: along the heading [m/s]; along the lane graph to the next goal [m];
until the body touches one ahead if both keep their velocity, infinite where none is met [s]."""

EVENTS = {metric.name: int(metric.event) for metric in METRICS}
"""Event of a step by the name of its metric -> its bit in `Output.event`."""

NO_EVENTS = dict.fromkeys(EVENTS, False)
EVENT_KIND = np.min_scalar_type(max(EVENTS.values()))
EVENT_BITS = np.array(list(EVENTS.values()), EVENT_KIND)[:, None]
EVENT_MASKS = tuple(f"_{name}" for name in EVENTS)
TERM_MASKS = tuple(f"_{name}" for name in REWARD_TERMS)
OUTLOOK_MASKS = tuple(f"_{name}" for name in OUTLOOK)

FINAL_MASKS = tuple(f"_{name}" for name in FINALS)

Infos = dict[str, Any]
StepResult = tuple[NDArray[Any], F32, NDArray[np.bool_], NDArray[np.bool_], Infos]


def add_finals(
    infos: Infos,
    done: NDArray[np.bool_],
    finals: tuple[Any, ...],
    observations: NDArray[Any] | None,
    *,
    copies: bool,
) -> None:
    """Adds what ended episodes came to.

    Args:
        infos: Of the step.
        done: Which rows ended, [rows].
        finals: Length, km, counts by event and reward by term, [rows], [rows], [events, rows] and
            [terms, rows].
        observations: Last ones of the rows that ended, where the next ones are those of new
            episodes (SameStep), else None.
        copies: Whether the caller gets arrays of its own.
    """
    age, km, counts, terms = (one.copy("K") if copies else one for one in finals)
    masks = [done.copy() if copies else done for _ in FINALS]
    target: Infos = infos if observations is None else {}
    target.update(zip(FINALS, (age, km, *counts, *terms), strict=True))
    target.update(zip(FINAL_MASKS, masks, strict=True))
    if observations is None:
        return
    infos["final_obs"] = observations
    infos["_final_obs"] = done.copy()
    infos["final_info"] = target
    infos["_final_info"] = done.copy()


def add_outlook(
    infos: Infos, outlook: NDArray[Any], mask: NDArray[np.bool_], *, copies: bool
) -> None:
    """Adds what infos tell of the state, by the names of `OUTLOOK`.

    Args:
        infos: Of a step or a reset, or the `final_info` of a step.
        outlook: [rows, OUTLOOK].
        mask: Of which rows, [rows].
        copies: Whether the caller gets arrays of its own.
    """
    infos.update(zip(OUTLOOK, outlook.T.copy() if copies else outlook.T, strict=True))
    infos.update(dict.fromkeys(OUTLOOK_MASKS, mask))


def add_step(
    infos: Infos,
    event: NDArray[Any],
    terms: tuple[NDArray[Any], NDArray[Any]],
    every: NDArray[np.bool_],
    *,
    copies: bool,
) -> None:
    """Adds what happened in a step: `events`, `raw_terms` and `weighted_terms`, each by name.

    Args:
        infos: Of the step.
        event: `Event` bits, [rows].
        terms: Of the reward, without their weights and times them (their sum is the reward), each
            [rows, terms].
        every: The mask of all rows, True, [rows].
        copies: Whether the caller gets arrays of its own.
    """
    events: Infos = dict(zip(EVENTS, (event.astype(EVENT_KIND) & EVENT_BITS) != 0, strict=True))
    events.update(dict.fromkeys(EVENT_MASKS, every))
    infos["events"] = events
    for name, values in zip(("raw_terms", "weighted_terms"), terms, strict=True):
        columns = values.T.copy() if copies else values.T
        infos[name] = dict(zip(REWARD_TERMS, columns, strict=True))
        infos[name].update(dict.fromkeys(TERM_MASKS, every))
    infos["_events"] = infos["_raw_terms"] = infos["_weighted_terms"] = every


def outlook_of_one(output: Any) -> Infos:
    """Returns `OUTLOOK` of the first agent as plain numbers.

    Args:
        output: The `Output` of the engine.
    """
    return dict(zip(OUTLOOK, output.outlook[0, 0].tolist(), strict=True))


def step_of_one(output: Any) -> Infos:
    """Returns what infos tell of a step of the first agent, in plain numbers.

    Args:
        output: The `Output` of the engine.
    """
    event = output.event.item(0)
    info = outlook_of_one(output)
    events = NO_EVENTS.copy()
    if event:
        events.update({name: event & bit != 0 for name, bit in EVENTS.items()})
    info["events"] = events
    info["raw_terms"] = dict(zip(REWARD_TERMS, output.term[0, 0].tolist(), strict=True))
    info["weighted_terms"] = dict(zip(REWARD_TERMS, output.weighted[0, 0].tolist(), strict=True))
    return info


def tallies_of_rows(state: Any, learners: int) -> dict[str, NDArray[Any]]:
    """Returns what the running episodes have come to so far, by the names of `FINALS`, [rows].

    Args:
        state: A `State`.
        learners: Rows of a world.
    """
    tallies = state.tallies
    columns = (
        state.agents.age,
        tallies.distance * np.float32(1.0e-3),
        *np.moveaxis(tallies.count, 2, 0),
        *np.moveaxis(tallies.term, 2, 0),
    )
    return {
        name: column[:, :learners].reshape(-1).copy()
        for name, column in zip(FINALS, columns, strict=True)
    }
