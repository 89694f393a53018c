"""Scores made of metrics: nuPlan's of the closed loop, V-Max's, and Gigaflow's for Waymax."""

from selfdrive_env.metrics.scores.driving import NUPLAN, VMAX, Score, nuplan_score, vmax_score
from selfdrive_env.metrics.scores.scenes import Outcome, outcomes, waymax_score

__all__ = ["NUPLAN", "VMAX", "Outcome", "Score", "nuplan_score", "outcomes", "vmax_score",
    "waymax_score"]  # fmt: skip
