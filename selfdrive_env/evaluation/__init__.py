"""How well a policy drives: kilometres between incidents, goals, scores, skills."""

from selfdrive_env.evaluation.incidents import CAUSES, Incident
from selfdrive_env.evaluation.policies import Policy, load
from selfdrive_env.evaluation.run import Evaluation, compare, evaluate

__all__ = ["CAUSES", "Evaluation", "Incident", "Policy", "compare", "evaluate", "load"]
