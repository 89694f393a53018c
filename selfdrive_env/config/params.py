"""Settings as the scalars and small tables that kernels read."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.config.choices import action_columns, bins_of, code_of
from selfdrive_env.config.images import make_views
from selfdrive_env.config.presets import TRAINING_RANGE, body_table, weight_ranges
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.arrays import F32, U8
from selfdrive_env.state.params import NO_SCENES, Draws, Params
from selfdrive_env.state.rewards import NUM_WEIGHTS

__all__ = ["make_draws", "make_params"]

LAST_GOAL_SPEED = 3.0
"""Who is faster has not come to its last goal [m/s]."""


def make_params(settings: Settings, *, co_drivers: bool = False) -> Params:
    """Returns the settings as the scalars that the kernels read.

    Args:
        settings: The settings.
        co_drivers: Whether policies drive some of those that are no learners, by their rows.
    """
    goal = settings.first_goal or (-1.0, -1.0)
    negative = sorted(j for j in settings.jerk_long if j < 0.0)
    hold = (negative[0] + negative[1]) / 2 if len(negative) > 1 else negative[0]
    return Params(
        dt=np.float32(settings.dt_range[0]),
        dt_high=np.float32(settings.dt_range[1]),
        dt_ns=round(settings.dt_range[0] * 1e9),
        horizon=settings.most_steps,
        horizon_time=np.float32(settings.horizon),
        on_collision=code_of("on_collision", settings.on_collision),
        on_offroad=code_of("on_offroad", settings.on_offroad),
        on_red_light=code_of("on_red_light", settings.on_red_light),
        tow_after=np.float32(math.inf if settings.tow_after is None else settings.tow_after),
        on_goal=code_of("on_goal", settings.on_goal),
        reverse=code_of("reverse", settings.reverse),
        dynamics=code_of("dynamics", settings.dynamics),
        autoreset=code_of("autoreset_mode", settings.autoreset_mode),
        stagger=int(settings.stagger),
        hold_jerk=np.float32(hold),
        brake_jerk=np.float32(negative[0]),
        first_goal_low=np.float32(goal[0]),
        first_goal_high=np.float32(goal[1]),
        max_further_goals=settings.further_goals,
        initial_speed=np.float32(settings.initial_speed),
        standing_share=np.float32(settings.standing_share),
        blind_share=np.float32(settings.blind_share),
        braking_share=np.float32(settings.braking_share),
        noise=np.float32(settings.observation_noise),
        lane_dropout=np.float32(settings.lane_dropout),
        boundary_dropout=np.float32(settings.boundary_dropout),
        light_timing=code_of("light_timing", settings.light_timing),
        light_removal=np.float32(settings.light_removal),
        lights_off=np.float32(settings.lights_off),
        lights_green=np.float32(settings.lights_green),
        scene_order=NO_SCENES,
        num_scenes=0,
        goal_speed=np.float32(LAST_GOAL_SPEED),
        prefetch=0,
        past_cache=0,
        writes_rows=int(co_drivers or make_views(settings.observation).state is not None),
        bfloat16=int(settings.obs_dtype == "bfloat16"),
        step_info=int(settings.step_info),
    )


def make_draws(settings: Settings, driver: U8, learner: U8) -> Draws:
    """Returns what placing draws from.

    Args:
        settings: The settings.
        driver: Driver of each slot, [A].
        learner: Whether the caller drives, or learns from, each slot, [A].
    """
    condition = np.zeros((2, NUM_WEIGHTS), np.float32)
    for column, (low, high) in enumerate(TRAINING_RANGE.values()):
        condition[:, column] = 2.0 / (high - low), -(high + low) / (high - low)
    pairs = [(a, b) for a in settings.jerk_long for b in settings.jerk_lat]
    jerk = np.array(pairs, np.float32)
    actions = action_table(settings)
    return Draws(
        weight=weight_ranges(settings.preset, settings.reward),
        condition=condition,
        body=body_table(settings.bodies),
        driver=np.ascontiguousarray(driver, np.uint8),
        learner=np.ascontiguousarray(learner, np.uint8),
        agents=np.array(settings.agents_per_world, np.int32),
        jerk=jerk,
        jerk_range=np.stack([jerk.min(0), jerk.max(0)], 1),
        action=jerk if actions is None else actions,
        action_size=np.array([one.size for one in action_columns(settings.dynamics)], np.float32),
    )


def action_table(settings: Settings) -> F32 | None:
    """Returns every discrete action of dynamics other than jerks, the first column slowest.

    Args:
        settings: With continuous actions there is one, of zeros.

    Returns:
        [number, column], None for jerks.
    """
    columns = action_columns(settings.dynamics)
    if settings.dynamics == "jerk":
        return None
    if settings.action_type != "discrete":
        return np.zeros((1, len(columns)), np.float32)
    counts = bins_of(settings.dynamics, settings.action_bins)
    values = [
        np.linspace(-one.size, one.size, bins) for one, bins in zip(columns, counts, strict=True)
    ]
    grid = np.meshgrid(*values, indexing="ij")
    return np.stack([one.ravel() for one in grid], 1, dtype=np.float32)
