"""Placing the agents of a scene, and moving those that repeat what was recorded."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.geometry import HALF
from selfdrive_env.kernels.road import max_lane_curvature, place_on_segment
from selfdrive_env.kernels.starts.bodies import WHEELBASE_SHARE, begin_episode
from selfdrive_env.state.params import RANDOM_SCENES
from selfdrive_env.state.world import ABSENT, MAX_GOALS, PRESENT

__all__ = ["draw_scene", "place_recorded", "scene_of"]


@njit
def scene_of(model, data, world, pick):
    """Returns the scene that a world is drawn from next; those that are left over are none.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        pick: Uniform in [0, 1), for scenes in random order.
    """
    count = np.int64(model.params.num_scenes)
    if model.params.scene_order == RANDOM_SCENES:
        return min(np.int64(pick * np.float32(count)), count - 1)
    last = np.int64(data.worlds.scene[world])
    if last < 0 or last >= count:
        return np.int64(data.worlds.number[world]) % count
    return (last + data.worlds.scene.shape[0]) % count


@njit
def draw_scene(model, data, world, scene):
    """Gives a world the map, clock and length of a scene."""
    scenes, worlds = model.scenes, data.worlds
    worlds.scene[world] = scene
    worlds.map[world] = scenes.map[scene]
    worlds.num_agents[world] = scenes.num_agents[scene]
    worlds.dt[world] = scenes.dt[scene]
    worlds.dt_ns[world] = scenes.dt_ns[scene]
    worlds.horizon[world] = scenes.horizon[scene]


@njit
def place_recorded(model, data, world, agent, scene):
    """Starts the episode of an agent as a scene says."""
    scenes, lanes = model.scenes, model.lanes
    agents, bodies, worlds = data.agents, data.bodies, data.worlds
    begin_episode(model, data, world, agent)
    length, width = scenes.length[scene, agent], scenes.width[scene, agent]
    wheelbase = WHEELBASE_SHARE * length
    bodies.driver[world, agent] = scenes.driver[scene, agent]
    bodies.learner[world, agent] = scenes.learner[scene, agent]
    bodies.type[world, agent] = scenes.type[scene, agent]
    bodies.length[world, agent] = length
    bodies.width[world, agent] = width
    bodies.wheelbase[world, agent] = wheelbase
    bodies.max_curvature[world, agent] = max_lane_curvature(length, width, wheelbase)

    first_lane = np.int64(lanes.map_lane_first[worlds.map[world]])
    num_goals = np.int64(scenes.num_goals[scene, agent])
    bodies.num_goals[world, agent] = num_goals
    for goal in range(MAX_GOALS):
        lane = np.int64(scenes.goal_lane[scene, agent, goal])
        bodies.goal_lane[world, agent, goal] = first_lane + lane if goal < num_goals else -1
        bodies.goal_s[world, agent, goal] = scenes.goal_s[scene, agent, goal]
        bodies.goal_x[world, agent, goal] = scenes.goal_x[scene, agent, goal]
        bodies.goal_y[world, agent, goal] = scenes.goal_y[scene, agent, goal]

    cos, sin = scenes.cos[scene, agent, 0], scenes.sin[scene, agent, 0]
    x, y = scenes.x[scene, agent, 0], scenes.y[scene, agent, 0]
    agents.x[world, agent] = x - HALF * wheelbase * cos
    agents.y[world, agent] = y - HALF * wheelbase * sin
    agents.cos[world, agent] = cos
    agents.sin[world, agent] = sin
    agents.speed[world, agent] = scenes.speed[scene, agent, 0]
    index = np.int64(lanes.segment_first[first_lane]) + scenes.segment[scene, agent]
    place_on_segment(lanes, agents, world, agent, index, x, y)
    agents.status[world, agent] = PRESENT if scenes.there[scene, agent, 0] != 0 else ABSENT
