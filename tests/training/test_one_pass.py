"""Actor and critic in one pass against the layers of torch and autograd."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.training.config import TrainConfig
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.gradients.layers import PIECE
from selfdrive_env.training.gradients.loss import Learnt, Weights, loss_of
from selfdrive_env.training.gradients.one_pass import Acts, OnePass
from selfdrive_env.training.network import Networks
from selfdrive_env.training.policy import choose
from selfdrive_env.training.ppo import Trainer
from tests.training.conftest import tiny_config
from tests.training.test_network import random_rows

CPU = torch.device("cpu")
ACTIONS = 12
WEIGHTS = Weights(clip=0.2, entropy=0.01, value=0.5)
SMALL = ObservationLayout(goals=1, lane_points=5, boundary_points=0, stop_lines=1, agents=6)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def networks_of(
    layout: ObservationLayout, trunk: tuple[int, ...] = (24, 16), shared: bool = True
) -> Networks:
    """Networks with biases, whose actions are not all alike."""
    networks = Networks(layout, Sizes((16, 32), 20, trunk, shared), ACTIONS, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        networks.actor.head.weight.mul_(100.0)
        for parameter in networks.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    networks.set_value_scale(0.3, 2.0)
    return networks


def transitions(layout: ObservationLayout, count: int, dtype: Any = torch.float32) -> Learnt:
    """Some on either side of the clip, with advantages of either sign."""
    generator = torch.Generator().manual_seed(3)
    actions = torch.randint(0, ACTIONS, (count,), generator=generator)
    figures = torch.randn(3, count, generator=generator)
    figures[0] = 0.5 * figures[0] - 2.5
    return Learnt(random_rows(layout, count).to(dtype), actions, figures)


def by_autograd(networks: Networks, learnt: Learnt, index: Tensor) -> tuple[Tensor, list[Tensor]]:
    networks.zero_grad()
    loss, terms = loss_of(networks.both, networks, learnt, index, WEIGHTS)
    (loss / 7.0).backward()
    grads = [one.grad for one in networks.parameters()]
    return terms, [one.clone() for one in grads if one is not None]


def assert_alike(found: Tensor, wanted: Tensor) -> None:
    scale = max(float(wanted.abs().max()), 1e-3)
    torch.testing.assert_close(found, wanted.to(found.dtype), rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("count", (1, PIECE, 2 * PIECE + 37))
@pytest.mark.parametrize("trunk", ((16,), (24, 16), (16, 24, 16)))
def test_terms_and_gradients_are_those_of_autograd(count: int, trunk: tuple[int, ...]) -> None:
    networks, learnt = networks_of(SMALL, trunk), transitions(SMALL, count + 50)
    index = torch.randperm(count + 50, generator=torch.Generator().manual_seed(4))[:count]
    wanted, gradients = by_autograd(networks, learnt, index)
    one_pass = OnePass(networks)
    for _ in range(2):  # nothing is left of the call before
        assert_alike(one_pass.learn(learnt, index, WEIGHTS, 7), wanted)
        for parameter, gradient in zip(networks.parameters(), gradients, strict=True):
            assert parameter.grad is not None
            assert_alike(parameter.grad, gradient)
    one_pass.close()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_of_the_environment(layout: ObservationLayout) -> None:
    networks, learnt = networks_of(layout), transitions(layout, 40, torch.float16)
    single = learnt._replace(observations=learnt.observations.float())
    wanted, gradients = by_autograd(networks, single, torch.arange(40))
    one_pass = OnePass(networks)
    assert_alike(one_pass.learn(learnt, torch.arange(40), WEIGHTS, 7), wanted)
    for parameter, gradient in zip(networks.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert_alike(parameter.grad, gradient)
    one_pass.close()


def test_an_empty_part_of_a_minibatch_has_no_gradient() -> None:
    networks, learnt = networks_of(SMALL), transitions(SMALL, 3)
    one_pass = OnePass(networks)
    one_pass.learn(learnt, torch.arange(3), WEIGHTS, 7)
    assert not one_pass.learn(learnt, torch.arange(0), WEIGHTS, 7).any()
    assert not any(bool(one.grad.any()) for one in networks.parameters() if one.grad is not None)
    one_pass.close()


def acts_of(one_pass: OnePass, rows: Tensor, draws: Tensor) -> Acts:
    count = len(rows)
    acts = Acts(torch.zeros(count, dtype=torch.int64), torch.zeros(count), torch.zeros(count))
    one_pass.act(rows, draws, acts)
    return acts


def test_it_acts_as_the_networks_do() -> None:
    networks, count = networks_of(SMALL), PIECE + 100
    rows = random_rows(SMALL, count)
    draws = torch.rand(count, generator=torch.Generator().manual_seed(5))
    one_pass = OnePass(networks)
    acts = acts_of(one_pass, rows, draws)
    with torch.no_grad():
        log_probabilities, values = networks.both(rows)
    wanted = choose(log_probabilities, draws)
    assert float((acts.actions == wanted).double().mean()) > 0.999  # a draw may lie on an edge
    taken = log_probabilities.gather(1, acts.actions[:, None])[:, 0]
    assert_alike(acts.log_probabilities, taken)
    assert_alike(acts.values, values)
    assert len(wanted.unique()) == ACTIONS
    one_pass.close()


def test_a_draw_of_nearly_one_takes_the_last_action() -> None:
    one_pass = OnePass(networks_of(SMALL))
    rows = random_rows(SMALL, 8)
    nearly = torch.full((8,), float(np.nextafter(np.float32(1.0), np.float32(0.0))))
    assert acts_of(one_pass, rows, nearly).actions.tolist() == [ACTIONS - 1] * 8
    assert acts_of(one_pass, rows, torch.zeros(8)).actions.tolist() == [0] * 8
    one_pass.close()


def test_new_weights_are_taken_over() -> None:
    networks, rows = networks_of(SMALL), random_rows(SMALL, 8)
    one_pass = OnePass(networks)
    draws = torch.full((8,), 0.5)
    before = acts_of(one_pass, rows, draws).values
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(1.1)
    one_pass.load()
    after = acts_of(one_pass, rows, draws).values
    assert_alike(after, networks.values(rows).detach())
    assert not torch.allclose(before, after)
    one_pass.close()


@pytest.mark.parametrize("count", (1, 2, 700))
def test_threads_change_nothing_but_roundings(count: int) -> None:
    networks, learnt = networks_of(SMALL), transitions(SMALL, count)
    draws = torch.rand(count, generator=torch.Generator().manual_seed(6))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        one_pass = OnePass(networks)
        assert torch.get_num_threads() == 1
        acts = acts_of(one_pass, learnt.observations, draws)
        terms = one_pass.learn(learnt, torch.arange(count), WEIGHTS, 7)
        grads = [one.grad for one in networks.parameters()]
        found.append([*acts, terms, *(one.clone() for one in grads if one is not None)])
        one_pass.close()
        assert torch.get_num_threads() == threads
    for first, second in pairwise(found):
        for a, b in zip(first, second, strict=True):
            assert_alike(b, a)


def test_which_networks_it_takes() -> None:
    assert OnePass.fits(networks_of(SMALL), CPU)
    assert not OnePass.fits(networks_of(SMALL), torch.device("cuda"))
    assert not OnePass.fits(networks_of(SMALL, shared=False), CPU)
    odd = Networks(SMALL, Sizes((8, 16), 20, (16,), True), ACTIONS)
    assert not OnePass.fits(odd, CPU)
    deep = Networks(SMALL, Sizes((16, 16, 16), 20, (16,), True), ACTIONS)
    assert not OnePass.fits(deep, CPU)


def updated(config: TrainConfig) -> tuple[list[Tensor], dict[str, float]]:
    trainer = Trainer(config, Ranks("cpu"))
    trainer.start(resume=False)
    for _ in range(2):
        figures = trainer.update()
    trainer.close()
    return [one.detach().clone() for one in trainer.parameters], figures


def test_a_run_learns_what_it_learns_layer_by_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> TrainConfig:
        return tiny_config(tmp_path / name, set_widths=(16, 16), shared_sets=True,
                           normalize_values=True, filter=0.05)  # fmt: skip

    found, figures = updated(config("one_pass"))
    assert all(torch.equal(*pair) for pair in zip(found, updated(config("again"))[0], strict=True))
    monkeypatch.setattr(OnePass, "fits", staticmethod(lambda *_: False))
    wanted, plain = updated(config("layers"))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert figures["kept"] == plain["kept"] < 1.0
    for name in ("policy_loss", "value_loss", "entropy", "grad_norm"):
        assert figures[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-5)
