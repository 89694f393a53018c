"""A conformance kit for Gymnasium vector environments, which Gymnasium itself has not.

`check_vector_env(make)` makes environments, drives them with random actions and raises
`ContractError`, with the fault in words, at the first promise broken.
"""

from __future__ import annotations

from selfdrive_env.testing.checks import CHECKS, check_vector_env
from selfdrive_env.testing.rollouts import ContractError

__all__ = ["CHECKS", "ContractError", "check_vector_env"]
