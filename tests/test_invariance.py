"""What must not matter: where the world lies, how it is turned, who else is in the batch."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from selfdrive_env.engine.cpu import Engine
from selfdrive_env.maps import compiled, load
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_GOAL,
    EVENT_LAST_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    EXTERNAL,
    IDM,
)
from tests.kernels.conftest import build, random_jerks
from tests.reference import MILLIMETRE, MISSED, Sweep, lane_cost, offroad_is_close, swept_gap

EVENTS = EVENT_GOAL | EVENT_LAST_GOAL | EVENT_COLLISION | EVENT_OFFROAD
EVENTS |= EVENT_RED_LIGHT | EVENT_STOP_SIGN


class Frame:
    """Turns, mirrors and shifts the plane."""

    def __init__(self, degrees: float = 0.0, mirrored: bool = False, shift: Any = (0.0, 0.0)):
        angle = math.radians(degrees)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        self.matrix = turn @ np.diag([1.0, -1.0 if mirrored else 1.0])
        self.side = -1.0 if mirrored else 1.0
        self.shift = np.asarray(shift, np.float64)

    def town(self, name: str) -> CompiledMap:
        network = load(name).transformed(self.matrix)
        offset = np.append(self.shift, 0.0)
        for lane in network.lanes:
            lane.centre, lane.left = lane.centre + offset, lane.left + offset
            lane.right = lane.right + offset
        for line in network.stop_lines:
            line.left, line.right = line.left + offset, line.right + offset
            line.guard_left = line.guard_left + offset
            line.guard_right = line.guard_right + offset
        return compile_map(network)

    def point(self, x: Any, y: Any) -> np.ndarray:
        out: np.ndarray = np.stack([x, y]).astype(np.float64)
        return np.tensordot(self.matrix, out, 1) + self.shift.reshape(2, *[1] * x.ndim)

    def direction(self, cos: Any, sin: Any) -> np.ndarray:
        return np.tensordot(self.matrix, np.stack([cos, sin]).astype(np.float64), 1)

    def copy_state(self, source: Engine, target: Engine) -> None:
        """Brings `target` into the moved state of `source`."""
        for name, value in source.state().items():
            struct, field = name.split(".")
            getattr(getattr(target, struct), field)[...] = value
        target.output.awaiting_reset[...] = source.output.awaiting_reset
        a, b = target.agents, target.bodies
        a.x[...], a.y[...] = self.point(source.agents.x, source.agents.y)
        a.cos[...], a.sin[...] = self.direction(source.agents.cos, source.agents.sin)
        b.goal_x[...], b.goal_y[...] = self.point(source.bodies.goal_x, source.bodies.goal_y)
        for array in (a.steering, a.lateral_acceleration, a.d, a.angle_sin):
            array *= np.float32(self.side)
        b.weight[..., WEIGHT.centre_bias] *= np.float32(self.side)


FRAMES = {
    "quarter turn": Frame(90.0),
    "half turn": Frame(180.0),
    "odd turn": Frame(37.3),
    "mirror": Frame(mirrored=True),
    "mirror and odd turn": Frame(-71.0, mirrored=True),
    "shift": Frame(shift=(123.4, -56.7)),
}


def sweep(engine: Engine, before: Any, world: int, agent: int) -> Sweep:
    """What an agent did in the last step, by its pose before and its arc."""
    m, _b = engine.motion, engine.bodies
    heading = math.atan2(m.sin[world, agent], m.cos[world, agent])
    values = (m.x, m.y, None, m.travel, m.curvature)
    numbers = [heading if v is None else v[world, agent] for v in values]
    numbers += [before[f][world, agent] for f in ("length", "width", "wheelbase")]
    return Sweep(*(float(n) for n in numbers))


def is_close_call(
    engine: Engine, before: Any, surfaces: Any, world: int, agent: int, bits: int
) -> bool:
    """Whether each event that differs hangs by less than what its kernel may miss."""
    own = sweep(engine, before, world, agent)
    if bits & EVENT_COLLISION:
        others = [o for o in range(engine.agents.x.shape[1]) if o != agent]
        gaps = [swept_gap(own, sweep(engine, before, world, o)) for o in others]
        if not any(-MISSED < gap < MILLIMETRE for gap in gaps):
            return False
    if bits & EVENT_OFFROAD:
        close = [offroad_is_close(own, surface) for surface in surfaces]
        if not any(close):
            return False
    if bits & (EVENT_GOAL | EVENT_LAST_GOAL):
        goal = before["goal"][world, agent]
        gx, gy = (before[k][world, agent, goal] for k in ("goal_x", "goal_y"))
        radius = before["radius"][world, agent]
        poses = own._replace(length=1.0, width=1.0).boxes(1)[0].mean(axis=0)
        start = own._replace(travel=0.0).boxes(1)[0].mean(axis=0)
        share = np.linspace(0, 1, 2001)[:, None]
        way = start + share * (poses - start)
        near = np.hypot(*(way - [gx, gy]).T).min()
        if abs(near - radius) > 2 * MILLIMETRE:
            return False
    return not bits & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)


@pytest.mark.parametrize("name", ["riverside", "hillcrest"])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_moved_world_gives_the_same_rewards_and_flags(name, frame, surfaces, capsys):
    """One step from the same state, again and again along a run."""
    settings: dict[str, Any] = dict(
        worlds=2,
        drivers=[EXTERNAL] * 20,
        preset="train",
        on_collision="terminate",
        on_offroad="terminate",
        blind_share=0.0,
    )
    still = build([compiled(name)], **settings)
    moved = build([frame.town(name)], **settings)
    np.testing.assert_array_equal(still.lanes.segment_lane, moved.lanes.segment_lane)
    np.testing.assert_allclose(still.lanes.length, moved.lanes.length, rtol=1e-5)

    random = np.random.default_rng(0)
    compared = exempt = other_lane = happened = 0
    for _ in range(150):
        frame.copy_state(still, moved)
        b = still.bodies
        before = {f: getattr(b, f).copy() for f in ("length", "width", "wheelbase")}
        before |= {"goal_x": b.goal_x.copy(), "goal_y": b.goal_y.copy()}
        before |= {"goal": still.agents.goal.copy()}
        before["radius"] = b.weight[..., WEIGHT.goal_radius].copy()
        here = still.agents.status != ABSENT
        jerk = random_jerks(random, still)
        still.step(jerk)
        moved.step(jerk * np.float32([1.0, frame.side]))

        differ = (still.output.event ^ moved.output.event) & EVENTS
        same_end = still.output.terminated == moved.output.terminated
        apart = np.abs(still.output.reward - moved.output.reward)
        happened += np.count_nonzero(still.output.event & EVENTS)
        compared += here.sum()
        for world, agent in np.argwhere(here & ((differ != 0) | (apart > 2e-4) | ~same_end)):
            bits = int(differ[world, agent])
            if bits:
                exempt += 1
                assert is_close_call(still, before, surfaces(name), world, agent, bits), bits
            else:
                other_lane += 1
                assert hangs_between_lanes(still, moved, frame, before, world, agent)
    with capsys.disabled():
        print(
            f"\n{name}: {compared} agent-steps, {happened} with events, {exempt} under 1 mm and "
            f"{other_lane} between two lanes exempt",
            end=" ",
        )
    assert exempt + other_lane < 2e-3 * compared
    assert happened > 20


def hangs_between_lanes(
    still: Engine, moved: Engine, frame: Frame, before: Any, world: int, agent: int
) -> bool:
    """Whether two lanes, or two segments of one, fit a pose equally well to a rounding error."""
    pose = sweep(still, before, world, agent)
    (box,) = pose.boxes(1)
    x, y = box.mean(axis=0)
    heading = pose.heading + pose.travel * pose.curvature
    cost = np.sort(lane_cost(still.lanes.segment, x, y, heading))
    return bool(cost[1] - cost[0] < 2 * MILLIMETRE)


def driven(**settings: Any) -> Engine:
    maps = [compiled("riverside"), compiled("hillcrest")]
    settings = (
        dict(worlds=4, on_collision="terminate", on_offroad="terminate", preset="train") | settings
    )
    return build(maps, drivers=[EXTERNAL, IDM] * 8, **settings)


def bytes_of(engine: Engine, worlds: slice) -> dict[str, bytes]:
    """State, output and rows of some worlds."""
    slots = engine.agents.x.shape[1]
    out = {name: value[worlds].tobytes() for name, value in engine.state().items()}
    for name, value in engine.output._asdict().items():
        out[f"output.{name}"] = value[worlds].tobytes()
    for name, value in engine.rows._asdict().items():
        if not len(value):
            continue
        shaped = value.reshape(engine.num_worlds, slots, *value.shape[1:])
        out[f"rows.{name}"] = shaped[worlds].tobytes()
    return out


def test_a_world_does_not_feel_another():
    a, b = driven(), driven()
    random = np.random.default_rng(1)
    for _ in range(60):
        jerk = random_jerks(random, a)
        other = jerk.copy()
        other[2] = random_jerks(random, a)[2]
        a.step(jerk)
        b.step(other)
    for worlds in (slice(0, 2), slice(3, 4)):
        assert bytes_of(a, worlds) == bytes_of(b, worlds)
    assert bytes_of(a, slice(2, 3)) != bytes_of(b, slice(2, 3))


def test_threads_and_split_batches_change_nothing():
    whole, threads = driven(), driven(num_threads=2)
    first, second = driven(worlds=2), driven(worlds=2, world_offset=2)
    random = np.random.default_rng(2)
    for _ in range(40):
        jerk = random_jerks(random, whole)
        for engine, part in ((whole, jerk), (threads, jerk), (first, jerk[:2]), (second, jerk[2:])):
            engine.step(part)
    everything = bytes_of(whole, slice(None))
    assert everything == bytes_of(threads, slice(None))
    index = ("bodies.row", "scratch")
    for worlds, part in ((slice(0, 2), first), (slice(2, 4), second)):
        wanted, found = bytes_of(whole, worlds), bytes_of(part, slice(None))
        assert {k: v for k, v in wanted.items() if k not in index} == {
            k: v for k, v in found.items() if k not in index
        }


def test_the_order_of_agents_does_not_matter():
    """The same agents in other slots: the same rewards, moved likewise (none is placed anew)."""
    settings: dict[str, Any] = dict(worlds=2, drivers=[EXTERNAL] * 24, preset="train")
    a = build([compiled("hillcrest")], on_goal="terminate", **settings)
    b = build([compiled("hillcrest")], on_goal="terminate", **settings)
    random = np.random.default_rng(3)
    happened = 0
    for _ in range(120):
        order = random.permutation(24)
        for name in ("agents", "bodies", "tallies"):
            for field, value in getattr(a, name)._asdict().items():
                if field != "row":
                    getattr(b, name)._asdict()[field][...] = value[:, order]
        for name in ("worlds", "lights"):
            for field, value in getattr(a, name)._asdict().items():
                getattr(b, name)._asdict()[field][...] = value
        b.output.awaiting_reset[...] = a.output.awaiting_reset[:, order]
        jerk = random_jerks(random, a)
        a.step(jerk)
        b.step(jerk[:, order])
        happened += np.count_nonzero(a.output.event & EVENTS)
        for field in ("event", "terminated", "truncated", "reward", "weighted"):
            one, two = getattr(a.output, field), getattr(b.output, field)
            np.testing.assert_array_equal(one[:, order], two, err_msg=field)
    assert happened > 20


def test_compiling_twice_gives_the_same_map():
    once, again = (compile_map(copy.deepcopy(load("harbour"))) for _ in range(2))
    assert once.digest == again.digest
