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
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfdrive_env.config.files import write_whole
from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs.make import make_self_play
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.training.advantages import (
    Rollout,
    estimate_advantages,
    filter_advantages,
    moments,
)
from selfdrive_env.training.checkpoint import Checkpoints, json_bytes
from selfdrive_env.training.config import TrainConfig
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.gradients.loss import Learnt, Weights, loss_of
from selfdrive_env.training.gradients.one_pass import Acts, OnePass
from selfdrive_env.training.network import Networks
from selfdrive_env.training.policy import choose
from selfdrive_env.training.progress import Progress, Stopwatch, drive_figures
from selfdrive_env.training.snapshot import RunState, restore, save, save_failure, start_from

__all__ = ["NotFiniteError", "Trainer", "run"]

GAMMA_STEP = 0.3
"""Time that `gamma` and `gae_lambda` are meant for [s]."""

TALLIES = ("length", "km", "goals", "collisions", "offroad", "red_lights")
"""What is added up over the episodes that end in a rollout, the length in seconds."""

VALUE_RATE = 0.1
"""Weight of the newest rollout in the mean and scale of the critic's values."""

LEAST_SCALE = 1e-3

CHUNK = {"cpu": 2048, "cuda": 65_536}
"""Rows of one pass through the critic: on a CPU so many that the layers stay in the cache."""


class NotFiniteError(RuntimeError):
    """The loss or the advantages are no numbers any more; state and batch are saved."""


def run(config: TrainConfig, *, resume: bool, updates: int | None, follow: Any) -> dict[str, float]:
    """See `selfdrive_env.training.train`."""
    if config.torch_threads is not None:
        torch.set_num_threads(config.torch_threads)
    ranks = Ranks(choose_device(config.device))
    try:
        trainer = Trainer(config, ranks)
        try:
            trainer.start(resume)
            return trainer.train(updates, follow)
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
        first = own * ranks.rank
        self.mine = slice(first * per_world, (first + own) * per_world)
        self.env: Any = make_self_play(
            own * per_world,
            **config.env,
            device=ranks.device,
            # Making tensors of all that infos hold takes as long as a third of a step.
            output="numpy" if self.device.type == "cpu" else "torch",
            copy=False,
            world_offset=first,
        )
        self.networks = self._make_networks()
        self.actor, self.critic = self.networks.log_probabilities, self.networks.values
        self.both = self.networks.both
        if config.compile:
            self.actor, self.critic = torch.compile(self.actor), torch.compile(self.critic)
            self.both = torch.compile(self.both)
        fits = OnePass.fits(self.networks, self.device)
        self.one_pass = OnePass(self.networks) if fits else None
        self.parameters = list(self.networks.parameters())
        self.clipped = self.networks.parts() if config.clip_apart else [self.parameters]
        self.optimizer = torch.optim.Adam(
            self.parameters, config.learning_rate, eps=config.adam_epsilon, fused=True
        )
        self.state = RunState(
            config=config,
            ranks=ranks,
            env=self.env,
            first_world=first,
            networks=self.networks,
            optimizer=self.optimizer,
            generator=torch.Generator(self.device).manual_seed(config.seed),
            observations=torch.empty(0),
            learn=torch.empty(0),
        )
        self.buffers: Rollout | None = None
        self.folder = self.state.folder
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.keep_checkpoints, ranks)
        self.watch = Stopwatch(self.device)
        self.progress: Progress | None = None
        self.entropy_weight = config.entropy
        self.stopping = False

    def _make_networks(self) -> Networks:
        config, actions = self.config, len(self.env.engine.draws.action)
        sizes = Sizes(
            config.set_widths, config.scalar_width, config.trunk_widths, config.shared_sets
        )
        return Networks(self.env.layout, sizes, actions, config.seed).to(self.device)

    def start(self, resume: bool) -> None:
        """Draws the worlds, or goes on from a checkpoint."""
        if resume:
            if not restore(self.state, self.checkpoints):
                self._reset(self.config.seed + self.state.updates)
        else:
            there = self.checkpoints.numbers()
            if self.ranks.any(bool(there)):
                raise ValueError(
                    f"out_dir {str(self.folder)!r} holds a run already: resume it, or take another"
                )
            if self.config.start_from is not None:
                start_from(self.state, self.config.start_from)
            self._reset(self.config.seed)
        if self.ranks.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / "config.json", json_bytes(self.config.to_table()), alone=True)
            self.progress = Progress(self.folder, self.state.updates, self.config.tensorboard)

    def _reset(self, seed: int) -> None:
        rows, infos = self.env.reset(seed=seed)
        self.state.observations = _tensor(rows)
        self.state.learn = _tensor(infos["learn"]) & _tensor(infos["valid"])

    def train(self, updates: int | None, follow: Any = None) -> dict[str, float]:
        """Goes on until the budget is spent, or for so many updates; leaves a checkpoint."""
        state = self.state
        figures = {**dict.fromkeys(_FIGURES, math.nan), "steps": state.steps}
        figures["seconds"] = state.seconds
        last = None if updates is None else state.updates + updates
        saved_at, saved_seconds = (state.updates if state.updates else -1), state.seconds
        with self._signals():
            while self._spent() < 1.0 and state.updates != last and not self._asked_to_stop():
                figures = self.update()
                waited = state.seconds - saved_seconds
                if self.ranks.any(waited >= 60.0 * self.config.checkpoint_minutes):
                    save(state, self.checkpoints)
                    saved_at, saved_seconds = state.updates, state.seconds
                if follow is not None:
                    follow(state)
            if saved_at != state.updates:
                save(state, self.checkpoints)
        return figures

    def update(self) -> dict[str, float]:
        """Drives one rollout and learns from it; returns figures by name."""
        start, state = time.perf_counter(), self.state
        spent = self._spent()
        rate = self.config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * spent))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        self.entropy_weight = self._entropy_weight()
        rollout, tallies = self.drive()
        with self.watch("learn"):
            losses = self.learn_from(rollout)
        state.updates += 1
        state.steps += self.config.rollout * self.total_rows
        parts = self.watch.take()
        elapsed = time.perf_counter() - start
        state.seconds += elapsed

        figures = {
            "update": state.updates,
            "steps": state.steps,
            "seconds": state.seconds,
            "steps_per_second": self.config.rollout * self.total_rows / elapsed,
            **{part: parts.get(part, 0.0) for part in ("simulate", "infer", "learn")},
            "learning_rate": rate,
            **drive_figures(tallies),
            **losses,
        }
        if self.progress is not None:
            spent = self._spent()
            self.progress.tell(figures, state.seconds * (1.0 - spent) / spent if spent else None)
        return figures

    @torch.no_grad()
    def drive(self) -> tuple[Rollout, dict[str, float]]:
        """Drives T steps; returns what happened, and sums over the episodes that ended."""
        config, state = self.config, self.state
        steps = config.rollout
        if self.buffers is None:
            self.buffers = self._allocate()
        out = self.buffers
        draws = self._draws()[:, self.mine]
        sums = torch.zeros(len(TALLIES), dtype=torch.float64, device=self.device)
        cut_places, cut_observations = [], []
        if self.one_pass is not None:
            self.one_pass.load()

        for step in range(steps):
            with self.watch("infer"), self._precision():
                out.observations[step] = state.observations
                out.learn[step] = state.learn
                self._act(out, step, draws[step])
            actions = out.actions[step]
            lengths = self._step_lengths()
            out.discounts[step] = config.gamma ** (lengths / GAMMA_STEP)
            out.trace[step] = (config.gamma * config.gae_lambda) ** (lengths / GAMMA_STEP)
            with self.watch("simulate"):
                *rows, infos = self.env.step(actions)
                state.observations, out.rewards[step], terminated, truncated = map(_tensor, rows)
                learn, valid = _tensor(infos["learn"]), _tensor(infos["valid"])
                torch.logical_and(learn, valid, out=state.learn)
                done = terminated | truncated
                # Nothing is learnt of who was stopped for good: what comes is worth nothing.
                out.done[step] = done | (out.learn[step] & ~state.learn)
                if "final_info" in infos:
                    finals = infos["final_info"]
                    ended = torch.stack([_tensor(finals[name]).double() for name in TALLIES])
                    ended[0] *= lengths
                    sums += torch.where(done, ended, 0.0).sum(1)
                    where = (truncated & ~terminated).nonzero()[:, 0]
                    cut_places.append(where + step * len(done))
                    cut_observations.append(_tensor(infos["final_obs"])[where])

        with self.watch("infer"), self._precision():
            if not self.config.shared_sets:
                out.values[:] = self._values(out.observations.flatten(0, 1)).view_as(out.values)
            # An episode that was cut would have gone on: its last observation's value stands in.
            if cut_places and len(places := torch.cat(cut_places)):
                rewards = out.rewards.view(-1)
                later = self._values(torch.cat(cut_observations))
                rewards[places] += out.discounts.view(-1)[places] * later
        tallied = self.ranks.sum(sums).tolist()
        return out, dict(zip(TALLIES, tallied, strict=True))

    def _act(self, out: Rollout, step: int, draws: Tensor) -> None:
        """Writes what the policy does in a step; the values only where that costs little."""
        rows = out.observations[step]
        if self.one_pass is not None:
            acts = Acts(out.actions[step], out.log_probabilities[step], out.values[step])
            self.one_pass.act(rows, draws, acts)
            return
        if self.config.shared_sets:
            log_probabilities, out.values[step] = self.both(rows)
        else:
            log_probabilities = self.actor(rows)
        out.actions[step] = actions = choose(log_probabilities, draws)
        out.log_probabilities[step] = log_probabilities.gather(1, actions[:, None])[:, 0]

    def _draws(self) -> Tensor:
        """Returns uniform numbers in [0, 1) for all rows of all processes, [T, all rows]."""
        shape = (self.config.rollout, self.total_rows)
        return torch.rand(shape, generator=self.state.generator, device=self.device)

    def _allocate(self) -> Rollout:
        now = self.state.observations
        shape = (self.config.rollout, len(now))

        def empty(dtype: torch.dtype, *axes: int) -> Tensor:
            return torch.zeros((*shape, *axes), dtype=dtype, device=self.device)

        return Rollout(
            observations=empty(now.dtype, now.shape[1]),
            actions=empty(torch.int64),
            log_probabilities=empty(torch.float32),
            rewards=empty(torch.float32),
            done=empty(torch.bool),
            learn=empty(torch.bool),
            values=empty(torch.float32),
            discounts=empty(torch.float32),
            trace=empty(torch.float32),
        )

    def _step_lengths(self) -> Tensor:
        """Returns the length of the step of each row's world, [R] [s]."""
        lengths = self.env.engine.step_lengths
        per_world = len(self.state.observations) // len(lengths)
        return _tensor(lengths).repeat_interleave(per_world)

    def _values(self, observations: Tensor) -> Tensor:
        """Returns the critic's values of observations [N, features], in pieces."""
        chunks = observations.split(CHUNK[self.device.type])
        return torch.cat([self.critic(chunk) for chunk in chunks])

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def learn_from(self, rollout: Rollout) -> dict[str, float]:
        """Improves actor and critic on the transitions that matter; returns figures by name."""
        config, ranks = self.config, self.ranks
        raw, kept, filter_level = self._advantages(rollout)
        targets = raw + rollout.values.flatten()
        count, mean, spread = moments(raw[kept], ranks)
        advantages = ((raw - mean) / (spread + 1e-8)).float()
        learnable = ranks.sum(rollout.learn.sum()).item()
        if config.normalize_values and count:
            self._follow_values(targets[kept])

        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        norms = []
        minibatches = round(count / config.minibatch) or int(count > 0)
        batch = self._batch(rollout, advantages, targets)
        for index, size in self._minibatches(kept, minibatches):
            terms = self._gradients(batch, index, size)
            ranks.add_gradients(self.parameters)
            norm = self._clip()
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
            "filter_level": filter_level,
        }

    def _advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor, float]:
        """Returns raw advantages [N], the transitions learnt from, and the level of the filter."""
        config = self.config
        with torch.no_grad(), self._precision():
            next_values = self._values(self.state.observations)
        advantages = estimate_advantages(
            rollout.rewards, rollout.values, rollout.done, next_values, rollout.discounts,
            rollout.trace,
        )  # fmt: skip
        keep, filter_level = filter_advantages(
            advantages, rollout.learn, self.state.filter_level, config.filter, config.filter_rate,
            self.ranks,
        )  # fmt: skip
        self.state.filter_level = filter_level
        if not math.isfinite(filter_level):
            self._give_up("the advantages", rollout, None)
        return advantages.flatten(), keep.flatten().nonzero()[:, 0], filter_level

    def _follow_values(self, targets: Tensor) -> None:
        """Moves the unit of the critic towards that of the newest targets."""
        networks, rate = self.networks, max(VALUE_RATE, 1.0 / (self.state.updates + 1))
        _, mean, scale = moments(targets, self.ranks)
        old_mean, old_scale = float(networks.value_mean), float(networks.value_scale)
        mean = old_mean + rate * (mean - old_mean)
        scale = old_scale + rate * (max(scale, LEAST_SCALE) - old_scale)
        networks.set_value_scale(mean, scale)

    def _minibatches(self, kept: Tensor, minibatches: int) -> Iterator[tuple[Tensor, int]]:
        """Yields indices into the rollout, and how many there are over all processes.

        Every transition draws the minibatch it is in, so that the processes need not agree.
        """
        for _ in range(self.config.epochs if minibatches else 0):
            draws = self._draws()[:, self.mine].flatten()[kept]
            number = (draws * minibatches).long().clamp_(max=minibatches - 1)
            order = kept[number.argsort(stable=True)]
            sizes = torch.bincount(number, minlength=minibatches)
            totals = self.ranks.sum(sizes).tolist()
            for index, total in zip(order.split(sizes.tolist()), totals, strict=True):
                if total:
                    yield index, total

    def _batch(self, rollout: Rollout, advantages: Tensor, targets: Tensor) -> Learnt:
        """Returns what the loss needs, from normalised advantages and the critic's targets, [N]."""
        networks = self.networks
        unscaled = (targets - networks.value_mean) / networks.value_scale
        figures = torch.stack([rollout.log_probabilities.flatten(), advantages, unscaled])
        return Learnt(rollout.observations.flatten(0, 1), rollout.actions.flatten(), figures)

    def _gradients(self, batch: Learnt, index: Tensor, size: int) -> Tensor:
        """Leaves the gradients of the loss in the parameters.

        Args:
            batch: What is known of all transitions.
            index: Transitions of this process in the minibatch, [B].
            size: Transitions in the minibatch over all processes.

        Returns:
            Sums of policy loss, value loss, entropy and divergence, float64 [4].
        """
        config = self.config
        weights = Weights(config.clip, self.entropy_weight, config.value)
        if self.one_pass is not None:
            return self.one_pass.learn(batch, index, weights, size)
        with self._precision():
            loss, terms = loss_of(self.both, self.networks, batch, index, weights)
        self.optimizer.zero_grad()
        (loss / size).backward()
        return terms

    def _clip(self) -> float:
        """Shortens gradients that are too long; returns the length of all before."""
        longest = self.config.max_grad_norm
        norms = [float(nn.utils.clip_grad_norm_(part, longest)) for part in self.clipped]
        return norms[0] if len(norms) == 1 else math.hypot(*norms)

    def _entropy_weight(self) -> float:
        """Returns what the entropy weighs now."""
        first, last = self.config.entropy, self.config.entropy_end
        return first if last is None else first + self._spent() * (last - first)

    def _give_up(self, what: str, rollout: Rollout, index: Tensor | None) -> None:
        """Saves state and batch, and stops the run."""
        batch = {name: tensor.flatten(0, 1) for name, tensor in rollout._asdict().items()}
        if index is not None:
            batch = {name: tensor[index] for name, tensor in batch.items()}
        folder = save_failure(self.state, batch)
        raise NotFiniteError(
            f"{what} of update {self.state.updates + 1} is not finite: state and batch are in "
            f"{folder}, the checkpoints before are in {self.checkpoints.folder}"
        )

    def _spent(self) -> float:
        """Returns which share of the budget is spent, of steps or of time."""
        spent = self.state.steps / self.config.steps
        if self.config.minutes is not None:
            spent = max(spent, self.state.seconds / (60.0 * self.config.minutes))
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
        if self.one_pass is not None:
            self.one_pass.close()
        if self.progress is not None:
            self.progress.close()


def _tensor(array: Any) -> Tensor:
    """Returns an array as a tensor of the same memory; a tensor as it is."""
    return torch.as_tensor(array)


_FIGURES = ("steps_per_second", "goals_per_hour", "incidents_per_km")
