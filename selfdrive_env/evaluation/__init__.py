"""How well a policy drives: kilometres between incidents, goals, scores, skills."""

from selfdrive_env.evaluation.incidents import CAUSES, Incident
from selfdrive_env.evaluation.policies import Driver, load
from selfdrive_env.evaluation.run import Evaluation, compare, evaluate

__all__ = ["CAUSES", "Driver", "Evaluation", "Incident", "compare", "evaluate", "load"]

Policy = Driver
"""The earlier name of `Driver`."""
