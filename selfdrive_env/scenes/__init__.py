"""Situations as data: what a world is at its start, and recorded traffic."""

from selfdrive_env.scenes.agents import DRIVERS, Agent, Goal, SceneError
from selfdrive_env.scenes.readers import files, load, records
from selfdrive_env.scenes.roads import LIGHT_STATES, ROAD_TYPES, Lights, Line, Roads, kind_of
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import Tracks

__all__ = [
    "DRIVERS",
    "LIGHT_STATES",
    "ROAD_TYPES",
    "Agent",
    "Goal",
    "Lights",
    "Line",
    "Roads",
    "Scene",
    "SceneError",
    "Tracks",
    "files",
    "kind_of",
    "load",
    "records",
]
