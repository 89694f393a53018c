from __future__ import annotations

import numpy as np
import pytest
import torch

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.policies.deep_sets import SETS
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.training.network import Networks
from selfdrive_env.training.policy import choose

SIZES = Sizes((8, 8), 8, (16,))


def random_rows(layout: ObservationLayout, count: int, seed: int = 0) -> torch.Tensor:
    """Rows in which the last half of each set's slots is empty."""
    generator = torch.Generator().manual_seed(seed)
    length = layout.width
    rows = 2.0 * torch.rand((count, length), generator=generator) - 1.0
    for name in SETS:
        planes = layout.group(rows, name)
        planes[:, -1] = 1.0
        planes[:, :, planes.shape[2] // 2 :] = 0.0
    return rows


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_order_of_a_set_does_not_matter(layout: ObservationLayout) -> None:
    networks = Networks(layout, SIZES, 12)
    rows = random_rows(layout, 5)
    mixed = rows.clone()
    for name in SETS:
        layout.group(mixed, name)[:] = layout.group(rows, name).flip(2)
    torch.testing.assert_close(networks.log_probabilities(rows), networks.log_probabilities(mixed))
    torch.testing.assert_close(networks.values(rows), networks.values(mixed))


def test_empty_slots_have_no_influence() -> None:
    few = ObservationLayout(goals=1, lane_points=3, boundary_points=3, stop_lines=3, agents=3)
    many = ObservationLayout(goals=1, lane_points=9, boundary_points=9, stop_lines=9, agents=9)
    small = torch.zeros(1, few.width)
    large = torch.zeros(1, many.width)
    values = torch.linspace(-1.0, 1.0, small.shape[1])
    for name in OBSERVATION:
        here = few.group(small, name)
        here[:] = few.group(values[None], name)
        many.group(large, name)[:, :, : here.shape[2]] = here
    a, b = Networks(few, SIZES, 12), Networks(many, SIZES, 12)
    b.load_state_dict(a.state_dict())
    torch.testing.assert_close(a.values(small), b.values(large))


def test_a_layout_without_some_sets_works() -> None:
    layout = ObservationLayout(goals=0, lane_points=2, boundary_points=0, stop_lines=0, agents=0)
    rows = torch.zeros(3, layout.width)
    assert Networks(layout, SIZES, 5).log_probabilities(rows).shape == (3, 5)


def test_half_rows_are_read() -> None:
    networks = Networks(LAYOUTS["lean"], SIZES, 12)
    rows = random_rows(LAYOUTS["lean"], 4)
    torch.testing.assert_close(
        networks.values(rows.half()), networks.values(rows), atol=1e-2, rtol=0
    )


def test_actions_are_drawn_as_often_as_they_are_likely() -> None:
    wanted = torch.tensor([0.1, 0.0, 0.6, 0.3])
    draws = (torch.arange(1000) + 0.5) / 1000
    actions = choose(wanted.log().expand(1000, 4), draws)
    counts = np.bincount(actions.numpy(), minlength=4)
    assert np.abs(counts / 1000 - wanted.numpy()).max() < 2e-3


def test_a_draw_beyond_the_rounded_sum_takes_the_last_action() -> None:
    assert choose(torch.log(torch.tensor([[0.5, 0.4999]])), torch.tensor([0.99999])).item() == 1


@pytest.mark.parametrize("shared", [False, True])
def test_both_are_the_two_apart_and_in_one_pass_alike(shared: bool) -> None:
    sizes = Sizes((16, 32), 8, (16,), shared)
    networks = Networks(LAYOUTS["lean"], sizes, 12)
    rows = random_rows(LAYOUTS["lean"], 20)
    chances, values = networks.both(rows)
    torch.testing.assert_close(chances, networks.log_probabilities(rows))
    torch.testing.assert_close(values, networks.values(rows))
    (chances.square().sum() + values.square().sum()).backward()
    found = {name: p.grad.clone() for name, p in networks.named_parameters() if p.grad is not None}
    networks.zero_grad()
    for encoder in networks.encoders:
        encoder.in_one_pass = False
    chances, values = networks.both(rows)
    (chances.square().sum() + values.square().sum()).backward()
    for name, parameter in networks.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-3)


def test_another_unit_of_values_leaves_them_as_they_are() -> None:
    networks = Networks(LAYOUTS["lean"], SIZES, 12)
    rows = random_rows(LAYOUTS["lean"], 9)
    before = networks.values(rows)
    for mean, scale in ((3.0, 20.0), (-1.0, 0.5)):
        networks.set_value_scale(mean, scale)
        torch.testing.assert_close(networks.values(rows), before, rtol=1e-4, atol=1e-4)
    assert float(networks.value_scale) == 0.5


@pytest.mark.parametrize("shared", [False, True])
def test_wider_trunks_give_what_the_narrower_gave(shared: bool) -> None:
    layout = LAYOUTS["lean"]
    old = Networks(layout, Sizes((16, 32), 20, (24, 16), shared), 12, seed=1)
    new = Networks(layout, Sizes((16, 32), 20, (24, 40), shared), 12, seed=2)
    old.set_value_scale(3.0, 2.0)
    rows = random_rows(layout, 64)
    assert not torch.allclose(old.values(rows), new.values(rows), atol=0.1)
    new.take(old)
    for mine, theirs in zip(new.both(rows), old.both(rows), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)

    added = new.actor.head.weight[:, 16:]
    assert not added.any()
    new.log_probabilities(rows)[:, 3].sum().backward()
    assert new.actor.head.weight.grad[:, 16:].abs().max() > 0.0  # and are learnt from


def test_networks_take_the_bytes_of_others_like_them() -> None:
    old, new = (Networks(LAYOUTS["lean"], SIZES, 12, seed=seed) for seed in (1, 2))
    new.take(old)
    theirs = old.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in new.state_dict().items())
