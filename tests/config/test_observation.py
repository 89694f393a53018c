from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import (
    OBSERVATION,
    ROUTE_DISTANCES,
    Kind,
    decode,
    encode,
    slices,
    slots,
)
from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.envs import make_self_play
from selfdrive_env.state.world import BICYCLE, MOTORCYCLE, PEDESTRIAN

SETTINGS = {"map": "riverside", "agents_per_world": 16, "num_threads": 1}


@pytest.mark.parametrize(
    "layout", [*LAYOUTS.values(), ObservationLayout(goals=0, agents=3, stop_lines=7)]
)
def test_the_table_adds_up_to_the_row(layout):
    found = layout.slices
    assert list(found) == list(OBSERVATION)
    assert found["ego"].start == 0
    assert list(found.values())[-1].stop == layout.width
    for before, after in zip(list(found.values())[:-1], list(found.values())[1:], strict=True):
        assert before.stop == after.start


@pytest.mark.parametrize("name", LAYOUTS)
def test_valid_columns_say_which_slots_are_in_use(name):
    env = make_self_play(32, layout=name, **SETTINGS)
    rows, _ = env.reset(seed=3)
    for _ in range(5):
        rows = env.step(env.action_space.sample())[0]
    for group, columns in OBSERVATION.items():
        if columns[-1].name != "valid":
            continue
        part = np.moveaxis(env.layout.group(rows, group), 1, 2)
        assert part.shape == (len(rows), slots(env.layout.counts)[group], len(columns))
        valid = part[..., -1]
        assert set(np.unique(valid)) <= {0.0, 1.0}
        assert (np.diff(valid, axis=1) <= 0.0).all()
        assert not part[valid == 0.0].any()
        headings = [n for n, column in enumerate(columns) if column.name in ("cos", "sin")]
        if headings:
            norm = (part[valid == 1.0][:, headings] ** 2).sum(-1)
            np.testing.assert_allclose(norm, 1.0, atol=1e-5)
    env.close()


def test_ego_columns_follow_the_state():
    env = make_self_play(16, layout="lean", **SETTINGS)
    rows, _ = env.reset(seed=4)
    ego = rows[:, slices(env.layout.counts)["ego"]]
    names = [column.name for column in OBSERVATION["ego"]]
    speed, length = env.engine.agents.speed[0], env.engine.bodies.length[0]
    wanted = 1.5 * speed / (6.0 + speed) - 0.5
    np.testing.assert_allclose(ego[:, names.index("speed")], wanted, atol=1e-6)
    np.testing.assert_allclose(ego[:, names.index("length")], (length - 6.0) / 6.0, atol=1e-6)
    env.close()


def test_a_decoded_row_has_the_quantities_of_the_state():
    env = make_self_play(16, layout="lean", bodies="typed", **SETTINGS)
    rows, _ = env.reset(seed=4)
    for _ in range(8):
        rows = env.step(env.action_space.sample())[0]
    agents, bodies = env.engine.agents, env.engine.bodies
    for row in range(16):
        found = decode(rows[row], env.layout.counts)
        assert {name: table.shape for name, table in found.items()} == {
            name: (count, len(OBSERVATION[name]))
            for name, count in slots(env.layout.counts).items()
        }
        names = [column.name for column in OBSERVATION["ego"]]
        ego = dict(zip(names, found["ego"][0].tolist(), strict=True))
        assert ego["speed"] == pytest.approx(agents.speed[0, row], abs=1e-3)
        assert ego["lateral_offset"] == pytest.approx(agents.d[0, row], abs=1e-3)
        assert ego["steering"] == pytest.approx(agents.steering[0, row], abs=1e-3)
        assert ego["length"] == pytest.approx(bodies.length[0, row], abs=1e-3)
        assert ego["jerk_scale"] == pytest.approx(bodies.jerk_scale[0, row], abs=1e-3)

        cos, sin = agents.cos[0, row], agents.sin[0, row]
        half = 0.5 * bodies.wheelbase[0, row]
        goal = agents.goal[0, row]
        x = bodies.goal_x[0, row, goal] - agents.x[0, row] - half * cos
        y = bodies.goal_y[0, row, goal] - agents.y[0, row] - half * sin
        ahead, left, valid = found["goals"][0]
        assert valid == 1.0
        far = max(float(np.hypot(x, y)), 20.0)  # the squashed value loses digits far away
        assert ahead == pytest.approx(x * cos + y * sin, abs=1e-4 * far**2)
        assert left == pytest.approx(y * cos - x * sin, abs=1e-4 * far**2)
        assert ego["goal_distance"] == pytest.approx(agents.goal_distance[0, row], rel=1e-3)
        assert ego["step_length"] == pytest.approx(env.engine.params.dt, abs=1e-6)


def test_slots_that_are_not_in_use_stay_zero():
    env = make_self_play(1, layout="full", **{**SETTINGS, "agents_per_world": 1})
    row = env.reset(seed=4)[0][0]
    assert not decode(row, env.layout.counts)["agents"].any()


def test_a_row_of_another_layout_is_refused():
    width = LAYOUTS["lean"].width
    with pytest.raises(ValueError, match=f"row must be one of {width} columns, or many, got shape"):
        decode(np.zeros(width + 1), LAYOUTS["lean"].counts)


@pytest.mark.parametrize(("width", "name"), [(437, "lean"), (1233, "full")])
def test_a_row_of_version_1_is_refused_by_name(width, name):
    wanted = f"{width} columns had the layout '{name}' in observation version 1; record or train"
    with pytest.raises(ValueError, match=wanted):
        decode(np.zeros(width), LAYOUTS[name].counts)
    with pytest.raises(ValueError, match=wanted):
        LAYOUTS[name].group(np.zeros((3, width)), "agents")


def test_a_group_is_a_view_in_planes():
    layout = LAYOUTS["lean"]
    rows = np.arange(3 * layout.width, dtype=np.float32).reshape(3, -1)
    lanes = layout.group(rows, "lane_points")
    assert lanes.shape == (3, 6, layout.lane_points) and np.shares_memory(lanes, rows)
    assert (np.diff(lanes, axis=2) == 1.0).all()
    with pytest.raises(ValueError, match="a row has no group 'lanes'; its groups are ego, goals"):
        layout.group(rows, "lanes")


counts = st.builds(
    ObservationLayout,
    goals=st.integers(0, 4),
    lane_points=st.integers(0, 20),
    boundary_points=st.integers(0, 20),
    stop_lines=st.integers(0, 6),
    agents=st.integers(0, 20),
)


@settings(max_examples=50, deadline=None)
@given(layout=counts, seed=st.integers(0, 2**32), rows=st.integers(1, 4))
def test_encode_and_decode_undo_one_another(layout, seed, rows):
    random = np.random.default_rng(seed)
    row = np.zeros((rows, layout.width), np.float32)
    for name, columns in OBSERVATION.items():
        part = layout.group(row, name)
        part[:] = random.uniform(-0.95, 0.95, part.shape)
        if columns[-1].name == "valid":
            part[:, -1] = random.integers(0, 2, part[:, -1].shape)
            part[:] = np.where(part[:, -1:] > 0.0, part, 0.0)
    tables = decode(row, layout.counts)
    assert {name: table.shape for name, table in tables.items()} == {
        name: (rows, count, len(OBSERVATION[name])) for name, count in slots(layout.counts).items()
    }
    back = encode(tables, layout.counts)
    np.testing.assert_allclose(back, row, atol=2e-6)
    again = decode(back, layout.counts)
    for name, table in tables.items():
        np.testing.assert_allclose(again[name], table, rtol=1e-3, atol=1e-4)
    assert encode({n: t[0] for n, t in tables.items()}, layout.counts).shape == (layout.width,)


def test_tables_that_are_no_row_are_refused():
    layout = LAYOUTS["lean"]
    tables = decode(np.zeros(layout.width), layout.counts)
    with pytest.raises(ValueError, match="tables lack the group 'route'; groups are ego"):
        encode({n: t for n, t in tables.items() if n != "route"}, layout.counts)
    with pytest.raises(ValueError, match=r"tables\['agents'\] must end in \(8, 16\), got shape"):
        encode(tables | {"agents": np.zeros((7, 16))}, layout.counts)


PLACES = [
    (group, column)
    for group, columns in OBSERVATION.items()
    for column in columns
    if column.name in ("x", "y")
]


@pytest.mark.parametrize(("group", "column"), PLACES, ids=[f"{g}.{c.name}" for g, c in PLACES])
@pytest.mark.parametrize(("distance", "error"), [(5.0, 0.02), (20.0, 0.1), (100.0, 1.0)])
def test_places_are_exact_in_half_precision(group, column, distance, error):
    places = np.linspace(-distance, distance, 4001)
    scaled = column.scale.scaled(places).astype(np.float16)
    found = column.scale.restored(scaled.astype(np.float32))
    assert np.abs(found - places).max() <= error
    assert column.scale.kind is Kind.SQUASHED


def test_the_route_is_shown_at_eight_distances():
    assert ROUTE_DISTANCES == (2.5, 5.0, 7.5, 12.5, 17.5, 25.0, 35.0, 50.0)
    steps = np.array(ROUTE_DISTANCES) / ROUTE_DISTANCES[0]
    assert (steps == steps.astype(int)).all()  # the walk has points at equal steps


def test_many_rows_decode_as_each_does():
    env = make_self_play(16, layout="lean", **SETTINGS)
    rows, _ = env.reset(seed=4)
    found = decode(rows.reshape(2, 8, -1), env.layout.counts)
    for place, row in enumerate(rows):
        for name, table in decode(row, env.layout.counts).items():
            np.testing.assert_array_equal(found[name].reshape(16, *table.shape)[place], table)
    env.close()


def test_kernels_know_which_body_types_are_no_cars():
    assert [list(BODY_TYPES)[number] for number in (MOTORCYCLE, BICYCLE, PEDESTRIAN)] == [
        "motorcycle",
        "bicycle",
        "pedestrian",
    ]
