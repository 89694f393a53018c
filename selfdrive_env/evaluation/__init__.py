"""How well a policy drives: kilometres between incidents, goals, scores, skills."""

from selfdrive_env.evaluation.incidents import CAUSES, Incident
from selfdrive_env.evaluation.policies import Candidate, load
from selfdrive_env.evaluation.results.comparison import compare
from selfdrive_env.evaluation.results.evaluation import Evaluation
from selfdrive_env.evaluation.run import evaluate

__all__ = ["CAUSES", "Candidate", "Evaluation", "Incident", "compare", "evaluate", "load"]

Policy = Candidate
"""The earlier name of `Candidate`."""
