"""Metrics by definition while scenes are driven: of steps, of episodes, and as rewards."""

from selfdrive_env.envs.scenes.measures.measures import Measures, Values
from selfdrive_env.envs.scenes.measures.rewards import WAYMAX, split_rewards

__all__ = ["WAYMAX", "Measures", "Values", "split_rewards"]
