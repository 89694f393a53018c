"""Settings as the scalars and small tables that kernels read."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.config.choices import code_of
from selfdrive_env.config.presets import TRAINING_RANGE, body_table, weight_ranges
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.arrays import U8
from selfdrive_env.state.params import Draws, Params
from selfdrive_env.state.rewards import NUM_WEIGHTS

__all__ = ["make_draws", "make_params"]


def make_params(settings: Settings) -> Params:
    """Returns the settings as the scalars that the kernels read."""
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
        prefetch=0,
        past_cache=0,
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
    return Draws(
        weight=weight_ranges(settings.preset, settings.reward),
        condition=condition,
        body=body_table(settings.bodies),
        driver=np.ascontiguousarray(driver, np.uint8),
        learner=np.ascontiguousarray(learner, np.uint8),
        agents=np.array(settings.agents_per_world, np.int32),
        jerk=jerk,
        jerk_range=np.stack([jerk.min(0), jerk.max(0)], 1),
    )
