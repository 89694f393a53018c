"""Where worlds live and in what form a caller hands in actions and gets results.

`NumpyBackend` has worlds on the CPU and arrays; `envs.torch` has the others, with the same methods.
A vector environment is given one of these classes, and knows neither devices nor tensors.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_actions
from selfdrive_env.config.choices import largest_action
from selfdrive_env.config.images import make_views
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.infos import (
    Infos,
    add_finals,
    add_outlook,
    add_step,
)
from selfdrive_env.images.views import plans_of
from selfdrive_env.maps.pool.kept_map import AnyMap
from selfdrive_env.state.arrays import U8

__all__ = ["NumpyBackend", "alone"]

_Class = TypeVar("_Class", bound=type[Any])


def alone(*names: str) -> Callable[[_Class], _Class]:
    """Lets some methods of a class be called by one thread at a time; a second one gets an error.

    Kernels index by what they find in arrays, so two at once in the same ones end the process. A
    method may call others. The class has a `turn`, which is a `threading.RLock`.

    Args:
        *names: Of the methods.

    Returns:
        A decorator of the class.
    """

    def decorate(owner: _Class) -> _Class:
        for name in names:
            setattr(owner, name, _in_turn(getattr(owner, name)))
        return owner

    return decorate


def _in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method that raises a RuntimeError while another thread is in one of its kind."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        turn = self.turn
        if not turn.acquire(False):
            raise _refusal(name)
        try:
            return method(self, *arguments, **keywords)
        finally:
            turn.release()

    @functools.wraps(method)
    def call_with_actions(self: Any, actions: Any) -> Any:
        turn = self.turn
        if not turn.acquire(False):
            raise _refusal(name)
        try:
            return method(self, actions)
        finally:
            turn.release()

    @functools.wraps(method)
    def call_with_action(self: Any, action: Any) -> Any:
        turn = self.turn
        if not turn.acquire(False):
            raise _refusal(name)
        try:
            return method(self, action)
        finally:
            turn.release()

    # The smallest steps take 20 us, of which packing any arguments would be another 1 %.
    takes = [*inspect.signature(method).parameters.values()][1:]
    names = [one.name for one in takes if one.default is one.empty]
    single: dict[str, Callable[..., Any]] = {
        "action": call_with_action,
        "actions": call_with_actions,
    }
    return single.get(names[0], call) if len(names) == len(takes) == 1 else call


def _refusal(name: str) -> RuntimeError:
    return RuntimeError(
        f"{name}() while another thread is in this environment: let one thread at a time call it, "
        "or give each its own"
    )


class NumpyBackend:
    """Worlds on the CPU, of which arrays come in and go out.

    The rows that the caller sees are those of the learners; co-drivers have theirs behind them in
    each world, and only the engine's arrays hold them.

    Args:
        engine: As `make_engine` gives it.
        num_envs: Rows of the caller: all rows of the engine, or the first of each world.
    """

    tells_steps = True
    """Whether infos tell of steps where the settings say so."""

    dense = False
    """Whether infos tell of ends in every step."""

    left_out: Collection[int] = ()
    """Drivers that kernels are without, of `state.world.Driver`."""

    form: tuple[int, int, float]
    """How many actions there are to choose from, 0 for numbers; how many of these; the largest."""

    def __init__(self, engine: Engine, num_envs: int) -> None:
        self.engine: Any = engine
        self.settings = engine.settings
        self.views = make_views(engine.settings.observation)
        self.num_envs = num_envs
        self._stride = engine.num_rows // num_envs
        self._all = np.ones(num_envs, np.bool_)
        discrete, draws = engine.settings.action_type == "discrete", engine.draws
        choices, columns = len(draws.action) if discrete else 0, len(draws.action_size)
        self.form = choices, columns, largest_action(engine.settings.dynamics)
        self._background: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None

    @staticmethod
    def make_engine(
        settings: Settings,
        maps: Sequence[AnyMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
        **scenes: Any,
    ) -> Engine:
        """Returns the engine; the arguments are those of `Engine`.

        Raises:
            ValueError: If the settings are for another device or another output.
        """
        if settings.device != "cpu" or settings.output != "numpy":
            raise ValueError(
                "device and output are settings of make_vec: gymnasium.make and DrivingVectorEnv "
                "run on the CPU and give arrays"
            )
        plans = plans_of(settings, int(np.count_nonzero(learner)), len(learner))
        return Engine(settings, maps, num_worlds, driver, learner, views=plans, **scenes)

    def check(self) -> None:
        """Raises what went wrong in earlier steps: nothing, bad actions raise at once."""

    def mask(self, mask: Any) -> NDArray[Any]:
        """Returns a mask of rows that the caller gave as an array of the host."""
        return np.asarray(mask)

    def actions(self, actions: Any) -> Any:
        """Returns actions as the engine takes them.

        Args:
            actions: What the caller gave.

        Raises:
            ValueError: If they are not what the action space holds.
        """
        return check_actions(actions, self.num_envs, *self.form)

    def with_co_drivers(self, co_drivers: CoDrivers, actions: Any) -> Any:
        """Returns actions of all rows of the engine.

        Args:
            co_drivers: Who drive those that are not the caller's.
            actions: Of the caller, as `actions` gives them.
        """
        return co_drivers.act(self.engine.observations, actions)

    def outward(self, value: Any) -> Any:
        """Returns arrays of the host, also those in dictionaries, in the form that results have.

        Args:
            value: One, or a dictionary of them.
        """
        return value

    def on_host(self) -> Any:
        """Returns what has the structs of the engine as they are now, in host memory."""
        return self.engine

    def scenes(self) -> Any:
        """Returns in which scene each world is now, int64 [worlds], in the form of results."""
        return self.outward(self.engine.worlds.scene.astype(np.int64))

    def waiting(self) -> NDArray[np.bool_]:
        """Returns which rows wait for a reset, bool [rows]."""
        learners = self.num_envs // self.engine.num_worlds
        waits = self.engine.output.awaiting_reset[:, :learners] != 0
        return waits.ravel()

    @property
    def running(self) -> bool:
        """Whether a step that `start` began is not waited for yet."""
        return self._pending is not None

    def start(self) -> None:
        """Starts a step in the background."""
        if self._background is None:
            self._background = ThreadPoolExecutor(1, thread_name_prefix="selfdrive_env_step")
        self._pending = self._background.submit(self.engine.step)

    def wait(self) -> None:
        """Waits for the step that `start` began."""
        if self._pending is None:
            raise RuntimeError("call step_async() before step_wait()")
        pending, self._pending = self._pending, None
        pending.result()

    def close(self) -> None:
        """Waits for a step in the background and ends its thread."""
        if self._background is not None:
            self._background.shutdown()
            self._background = None
            self._pending = None

    def observations(self) -> Any:
        """Returns the observations for the caller: rows of numbers, pictures, or some by name."""
        return self._by_name(self._numbers, lambda view: view.pictures)

    def _numbers(self) -> Any:
        """Returns the rows of numbers of the caller, [rows, features]."""
        rows = self._own(self.engine.observations)
        return rows.copy() if self._stride > 1 and self.settings.copy else rows

    def _by_name(self, numbers: Callable[[], Any], pictures: Callable[[Any], Any]) -> Any:
        """Returns what observations are made of, as the settings say.

        Args:
            numbers: Gives rows of numbers.
            pictures: Gives pictures of a view.
        """
        if self.views.plain:
            return numbers()
        found = {name: pictures(self.engine.views[name]) for name in self.views.pictures}
        if self.views.single:
            return next(iter(found.values()))
        return {name: numbers() if name == self.views.state else found[name]
                for name in self.views.names}  # fmt: skip

    def infos(self) -> Infos:
        """Returns the masks `valid` and `learn`, and with `step_info` what goes with rows."""
        rows = self.engine.rows
        copies = self.settings.copy
        infos: Infos = {
            "valid": self._own(rows.valid).astype(np.bool_),
            "_valid": self._all.copy() if copies else self._all,
            "learn": self._own(rows.learn).astype(np.bool_),
            "_learn": self._all.copy() if copies else self._all,
        }
        if self.settings.step_info:
            outlook = self._learners(self.engine.output.outlook)
            add_outlook(infos, outlook, infos["_valid"], copies=copies)
        return infos

    def results(self) -> tuple[Any, ...]:
        """Returns what the last step gave, as `DrivingVectorEnv.step` does."""
        rows, copies = self.engine.rows, self.settings.copy
        terminated = self._own(rows.terminated).astype(np.bool_)
        truncated = self._own(rows.truncated).astype(np.bool_)
        infos = self.infos()
        output = self.engine.output
        if self.settings.step_info and self.tells_steps:
            terms = self._learners(output.term), self._learners(output.weighted)
            add_step(infos, self._learners(output.event), terms, infos["_valid"], copies=copies)
        done = terminated | truncated
        if np.count_nonzero(done):  # a third of the time of any()
            finals = rows.final_age, rows.final_km, rows.final_count, rows.final_term
            add_finals(
                infos,
                done,
                tuple(self._own(one).T for one in finals),
                self._final_observations(done),
                copies=copies,
            )
        if self.settings.step_info and "final_info" in infos:
            last, target = self._learners(output.last_outlook), infos["final_info"]
            add_outlook(target, last, target["_length"], copies=copies)
        reward = self._own(rows.reward)
        reward = reward.copy() if copies else reward
        return self.observations(), reward, terminated, truncated, infos

    def _final_observations(self, done: NDArray[np.bool_]) -> Any:
        """Returns the last observations of rows that ended, None where they are still shown."""
        if self.settings.autoreset_mode != "SameStep":
            return None
        return self._by_name(lambda: self._final_numbers(done), lambda view: view.hand_out_finals())

    def _final_numbers(self, done: NDArray[np.bool_]) -> NDArray[Any]:
        """Returns the last rows of numbers of episodes that ended, [rows, features]."""
        finals: NDArray[Any] = self.engine.hand_out_finals()
        if self._stride == 1:
            return finals
        rows = self._own(finals)
        return np.where(done[:, None], rows, np.zeros_like(rows))

    def _learners(self, array: NDArray[Any]) -> NDArray[Any]:
        """Returns the learners' part of an array [worlds, agents, ...] as [rows, ...]."""
        learners = self.num_envs // self.engine.num_worlds
        return array[:, :learners].reshape(self.num_envs, *array.shape[2:])

    def _own(self, array: Any) -> Any:
        """Returns the learners' rows of an array that has one entry a row of the engine."""
        return array if self._stride == 1 else array[:: self._stride]
