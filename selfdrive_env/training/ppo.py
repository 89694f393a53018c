"""Proximal policy optimisation (Schulman et al. 2017) with advantage filtering, top to bottom.

One policy drives every agent of all worlds. Rollouts stay where the worlds are. Transitions whose
advantage is small against the largest ones are left out of learning (Cusumano-Towner et al. 2025,
arXiv 2502.03349). Axes in comments: T steps of a rollout, R rows, N = T x R, B a minibatch.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs.make import make_self_play
from selfdrive_env.training.checkpoint import Checkpoints, json_bytes, write_whole
from selfdrive_env.training.config import TrainConfig
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.network import Networks, Sizes
from selfdrive_env.training.policy import choose
from selfdrive_env.training.progress import Progress, Stopwatch
from selfdrive_env.training.snapshot import restore, save, save_failure, start_from

__all__ = ["NotFiniteError", "Trainer", "estimate_advantages", "filter_advantages", "run"]

TALLIES = ("length", "km", "goals", "collisions", "offroad", "red_lights")
"""What is added up over the episodes that end in a rollout."""

VALUE_RATE = 0.1
"""Weight of the newest rollout in the mean and scale of the critic's values."""

LEAST_SCALE = 1e-3

CHUNK = {"cpu": 2048, "cuda": 65_536}
"""Rows of one pass through the critic: on a CPU so many that the layers stay in the cache."""


class NotFiniteError(RuntimeError):
    """The loss or the advantages are no numbers any more; state and batch are saved."""


class Rollout(NamedTuple):
    """What all rows of this process did, [T, R] each."""

    rows: Tensor
    """Observations, [T, R, features]."""

    actions: Tensor
    log_probabilities: Tensor
    """Of the actions taken, when they were taken."""

    rewards: Tensor
    """With the discounted value of the last observation where an episode was cut."""

    done: Tensor
    learn: Tensor
    """Whether the transition may be learnt from."""

    values: Tensor


def run(
    config: TrainConfig, *, resume: bool = False, updates: int | None = None
) -> dict[str, float]:
    """See `selfdrive_env.training.train`."""
    if config.torch_threads is not None:
        torch.set_num_threads(config.torch_threads)
    ranks = Ranks(choose_device(config.device))
    try:
        trainer = Trainer(config, ranks)
        try:
            trainer.start(resume)
            return trainer.train(updates)
        finally:
            trainer.close()
    finally:
        ranks.close()


class Trainer:
    """A run: its worlds, its networks and how far it is.

    Args:
        config: All settings.
        ranks: The processes that share the run.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.device = torch.device(ranks.device)
        own = ranks.share(config.num_worlds)
        per_world = config.settings().slots
        self.total_rows = config.num_worlds * per_world
        self.first_world = own * ranks.rank
        self.mine = slice(self.first_world * per_world, (self.first_world + own) * per_world)
        self.env: Any = make_self_play(
            own * per_world,
            **config.env,
            device=ranks.device,
            output="torch",
            copy=False,
            world_offset=self.first_world,
        )
        self.sizes = Sizes(
            config.set_widths, config.scalar_width, config.trunk_widths, config.shared_sets
        )
        actions = len(self.env.engine.draws.jerk)
        self.networks = Networks(self.env.layout, self.sizes, actions, config.seed).to(self.device)
        self.actor, self.critic = self.networks.log_probabilities, self.networks.values
        self.both = self.networks.both
        if config.compile:
            self.actor, self.critic = torch.compile(self.actor), torch.compile(self.critic)
            self.both = torch.compile(self.both)
        self.parameters = list(self.networks.parameters())
        self.optimizer = torch.optim.Adam(
            self.parameters, config.learning_rate, eps=config.adam_epsilon, fused=True
        )
        # Alike in all processes: each draws for all rows and takes its own.
        self.generator = torch.Generator(self.device).manual_seed(config.seed)

        self.updates = self.steps = 0
        self.seconds = 0.0
        self.level: float | None = None
        self.rows = self.learn = torch.empty(0)
        self.buffers: Rollout | None = None
        self.folder = Path(config.out_dir)
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints", config.keep_checkpoints, ranks, config.shard_bytes
        )
        self.watch = Stopwatch(self.device)
        self.progress: Progress | None = None
        self.stopping = False

    def start(self, resume: bool) -> None:
        """Draws the worlds, or goes on from a checkpoint."""
        if resume:
            if not restore(self, *self.checkpoints.newest()):
                self._reset(self.config.seed + self.updates)
        else:
            there = self.checkpoints.numbers()
            if self.ranks.any(bool(there)):
                raise ValueError(
                    f"out_dir {str(self.folder)!r} holds a run already: resume it, or take another"
                )
            if self.config.start_from is not None:
                start_from(self, self.config.start_from)
            self._reset(self.config.seed)
        if self.ranks.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / "config.json", json_bytes(self.config.to_table()))
            self.progress = Progress(self.folder, self.updates, self.config.tensorboard)

    def _reset(self, seed: int) -> None:
        self.rows, infos = self.env.reset(seed=seed)
        self.learn = (infos["learn"] & infos["valid"]).clone()

    def train(self, updates: int | None) -> dict[str, float]:
        """Goes on until the budget is spent, or for so many updates; leaves a checkpoint."""
        figures = {**dict.fromkeys(_FIGURES, math.nan), "steps": self.steps}
        figures["seconds"] = self.seconds
        last = None if updates is None else self.updates + updates
        saved_at, saved_seconds = (self.updates if self.updates else -1), self.seconds
        with self._signals():
            while self._spent() < 1.0 and self.updates != last and not self._asked_to_stop():
                figures = self.update()
                waited = self.seconds - saved_seconds
                if self.ranks.any(waited >= 60.0 * self.config.checkpoint_minutes):
                    self.save()
                    saved_at, saved_seconds = self.updates, self.seconds
            if saved_at != self.updates:
                self.save()
        return figures

    def update(self) -> dict[str, float]:
        """Drives one rollout and learns from it; returns figures by name."""
        start = time.perf_counter()
        spent = self._spent()
        rate = self.config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * spent))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        rollout, tallies = self.drive()
        with self.watch("learn"):
            losses = self.learn_from(rollout)
        self.updates += 1
        self.steps += self.config.rollout * self.total_rows
        parts = self.watch.take()
        elapsed = time.perf_counter() - start
        self.seconds += elapsed

        figures = {
            "update": self.updates,
            "steps": self.steps,
            "seconds": self.seconds,
            "steps_per_second": self.config.rollout * self.total_rows / elapsed,
            **{part: parts.get(part, 0.0) for part in ("simulate", "infer", "learn")},
            "learning_rate": rate,
            **_drive_figures(tallies, self.env.settings.dt),
            **losses,
        }
        if self.progress is not None:
            spent = self._spent()
            self.progress.tell(figures, self.seconds * (1.0 - spent) / spent if spent else None)
        return figures

    @torch.no_grad()
    def drive(self) -> tuple[Rollout, dict[str, float]]:
        """Drives T steps; returns what happened, and sums over the episodes that ended."""
        steps = self.config.rollout
        if self.buffers is None:
            self.buffers = self._allocate()
        out = self.buffers
        draws = torch.rand((steps, self.total_rows), generator=self.generator, device=self.device)[
            :, self.mine
        ]
        sums = torch.zeros(len(TALLIES), dtype=torch.float64, device=self.device)
        cut_places, cut_rows = [], []

        for step in range(steps):
            with self.watch("infer"), self._precision():
                out.rows[step] = self.rows
                out.learn[step] = self.learn
                if self.config.shared_sets:
                    log_probabilities, out.values[step] = self.both(out.rows[step])
                else:
                    log_probabilities = self.actor(out.rows[step])
                actions = choose(log_probabilities, draws[step])
                out.actions[step] = actions
                out.log_probabilities[step] = log_probabilities.gather(1, actions[:, None])[:, 0]
            with self.watch("simulate"):
                self.rows, reward, terminated, truncated, infos = self.env.step(actions)
                torch.logical_and(infos["learn"], infos["valid"], out=self.learn)
                out.rewards[step] = reward
                out.done[step] = terminated | truncated
                if "final_info" in infos:
                    ended = torch.stack([infos["final_info"][name].double() for name in TALLIES])
                    sums += torch.where(out.done[step], ended, 0.0).sum(1)
                    where = (truncated & ~terminated).nonzero()[:, 0]
                    cut_places.append(where + step * len(reward))
                    cut_rows.append(infos["final_obs"][where])

        with self.watch("infer"), self._precision():
            if not self.config.shared_sets:
                out.values[:] = self._values(out.rows.flatten(0, 1)).view_as(out.values)
            # An episode that was cut would have gone on: its last observation's value stands in.
            if cut_places and len(places := torch.cat(cut_places)):
                rewards = out.rewards.view(-1)
                rewards[places] += self.config.gamma * self._values(torch.cat(cut_rows))
        tallied = self.ranks.sum(sums).tolist()
        return out, dict(zip(TALLIES, tallied, strict=True))

    def _allocate(self) -> Rollout:
        shape = (self.config.rollout, len(self.rows))

        def empty(dtype: torch.dtype, *axes: int) -> Tensor:
            return torch.zeros((*shape, *axes), dtype=dtype, device=self.device)

        return Rollout(
            rows=empty(self.rows.dtype, self.rows.shape[1]),
            actions=empty(torch.int64),
            log_probabilities=empty(torch.float32),
            rewards=empty(torch.float32),
            done=empty(torch.bool),
            learn=empty(torch.bool),
            values=empty(torch.float32),
        )

    def _values(self, rows: Tensor) -> Tensor:
        """Returns the critic's values of rows [N, features], in pieces."""
        chunks = rows.split(CHUNK[self.device.type])
        return torch.cat([self.critic(chunk) for chunk in chunks])

    def _precision(self) -> torch.autocast:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def learn_from(self, rollout: Rollout) -> dict[str, float]:
        """Improves actor and critic on the transitions that matter; returns figures by name."""
        config, ranks = self.config, self.ranks
        with torch.no_grad(), self._precision():
            next_values = self._values(self.rows)
        advantages = estimate_advantages(
            rollout.rewards, rollout.values, rollout.done, next_values, config.gamma,
            config.gae_lambda,
        )  # fmt: skip
        targets = (advantages + rollout.values).flatten()
        keep, self.level = filter_advantages(
            advantages, rollout.learn, self.level, config.filter, config.filter_rate, ranks
        )
        if not math.isfinite(self.level):
            self._give_up("the advantages", rollout, None)
        advantages, keep = advantages.flatten(), keep.flatten()
        kept = keep.nonzero()[:, 0]
        count, mean, spread = _moments(advantages[kept], ranks)
        gains = ((advantages - mean) / (spread + 1e-8)).float()
        learnable = ranks.sum(rollout.learn.sum()).item()
        if config.normalize_values and count:
            self._follow_values(targets[kept])

        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        norms = []
        minibatches = round(count / config.minibatch) or int(count > 0)
        for index, size in self._minibatches(kept, minibatches):
            with self._precision():
                loss, terms = self._loss(rollout, index, gains, targets, size)
            self.optimizer.zero_grad()
            loss.backward()
            ranks.add_gradients(self.parameters)
            norm = float(nn.utils.clip_grad_norm_(self.parameters, config.max_grad_norm))
            if not math.isfinite(norm):
                self._give_up("the loss", rollout, index)
            norms.append(norm)
            self.optimizer.step()
            sums += terms

        policy, value, entropy, divergence = (
            ranks.sum(sums) / max(count * config.epochs, 1)
        ).tolist()
        return {
            "policy_loss": policy,
            "value_loss": value,
            "entropy": entropy,
            "kl": divergence,
            "grad_norm": float(np.mean(norms)) if norms else 0.0,
            "kept": count / max(learnable, 1),
            "filter_level": self.level,
        }

    def _follow_values(self, targets: Tensor) -> None:
        """Moves the unit of the critic towards that of the newest targets."""
        networks, rate = self.networks, max(VALUE_RATE, 1.0 / (self.updates + 1))
        _, mean, scale = _moments(targets, self.ranks)
        old_mean, old_scale = float(networks.value_mean), float(networks.value_scale)
        mean = old_mean + rate * (mean - old_mean)
        scale = old_scale + rate * (max(scale, LEAST_SCALE) - old_scale)
        networks.set_value_scale(mean, scale)

    def _minibatches(self, kept: Tensor, minibatches: int) -> Iterator[tuple[Tensor, int]]:
        """Yields indices into the rollout, and how many there are over all processes.

        Every transition draws the minibatch it is in, so that the processes need not agree.
        """
        shape = (self.config.rollout, self.total_rows)
        for _ in range(self.config.epochs if minibatches else 0):
            draws = torch.rand(shape, generator=self.generator, device=self.device)
            draws = draws[:, self.mine].flatten()[kept]
            number = (draws * minibatches).long().clamp_(max=minibatches - 1)
            order = kept[number.argsort(stable=True)]
            sizes = torch.bincount(number, minlength=minibatches)
            totals = self.ranks.sum(sizes).tolist()
            for index, total in zip(order.split(sizes.tolist()), totals, strict=True):
                if total:
                    yield index, total

    def _loss(
        self, rollout: Rollout, index: Tensor, gains: Tensor, targets: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        """Returns the loss, and sums of policy loss, value loss, entropy and divergence.

        Args:
            rollout: The rollout.
            index: Transitions of this process in the minibatch, [B].
            gains: Normalised advantages, [N].
            targets: Of the critic, [N].
            size: Transitions in the minibatch over all processes.
        """
        config = self.config
        rows = rollout.rows.flatten(0, 1)[index]
        log_probabilities, values = self.both(rows)
        new = log_probabilities.gather(1, rollout.actions.flatten()[index, None])[:, 0]
        change = new - rollout.log_probabilities.flatten()[index]
        ratio, gain = change.exp(), gains[index]
        clipped = ratio.clamp(1.0 - config.clip, 1.0 + config.clip)
        policy = -torch.min(gain * ratio, gain * clipped).sum()
        entropy = -(log_probabilities.exp() * log_probabilities).sum()
        errors = (values - targets[index]) / self.networks.value_scale
        value = 0.5 * errors.square().sum()
        loss = (policy - config.entropy * entropy + config.value * value) / size
        divergence = (ratio - 1.0 - change).sum()
        terms = torch.stack([policy, value, entropy, divergence]).detach().double()
        return loss, terms

    def save(self) -> None:
        """Writes a checkpoint, and the policy of the run."""
        save(self)

    def _give_up(self, what: str, rollout: Rollout, index: Tensor | None) -> None:
        """Saves state and batch, and stops the run."""
        batch = {name: tensor.flatten(0, 1) for name, tensor in rollout._asdict().items()}
        if index is not None:
            batch = {name: tensor[index] for name, tensor in batch.items()}
        folder = save_failure(self, batch)
        raise NotFiniteError(
            f"{what} of update {self.updates + 1} is not finite: state and batch are in {folder}, "
            f"the checkpoints before are in {self.checkpoints.folder}"
        )

    def _spent(self) -> float:
        """Returns which share of the budget is spent, of steps or of time."""
        spent = self.steps / self.config.steps
        if self.config.minutes is not None:
            spent = max(spent, self.seconds / (60.0 * self.config.minutes))
            if self.ranks.count > 1:  # clocks differ, the schedules must not
                shared = torch.tensor(spent, dtype=torch.float64, device=self.device)
                spent = float(self.ranks.max(shared))
        return min(spent, 1.0)

    def _asked_to_stop(self) -> bool:
        return self.ranks.any(self.stopping)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM end the run after the present update, with its state saved."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: Any) -> None:
            self.stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Closes the worlds and the files."""
        self.env.close()
        if self.progress is not None:
            self.progress.close()


def estimate_advantages(
    rewards: Tensor,
    values: Tensor,
    done: Tensor,
    next_values: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Returns generalised advantages (Schulman et al. 2016), [T, R].

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lambda A_{t+1}; both sums end where
    an episode does.

    Args:
        rewards: [T, R].
        values: Of the rows acted on, [T, R].
        done: Whether the episode ended with the step, [T, R].
        next_values: Of the rows after the last step, [R].
        gamma: Discount of a step.
        gae_lambda: Weight of longer estimates.
    """
    advantages = torch.empty_like(rewards)
    goes_on = gamma * (~done).to(rewards.dtype)
    advantage = torch.zeros_like(next_values)
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + goes_on[step] * next_values - values[step]
        advantage = delta + gae_lambda * goes_on[step] * advantage
        advantages[step] = advantage
        next_values = values[step]
    return advantages


def filter_advantages(
    advantages: Tensor, learn: Tensor, level: float | None, share: float, rate: float, ranks: Ranks
) -> tuple[Tensor, float]:
    """Chooses the transitions whose advantage is large enough to learn from.

    level <- rate max|A| + (1 - rate) level;  kept are those with |A| >= share level.

    Args:
        advantages: Raw ones, [T, R].
        learn: Transitions that may be learnt from, [T, R].
        level: Running largest advantage, None before the first rollout.
        share: Of the level that an advantage must reach; 0 keeps all.
        rate: Weight of the newest rollout in the level.
        ranks: The processes, over all of which the largest is taken.

    Returns:
        Which are kept, bool [T, R], and the new level, NaN if an advantage is not finite.
    """
    sizes = torch.where(learn, advantages.abs(), 0.0)
    largest = float(sizes.max())
    if ranks.any(not math.isfinite(largest)):  # a maximum over processes may lose a NaN
        return torch.zeros_like(learn), math.nan
    largest = float(ranks.max(sizes.max()))
    level = largest if level is None else rate * largest + (1.0 - rate) * level
    return learn & (sizes >= share * level), level


def _moments(values: Tensor, ranks: Ranks) -> tuple[int, float, float]:
    """Returns number, mean and standard deviation over all processes."""
    doubles = values.double()
    number = torch.tensor(float(len(values)), dtype=torch.float64, device=values.device)
    count, total = ranks.sum(torch.stack([number, doubles.sum()])).tolist()
    mean = total / max(count, 1.0)
    variance = float(ranks.sum((doubles - mean).square().sum())) / max(count, 1.0)
    return int(count), mean, math.sqrt(variance)


def _drive_figures(sums: Mapping[str, float], dt: float) -> dict[str, float]:
    """Returns rates of the episodes that ended in a rollout."""
    hours, km = sums["length"] * dt / 3600.0, sums["km"]
    incidents = sums["collisions"] + sums["offroad"]
    return {
        "goals_per_hour": sums["goals"] / hours if hours else 0.0,
        "incidents_per_km": incidents / km if km else 0.0,
        "red_lights_per_km": sums["red_lights"] / km if km else 0.0,
        "metres_per_second": km / hours / 3.6 if hours else 0.0,
    }


_FIGURES = ("steps_per_second", "goals_per_hour", "incidents_per_km")
