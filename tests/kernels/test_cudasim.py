"""Motion and contacts as CUDA kernels, in Numba's simulator: the same functions, the same bits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda

from selfdrive_env.arrays import allocate
from selfdrive_env.kernels.collision import bodies_touch, collide
from selfdrive_env.kernels.dynamics import advance_bodies, bicycle_step
from selfdrive_env.kernels.geometry import along_arc
from selfdrive_env.params import Params
from selfdrive_env.state import (
    EVENT_COLLISION,
    NUM_TERMS,
    NUM_WEIGHTS,
    PRESENT,
    Agents,
    Bodies,
    Motion,
    Output,
    Scratch,
)
from tests.kernels import from_python

pytestmark = pytest.mark.cudasim

bodies_touch, collide = from_python(bodies_touch), from_python(collide)
advance_bodies, bicycle_step = from_python(advance_bodies), from_python(bicycle_step)
along_arc = from_python(along_arc)

WORLDS, AGENTS = 3, 12
DT, HOLD = np.float32(0.3), np.float32(-9.5)
HALF = np.float32(0.5)

X, Y, COS, SIN, SPEED, ACCELERATION, LATERAL, STEERING = range(8)
THROTTLE, STEER, PULL, PACE, WHEELBASE, LENGTH, WIDTH = range(7)


def step_kernel(state, body, jerk, start, arc, touched):
    """One block a world, one thread an agent: everybody moves, then everybody looks."""
    world = cuda.blockIdx.x
    agent = cuda.threadIdx.x
    own, mine = state[world, agent], body[world, agent]
    for column in range(4):
        start[world, agent, column] = own[column]
    speed, acceleration, lateral, steering, travel, curvature = bicycle_step(
        own[SPEED],
        own[ACCELERATION],
        own[LATERAL],
        own[STEERING],
        jerk[world, agent, 0],
        jerk[world, agent, 1],
        mine[THROTTLE],
        mine[STEER],
        mine[PULL],
        mine[PACE],
        mine[WHEELBASE],
        HOLD,
        DT,
    )
    # The simulator hands compiled functions' results on as Python floats.
    travel, curvature = np.float32(travel), np.float32(curvature)
    x, y, cos, sin = along_arc(own[X], own[Y], own[COS], own[SIN], travel, curvature)
    state[world, agent, X], state[world, agent, Y] = x, y
    state[world, agent, COS], state[world, agent, SIN] = cos, sin
    state[world, agent, SPEED], state[world, agent, ACCELERATION] = speed, acceleration
    state[world, agent, LATERAL], state[world, agent, STEERING] = lateral, steering
    arc[world, agent, 0], arc[world, agent, 1] = travel, curvature
    cuda.syncthreads()

    for other in range(state.shape[1]):
        if other == agent:
            continue
        a, b = min(agent, other), max(agent, other)
        if bodies_touch(
            start[world, a, X],
            start[world, a, Y],
            start[world, a, COS],
            start[world, a, SIN],
            arc[world, a, 0],
            arc[world, a, 1],
            HALF * body[world, a, WHEELBASE],
            HALF * body[world, a, LENGTH],
            HALF * body[world, a, WIDTH],
            start[world, b, X],
            start[world, b, Y],
            start[world, b, COS],
            start[world, b, SIN],
            arc[world, b, 0],
            arc[world, b, 1],
            HALF * body[world, b, WHEELBASE],
            HALF * body[world, b, LENGTH],
            HALF * body[world, b, WIDTH],
        ):
            touched[world, agent] = 1


@pytest.fixture
def scene():
    """Agents crowded at random, as the structs of the CPU and as two packed arrays."""
    random = np.random.default_rng(0)
    sizes = {"world": WORLDS, "agent": AGENTS, "goal": 4, "weight": NUM_WEIGHTS, "term": NUM_TERMS}
    agents, bodies = allocate(Agents, **sizes), allocate(Bodies, **sizes)
    motion, output = allocate(Motion, **sizes), allocate(Output, **sizes)
    names = dict.fromkeys(
        ("worker", "slot", "lane_point", "boundary_point", "point", "info", "stage", "feature"), 1
    )
    scratch = allocate(Scratch, **sizes, **names, **{"pose": AGENTS + 1, "thread": 1})
    shape = (WORLDS, AGENTS)
    heading = random.uniform(-np.pi, np.pi, shape)
    agents.x[:], agents.y[:] = random.uniform(-25, 25, (2, *shape))
    agents.cos[:], agents.sin[:] = np.cos(heading), np.sin(heading)
    agents.speed[:] = random.uniform(-2, 20, shape) * (random.random(shape) < 0.8)
    agents.acceleration[:] = random.uniform(-5, 2.5, shape)
    agents.lateral_acceleration[:] = random.uniform(-4, 4, shape)
    agents.steering[:] = random.uniform(-0.5, 0.5, shape)
    agents.status[:] = PRESENT
    for field in (bodies.throttle, bodies.steer, bodies.pull, bodies.pace):
        field[:] = random.uniform(0.7, 1.4, shape)
    bodies.length[:], bodies.width[:] = random.uniform(2, 7, shape), random.uniform(0.8, 2, shape)
    bodies.wheelbase[:] = 0.6 * bodies.length
    motion.jerk[..., 0] = random.choice([-15, -4, 0, 4], shape)
    motion.jerk[..., 1] = random.choice([-4, 0, 4], shape)
    return SimpleNamespace(
        agents=agents, bodies=bodies, motion=motion, output=output, scratch=scratch
    )


def packed(scene):
    a, b = scene.agents, scene.bodies
    state = (a.x, a.y, a.cos, a.sin, a.speed, a.acceleration, a.lateral_acceleration, a.steering)
    body = (b.throttle, b.steer, b.pull, b.pace, b.wheelbase, b.length, b.width)
    return np.stack(state, axis=-1), np.stack(body, axis=-1)


def test_motion_and_contacts_are_those_of_the_cpu(scene):
    state, body = packed(scene)
    arc = np.zeros((WORLDS, AGENTS, 2), np.float32)
    start = np.zeros((WORLDS, AGENTS, 4), np.float32)
    touched = np.zeros((WORLDS, AGENTS), np.uint8)
    cuda.jit(step_kernel)[WORLDS, AGENTS](state, body, scene.motion.jerk, start, arc, touched)

    params = Params(**{name: 0 for name in Params._fields})._replace(dt=DT, hold_jerk=HOLD)
    for world in range(WORLDS):
        advance_bodies(params, scene.agents, scene.bodies, scene.motion, world)
        collide(scene.agents, scene.bodies, scene.motion, scene.output, scene.scratch, 0, world)
    moved, _ = packed(scene)
    np.testing.assert_array_equal(state, moved)
    np.testing.assert_array_equal(arc[..., 0], scene.motion.travel)
    collided = (scene.output.event & EVENT_COLLISION) != 0
    np.testing.assert_array_equal(touched != 0, collided)
    assert 0.1 < collided.mean() < 0.9
