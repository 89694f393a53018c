"""Episodes of a vector environment as a Minari dataset: each row's episodes, one after the other.

Minari's own `DataCollector` takes single environments only, and needs jax.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

try:
    import minari
    from minari.data_collector import EpisodeBuffer
except ImportError as error:
    raise ImportError(
        'recording datasets needs Minari: pip install "selfdrive_env[minari]"'
    ) from error

__all__ = ["EpisodeBuffer", "EpisodeRecorder", "minari"]


class EpisodeRecorder(VectorWrapper):
    """Keeps the episodes of all rows while the environment is used as ever.

    Nothing is kept of rows without an agent (`infos["valid"]`). Episodes stay in memory until
    `write`: 4 bytes a feature and step, 1.7 kB a step with layout "lean".

    Args:
        env: A vector environment with SameStep autoreset.

    Raises:
        ValueError: For another autoreset mode, several kinds of observations, or scripted rows: the
            actions given to those are not what they drive by.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            name = getattr(mode, "value", mode)
            raise ValueError(f"autoreset_mode must be 'SameStep' for recording, got {name!r}")
        settings = getattr(env.unwrapped, "settings", None)
        driver = getattr(settings, "driver", "external")
        if driver != "external":
            raise ValueError(f"driver must be 'external': {driver!r} ignores the actions recorded")
        if env.single_observation_space.shape is None:
            raise ValueError(
                "observation must be of one kind for recording, got "
                f"{getattr(settings, 'observation', env.single_observation_space)!r}"
            )
        self._live = not getattr(settings, "copy", True)
        self.episodes: list[EpisodeBuffer] = []
        self._steps: list[tuple[Any, ...]] = []
        self._first = np.zeros(env.num_envs, np.int64)
        self._dropped = 0
        self._rows: NDArray[Any] = np.zeros(0)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """See the environment; running episodes of rows that are reset end as truncated."""
        env: Any = self.env
        rows, infos = env.reset(seed=seed, options=dict(options) if options else None)
        chosen = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        if self._steps:
            for row in np.flatnonzero(chosen).tolist():
                self._keep(row, self._rows[row], (False, True))
        self._begin(np.flatnonzero(chosen), rows, infos)
        return rows, infos

    def step(self, actions: Any) -> Any:
        """See the environment."""
        result = self.env.step(actions)
        rows, rewards, terminated, truncated, infos = result
        self._steps.append((self._rows, np.array(actions), np.array(rewards)))
        ended = np.flatnonzero(terminated | truncated)
        for row in ended.tolist():
            flags = bool(terminated[row]), bool(truncated[row])
            self._keep(row, infos["final_obs"][row], flags)
        self._begin(ended, rows, infos)
        return result

    def _begin(self, rows: NDArray[Any], observations: Any, infos: Mapping[str, Any]) -> None:
        """Notes where the next episodes of these rows, and of those that wait, begin."""
        now = self._dropped + len(self._steps)
        self._first[rows] = now
        self._first[~np.asarray(infos.get("valid", self._first >= 0))] = now
        self._rows = np.array(observations) if self._live else observations
        past = int(self._first.min()) - self._dropped
        del self._steps[:past]
        self._dropped += past

    def _keep(self, row: int, last: NDArray[Any], flags: tuple[bool, bool]) -> None:
        steps = self._steps[int(self._first[row]) - self._dropped :]
        if not steps:
            return
        terminated, truncated = np.zeros((2, len(steps)), np.bool_)
        terminated[-1], truncated[-1] = flags
        self.episodes.append(
            EpisodeBuffer(
                observations=np.stack([*(one[0][row] for one in steps), last]),
                actions=np.stack([one[1][row] for one in steps]),
                rewards=np.stack([one[2][row] for one in steps]),
                terminations=terminated,
                truncations=truncated,
            )
        )

    def write(self, dataset_id: str, **details: Any) -> minari.MinariDataset:
        """Writes the episodes that ended as a new local dataset, and forgets them.

        Args:
            dataset_id: Its name, such as "selfdrive/riverside-v0".
            **details: Of `minari.create_dataset_from_buffers`: `algorithm_name`, `author`,
                `eval_env` and so on.

        Raises:
            ValueError: If no episode has ended yet.
        """
        if not self.episodes:
            raise ValueError(f"no episode has ended yet: there is nothing to write to {dataset_id}")
        with warnings.catch_warnings():
            # A spec would be made with `gymnasium.make`, and rows are no environments.
            warnings.filterwarnings("ignore", "env_spec is None")
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                self.episodes,
                observation_space=self.single_observation_space,
                action_space=self.single_action_space,
                **details,
            )
        self.episodes = []
        return dataset
