"""A trained policy as the driver of traffic: a second policy, over rows that no caller sees."""

from __future__ import annotations

import math
import os
import reprlib
from typing import Any

from numpy.typing import NDArray

from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.choices import POLICIES, TRAFFIC, bins_of
from selfdrive_env.config.layouts import ObservationLayout, make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.policies.choice import dynamics_difference
from selfdrive_env.policies.files import layout_difference
from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.state.arrays import digest

__all__ = ["CoDrivers"]


class CoDrivers:
    """Drives every agent but the learners, with one policy; on the CPU.

    The policy takes its likeliest jerks, so that nothing but the state decides. Learners and
    co-drivers are observed alike, in the policy's layout.

    Args:
        traffic: "selfplay", the folder of a run, or a policy file.

    Raises:
        ValueError: If there is no such policy.
    """

    def __init__(self, traffic: str | os.PathLike[str]) -> None:
        allowed = f"{', '.join((*TRAFFIC, *POLICIES))}, the folder of a run or a policy file"
        if not isinstance(traffic, str | os.PathLike):
            raise ValueError(f"traffic must be {allowed}, got {reprlib.repr(traffic)}")
        try:
            self.policy = load_policy(traffic)
        except ValueError as error:
            hint = suggestion(traffic, TRAFFIC, "")
            raise ValueError(
                f"traffic must be {allowed}, got {str(traffic)!r}{hint}: {error}"
            ) from None
        self.digest = digest(self.policy.path.read_bytes().hex())

    @property
    def layout(self) -> ObservationLayout:
        """What the policy reads."""
        return self.policy.layout

    def join(self, settings: Settings, learners: str) -> None:
        """Makes ready to drive in an environment.

        Args:
            settings: Of the environment.
            learners: Who is driven from outside.

        Raises:
            ValueError: If the policy cannot drive there.
        """
        if learners != "one":
            raise ValueError(
                f"traffic={settings.traffic!r} is for Drive-v0, where one ego a world is driven "
                "from outside: in SelfPlay-v0 every agent is"
            )
        if settings.traffic in TRAFFIC:
            raise ValueError(
                f"traffic must name the policy of co_drivers, got {settings.traffic!r}, which "
                "drives by script"
            )
        for name, allowed in (("action_type", "discrete"), ("driver", "external")):
            value = getattr(settings, name)
            if value != allowed:
                raise ValueError(
                    f"{name} must be {allowed!r} among traffic={settings.traffic!r}, got {value!r}"
                )
        self._check_layout(settings)
        self._check_actions(settings)
        self.policy.threads = settings.threads

    def _check_layout(self, settings: Settings) -> None:
        difference = layout_difference(self.policy.description, make_layout(settings.layout))
        if difference is not None:
            raise ValueError(
                f"layout must be that of the policy traffic={settings.traffic!r}, or left out: "
                f"{difference}"
            )

    def _check_actions(self, settings: Settings) -> None:
        description = self.policy.description
        difference = dynamics_difference(description.get("env"), settings)
        if difference is not None:
            raise ValueError(f"traffic={settings.traffic!r} was trained for {difference}")
        choices = len(settings.jerk_long) * len(settings.jerk_lat)
        if settings.dynamics != "jerk":
            choices = math.prod(bins_of(settings.dynamics, settings.action_bins))
        if description["actions"] != choices:
            raise ValueError(
                f"traffic={settings.traffic!r} was trained for {description['actions']} "
                f"actions, the environment has {choices}"
            )
        if settings.dynamics != "jerk":
            return
        trained = description.get("env", {})
        for name in ("jerk_long", "jerk_lat"):
            there, here = trained.get(name, getattr(Settings, name)), getattr(settings, name)
            if tuple(there) != tuple(here):
                raise ValueError(
                    f"{name} must be {list(there)}, as traffic={settings.traffic!r} was trained, "
                    f"got {list(here)}"
                )

    def act(self, observations: NDArray[Any], learners: NDArray[Any]) -> NDArray[Any]:
        """Returns actions for all rows of the worlds, int64 [rows].

        Args:
            observations: Of all rows, those of a world's learner before its co-drivers'.
            learners: Actions of the learners, one a world.
        """
        actions = self.policy.act(observations)
        actions[:: len(actions) // len(learners)] = learners
        return actions
