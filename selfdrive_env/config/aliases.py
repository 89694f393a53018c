"""Words of other simulators, and what corresponds to each of them here.

Errors translate them; the page "coming from another simulator" has more than a name can say.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ALIASES", "Alias", "translation"]

HIGHWAY, METADRIVE, CARLA = "highway-env", "MetaDrive", "CARLA"
WAYMAX, PUFFER = "Waymax", "PufferDrive"


class Alias(NamedTuple):
    """What corresponds to a word."""

    simulator: str
    """Whose word it is."""

    setting: str
    """Of this package; "" where it is none."""

    entry: str = ""
    """Of a setting that is a table."""

    note: str = ""
    """What else is different."""

    text: str = ""
    """What it is, where that is no name of a setting or an entry."""


_COLLISION = "'ignore', 'stop' or 'terminate'"
_TOWN = Alias(CARLA, "map", text="a file here: give its OpenDRIVE file, which ends in .xodr")
_IDS = "an id here: SelfPlay-v0 has all agents as rows, Drive-v0 one"
_WINDOW = "an argument here: render_mode='human' or 'rgb_array'"
_SECONDS = "in seconds; max_episode_steps counts steps"
_NUMBER = "a number or [low, high]"

ALIASES: dict[str, Alias] = {
    "config": Alias(
        f"{HIGHWAY} and {METADRIVE}", "", text="not needed here: what it holds are keywords"
    ),
    "controlled_vehicles": Alias(HIGHWAY, "", text=_IDS),
    "offscreen_rendering": Alias(HIGHWAY, "", text=_WINDOW),
    "is_multi_agent": Alias(METADRIVE, "", text=_IDS),
    "use_render": Alias(METADRIVE, "", text=_WINDOW),
    "start_seed": Alias(METADRIVE, "", text="an argument of reset here: reset(seed=...)"),
    "controlled_object": Alias(WAYMAX, "", text=_IDS),
    "dynamics_model": Alias(
        f"{WAYMAX} and {PUFFER}", "dynamics", note="'jerk', 'bicycle', 'delta_local' and others"
    ),
    "vehicles_count": Alias(HIGHWAY, "agents_per_world", note=_NUMBER),
    "vehicles_density": Alias(HIGHWAY, "agents_per_world", note=_NUMBER),
    "duration": Alias(HIGHWAY, "horizon", note=_SECONDS),
    "policy_frequency": Alias(HIGHWAY, "dt", note="seconds a step, 1 / frequency"),
    "simulation_frequency": Alias(HIGHWAY, "dt", note="one decision is one step"),
    "action": Alias(HIGHWAY, "action_type", note="'discrete' or 'continuous'"),
    "offroad_terminal": Alias(HIGHWAY, "on_offroad", note=_COLLISION),
    "other_vehicles_type": Alias(HIGHWAY, "traffic", note="'idm' or a policy, for example"),
    "screen_width": Alias(HIGHWAY, "render_size", note="edge of a square picture in pixels"),
    "screen_height": Alias(HIGHWAY, "render_size", note="edge of a square picture in pixels"),
    "scaling": Alias(HIGHWAY, "render_span", note="metres across, not pixels a metre"),
    "collision_reward": Alias(HIGHWAY, "reward", "collision", "taken away, so positive"),
    "high_speed_reward": Alias(HIGHWAY, "reward", "velocity"),
    "right_lane_reward": Alias(HIGHWAY, "reward", "lane_centre", "no lane is preferred"),
    "num_agents": Alias(f"{METADRIVE} and {PUFFER}", "agents_per_world", note=_NUMBER),
    "traffic_density": Alias(METADRIVE, "agents_per_world", note=_NUMBER),
    "traffic_mode": Alias(METADRIVE, "traffic", note="who ends is placed again, always"),
    "num_scenarios": Alias(METADRIVE, "map_variants", note="variants of each map"),
    "map_config": Alias(METADRIVE, "map", note="a name, a file, or a list of them"),
    "decision_repeat": Alias(METADRIVE, "dt", note="one decision is one step"),
    "physics_world_step_size": Alias(METADRIVE, "dt", note="one decision is one step"),
    "discrete_action": Alias(METADRIVE, "action_type", note="'discrete' or 'continuous'"),
    "random_spawn_lane_index": Alias(
        METADRIVE, "agents_per_world", note="places are drawn, always"
    ),
    "crash_vehicle_done": Alias(METADRIVE, "on_collision", note=_COLLISION),
    "crash_object_done": Alias(METADRIVE, "on_collision", note=_COLLISION),
    "crash_done": Alias(METADRIVE, "on_collision", note=_COLLISION),
    "out_of_road_done": Alias(METADRIVE, "on_offroad", note=_COLLISION),
    "crash": Alias(METADRIVE, "reward", "collision"),
    "crash_vehicle_penalty": Alias(METADRIVE, "reward", "collision"),
    "crash_object_penalty": Alias(METADRIVE, "reward", "collision"),
    "out_of_road": Alias(METADRIVE, "reward", "offroad"),
    "out_of_road_penalty": Alias(METADRIVE, "reward", "offroad"),
    "driving_reward": Alias(METADRIVE, "reward", "progress"),
    "speed_reward": Alias(METADRIVE, "reward", "velocity"),
    "success_reward": Alias(METADRIVE, "reward", "goal"),
    "town": Alias(CARLA, "map", note="a built-in town or an OpenDRIVE file"),
    "fixed_delta_seconds": Alias(CARLA, "dt"),
    "number_of_vehicles": Alias(CARLA, "agents_per_world", note=_NUMBER),
    "max_num_objects": Alias(WAYMAX, "agents_per_world", note=_NUMBER),
    "max_num_rg_points": Alias(WAYMAX, "layout", "lane_points"),
    "sim_agents": Alias(WAYMAX, "traffic", note="'idm' or a policy, for example"),
    "rewards": Alias(WAYMAX, "reward", note="weights by name"),
    "overlap": Alias(WAYMAX, "reward", "collision", "taken away, so positive"),
    "min_agents_per_env": Alias(PUFFER, "agents_per_world", note="[low, high]"),
    "max_agents_per_env": Alias(PUFFER, "agents_per_world", note="[low, high]"),
    "scenario_length": Alias(PUFFER, "horizon", note=_SECONDS),
    "collision_behavior": Alias(PUFFER, "on_collision", note=_COLLISION),
    "offroad_behavior": Alias(PUFFER, "on_offroad", note=_COLLISION),
    "traffic_light_behavior": Alias(PUFFER, "on_red_light", note=_COLLISION),
    "partner_blindness_prob": Alias(PUFFER, "blind_share"),
    "phantom_braking_prob": Alias(PUFFER, "braking_share"),
    "map_dir": Alias(PUFFER, "map", note="OpenDRIVE files as they are"),
    "reward_conditioning": Alias(PUFFER, "preset", note="'train' draws and shows weights"),
    "reward_randomization": Alias(PUFFER, "preset", note="'train' draws and shows weights"),
    "reward_vehicle_collision": Alias(PUFFER, "reward", "collision"),
    "reward_lane_align": Alias(PUFFER, "reward", "lane_align"),
    "goal_radius": Alias(PUFFER, "reward", "goal_radius"),
    "max_lane_segment_observations": Alias(PUFFER, "layout", "lane_points"),
    "max_boundary_segment_observations": Alias(PUFFER, "layout", "boundary_points"),
    **{f"Town{number:02}": _TOWN for number in (*range(1, 8), 10, 11, 12, 13, 15)},
    "Town10HD": _TOWN,
}
"""Word -> what corresponds."""

_BY_WORD = {word.lower(): alias for word, alias in ALIASES.items()}


def translation(word: str, setting: str | None = None) -> str:
    """Returns what corresponds to a word of another simulator, "" where nothing does.

    Args:
        word: What somebody wrote.
        setting: That the word is a value or an entry of, None for the name of a setting, "" for
            what other simulators have no words for.
    """
    alias = _BY_WORD.get(word.lower())
    if alias is None or setting not in (None, alias.setting) or setting == "":
        return ""
    whose = f"{alias.simulator}'s {word!r}"
    if alias.text:
        return f"{whose} is {alias.text}" if (setting or "") == alias.setting else ""
    if setting is not None and not alias.entry:
        return ""
    here = repr(alias.entry or alias.setting)
    if setting is None and alias.entry:
        here = f"{alias.setting}={{{alias.entry!r}: ...}}"
    return f"{whose} is {here} here{': ' + alias.note if alias.note else ''}"
