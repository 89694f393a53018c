"""Environments on a CUDA device: the CPU's bits over long rollouts, graphs, streams, hand-over.

Arithmetic is the same on both, so differences allowed are none: `ALLOWED_FLAGS` and `TOLERANCE` are
zero. `test_a_small_run_for_the_sanitizer` is what `docs/gpu.md` lets `compute-sanitizer` run.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs import make_drive, make_self_play

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu

ALLOWED_FLAGS = 0
"""Events, terminations and truncations that may differ in a rollout."""

TOLERANCE = 0.0
"""Largest difference of an observation, a reward or a position [m]."""

WORLDS, AGENTS, STEPS = 8, 32, 300
ROWS = WORLDS * AGENTS
BASE: dict[str, Any] = {
    "map": "riverside", "agents_per_world": AGENTS, "layout": "lean", "horizon": 40.0,
    "num_threads": 1,
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "SameStep": {"autoreset_mode": "SameStep"},
    "NextStep": {"autoreset_mode": "NextStep"},
    "Disabled": {"autoreset_mode": "Disabled"},
    "full layout": {"layout": "full"},
    "half precision": {"obs_dtype": "float16"},
    "continuous, noise, dropout": {
        "action_type": "continuous", "observation_noise": 0.5, "lane_dropout": 0.3,
        "boundary_dropout": 0.3, "blind_share": 0.5, "braking_share": 0.5,
    },
    "varying worlds, two maps": {
        "agents_per_world": (20, AGENTS), "on_collision": "stop", "on_goal": "new_route",
        "map": ["riverside", "hillcrest"], "map_variants": 2,
    },
    "scripted": {"driver": "idm", "bodies": "typed"},
    "camera": {
        "observation": {"kind": "camera", "size": [18, 32], "fog": [0.0, 0.02], "noise": 4.0},
        "map": ["riverside", "hillcrest"], "bodies": "typed",
    },
}  # fmt: skip


def on_cpu(**settings: Any) -> Any:
    return make_self_play(ROWS, **BASE | settings)


def on_device(rows: int = ROWS, **settings: Any) -> Any:
    return make_self_play(rows, **BASE | {"device": "cuda"} | settings)


def host(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
        value = value.float()
    return np.array(value.cpu().numpy() if isinstance(value, torch.Tensor) else value)


def draw(env: Any, steps: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if env.settings.action_type == "continuous":
        return random.uniform(-1, 1, (steps, env.num_envs, 2)).astype(np.float32)
    return random.integers(0, len(env.engine.draws.jerk), (steps, env.num_envs))


def to_device(actions: np.ndarray) -> Any:
    return torch.from_numpy(actions).to("cuda")


def results(step: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """What a step gives, as arrays of rows by name; zero where it says nothing of a row."""
    observation, reward, terminated, truncated, infos = step
    done = host(terminated) | host(truncated)
    out = {"observation": host(observation), "reward": host(reward)}
    out |= {"terminated": host(terminated), "truncated": host(truncated)}
    out |= {name: host(infos[name]) for name in ("valid", "learn")}
    if not done.any():
        return out
    finals = infos.get("final_info", infos)
    for name, values in finals.items():
        if f"_{name}" in finals and name not in ("valid", "learn", "final_obs", "final_info"):
            out[f"final {name}"] = np.where(done, host(values), 0).astype(np.float32)
    if "final_obs" in infos:
        out["final observation"] = host(infos["final_obs"])[done]
    return out


def reset_ended(cpu: Any, device: Any, step: dict[str, np.ndarray]) -> None:
    ended = step["terminated"] | step["truncated"]
    if not ended.any():
        return
    wanted = cpu.reset(options={"reset_mask": ended})[0]
    found = device.reset(options={"reset_mask": to_device(ended)})[0]
    np.testing.assert_array_equal(host(found), host(wanted))


@pytest.mark.parametrize("case", CASES)
def test_300_steps_are_those_of_the_cpu(case: str) -> None:
    settings = CASES[case]
    cpu, device = on_cpu(**settings), on_device(**settings)
    np.testing.assert_array_equal(host(device.reset(seed=5)[0]), cpu.reset(seed=5)[0])
    flags, ended, largest = 0, 0, 0.0
    for actions in draw(cpu, STEPS):
        wanted, found = results(cpu.step(actions)), results(device.step(to_device(actions)))
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            assert found[name].shape == values.shape
            if values.dtype == np.bool_:
                flags += np.count_nonzero(found[name] != values)
            else:
                away = np.abs(found[name].astype(np.float32) - values.astype(np.float32))
                largest = max(largest, float(away.max(initial=0.0)))
        flags += np.count_nonzero(device.engine.output.event != cpu.engine.output.event)
        for axis in ("x", "y"):
            away = getattr(device.engine.agents, axis) - getattr(cpu.engine.agents, axis)
            largest = max(largest, float(np.abs(away).max()))
        ended += np.count_nonzero(wanted["terminated"] | wanted["truncated"])
        if case == "Disabled":
            reset_ended(cpu, device, wanted)
    device.check()
    assert flags <= ALLOWED_FLAGS
    assert largest <= TOLERANCE
    assert ended > ROWS // 4


def test_egos_among_scripted_traffic_are_those_of_the_cpu() -> None:
    settings = BASE | {"horizon": 60.0}
    cpu, device = make_drive(WORLDS, **settings), make_drive(WORLDS, device="cuda", **settings)
    cpu.reset(seed=5)
    device.reset(seed=5)
    for actions in draw(cpu, STEPS):
        wanted, found = results(cpu.step(actions)), results(device.step(to_device(actions)))
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    np.testing.assert_array_equal(device.engine.agents.x, cpu.engine.agents.x)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_captured_graph_gives_what_plain_steps_give(mode: str, copy: bool) -> None:
    plain, graphed = (on_device(copy=copy, autoreset_mode=mode) for _ in range(2))
    actions = to_device(draw(plain, 100))
    for env in (plain, graphed):
        env.reset(seed=3)
        env.step(actions[0])
    captured = graphed.capture()
    for one in actions:
        wanted, found = results(plain.step(one)), results(captured.step(one))
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    for name, values in plain.get_state().items():
        np.testing.assert_array_equal(graphed.get_state()[name], values, err_msg=name)


def test_a_graph_goes_on_from_resets_and_other_states() -> None:
    plain, graphed = on_device(), on_device()
    actions = to_device(draw(plain, 20))
    for env in (plain, graphed):
        env.reset(seed=3)
        env.step(actions[0])
    captured = graphed.capture()
    for env in (plain, graphed):
        env.reset(seed=4)
    assert torch.equal(plain.step(actions[1])[0], captured.step(actions[1])[0])
    graphed.set_state(plain.get_state())
    captured.actions.copy_(actions[2])
    assert torch.equal(plain.step(actions[2])[0], captured.step()[0])


def test_a_graph_needs_a_step_before_it() -> None:
    env = on_device()
    env.reset(seed=3)
    with pytest.raises(RuntimeError, match=r"capture\(\) needs .* a step before it"):
        env.capture()


@pytest.mark.slow
@pytest.mark.parametrize("copy", [False, True])
def test_10_000_steps_take_no_more_memory(copy: bool) -> None:
    env = on_device(copy=copy)
    actions = to_device(draw(env, 16))
    env.reset(seed=3)
    step = env.step(actions[0])
    for one in actions:
        step = env.step(one)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for turn in range(10_000):
        step = env.step(actions[turn % 16])
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before
    assert torch.isfinite(step[0]).all()
    env.check()


def test_environments_give_their_memory_back() -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        env = on_device()
        actions = to_device(draw(env, 1))[0]
        env.reset(seed=3)
        env.step(actions)
        captured = env.capture()
        captured.step(actions)
        env.close()
        del env, captured, actions
        gc.collect()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize(
    ("settings", "bad", "message"),
    [
        ({}, 12, "actions must be from 0 to 11: row 4"),
        ({}, -1, "actions must be from 0 to 11: row 4"),
        ({"action_type": "continuous"}, np.nan, "actions must be finite and from -1 to 1: row 4"),
        ({"action_type": "continuous"}, 1.5, "actions must be finite and from -1 to 1: row 4"),
    ],
)
@pytest.mark.parametrize("graph", [False, True])
def test_bad_actions_raise_at_the_next_check(
    settings: dict[str, Any], bad: float, message: str, graph: bool
) -> None:
    env = on_device(**settings)
    env.reset(seed=3)
    good = to_device(draw(env, 1))[0]
    env.step(good)
    step = env.capture().step if graph else env.step
    step(good)
    env.check()
    wrong = good.clone()
    wrong[4] = bad
    step(wrong)
    step(good)
    with pytest.raises(ValueError, match=message):
        env.check()
    env.check()
    assert torch.isfinite(env.engine.observations).all()


def test_actions_on_the_host_are_refused() -> None:
    env = on_device()
    env.reset(seed=3)
    with pytest.raises(ValueError, match=r"actions must be on cuda:0, got a tensor on cpu"):
        env.step(torch.zeros(ROWS, dtype=torch.int64))


def test_actions_may_come_by_the_cuda_array_interface() -> None:
    class Foreign:
        def __init__(self, tensor: Any) -> None:
            self.kept = tensor
            self.__cuda_array_interface__ = tensor.__cuda_array_interface__

    plain, other = on_device(), on_device()
    actions = to_device(draw(plain, 1))[0]
    for env in (plain, other):
        env.reset(seed=3)
    assert torch.equal(plain.step(actions)[0], other.step(Foreign(actions))[0])


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_state_goes_on_on_the_other_side(mode: str, kind: str) -> None:
    settings = {"autoreset_mode": mode, "obs_dtype": kind}
    cpu, device = on_cpu(**settings), on_device(**settings)
    actions = draw(cpu, 40)
    cpu.reset(seed=3)
    device.reset(seed=9)
    for one in actions[:20]:
        cpu.step(one)
    state = cpu.get_state()
    np.testing.assert_array_equal(host(device.set_state(state)), state_rows(state, kind))
    again = device.get_state()
    for name, values in state.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    for one in actions[20:]:
        wanted, found = results(cpu.step(one)), results(device.step(to_device(one)))
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    cpu.set_state(device.get_state())
    one = actions[0]
    np.testing.assert_array_equal(host(device.step(to_device(one))[0]), cpu.step(one)[0])


def state_rows(state: dict[str, np.ndarray], kind: str) -> np.ndarray:
    return state["rows.observation"] if kind == "float32" else state["rows.half"].view(np.float16)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_arrays_come_from_a_device_as_from_the_cpu(kind: str, copy: bool) -> None:
    settings = {"obs_dtype": kind, "copy": copy}
    cpu, device = on_cpu(**settings), on_device(output="numpy", **settings)
    wanted, found = cpu.reset(seed=3), device.reset(seed=3)
    np.testing.assert_array_equal(found[0], wanted[0])
    for one in draw(cpu, 50):
        step = device.step(one)
        assert all(isinstance(value, np.ndarray) for value in step[:4])
        assert step[0].dtype == np.dtype(kind)
        wanted_rows, found_rows = results(cpu.step(one)), results(step)
        assert found_rows.keys() == wanted_rows.keys()
        for name, values in wanted_rows.items():
            np.testing.assert_array_equal(found_rows[name], values, err_msg=name)


def test_two_environments_on_one_device_do_not_feel_each_other() -> None:
    alone, one, two = on_device(), on_device(), on_device(layout="full", obs_dtype="float16")
    actions = to_device(draw(alone, 30))
    for seed, env in ((3, alone), (3, one), (4, two)):
        env.reset(seed=seed)
    for action in actions:
        wanted = alone.step(action)[0].clone()
        two.step(action.flip(0))
        found = one.step(action)[0]
        two.step(action)
        assert torch.equal(found, wanted)


def test_steps_follow_the_current_stream() -> None:
    plain, other = on_device(), on_device()
    actions = to_device(draw(plain, 30))
    plain.reset(seed=3)
    wanted = [plain.step(one)[0].clone() for one in actions]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # whoever works on another stream does not wait for this
        other.reset(seed=3)
        found = []
        for one in actions:
            late = torch.zeros_like(one)
            torch.cuda._sleep(2_000_000)
            late.copy_(one)
            found.append(other.step(late)[0].clone())
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_graph_follows_the_current_stream() -> None:
    plain, other = on_device(), on_device()
    actions = to_device(draw(plain, 30))
    stream = torch.cuda.Stream()
    for env in (plain, other):
        env.reset(seed=3)
        env.step(actions[0])
    captured = other.capture()
    wanted = [plain.step(one)[0].clone() for one in actions]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = [captured.step(one)[0].clone() for one in actions]
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


@pytest.mark.parametrize("layout", ["full", "lean"])
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_rows_of_every_type_are_the_rounded_ones(kind: str, layout: str) -> None:
    wide, narrow = on_device(layout=layout), on_device(layout=layout, obs_dtype=kind)
    element = getattr(torch, kind)
    actions = to_device(draw(wide, 30))
    pairs = [(wide.reset(seed=3)[0], narrow.reset(seed=3)[0])]
    for one in actions:
        wanted, found = wide.step(one), narrow.step(one)
        ended = wanted[4]["_final_obs"]
        pairs = [(wanted[0], found[0])]
        pairs += [(wanted[4]["final_obs"][ended], found[4]["final_obs"][ended])]
        for row, rounded in pairs:
            assert rounded.dtype == element
            assert torch.equal(rounded, row.to(element))


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.int32, torch.uint8])
def test_actions_of_every_integer_type_are_taken(kind: Any) -> None:
    plain, other = on_device(), on_device()
    actions = to_device(draw(plain, 1))[0]
    plain.reset(seed=3)
    other.reset(seed=3)
    assert torch.equal(plain.step(actions)[0], other.step(actions.to(kind))[0])


def test_tensors_are_live_or_copies() -> None:
    live, copies = on_device(copy=False), on_device(copy=True)
    actions = to_device(draw(live, 1))[0]
    for env, same in ((live, True), (copies, False)):
        first = env.reset(seed=3)[0]
        kept = first.clone()
        second = env.step(actions)[0]
        assert (second.data_ptr() == first.data_ptr()) is same
        assert torch.equal(first, second if same else kept)


@pytest.mark.parametrize("agents", [1, 5, 33, 100, 300])
def test_worlds_of_any_size_are_those_of_the_cpu(agents: int) -> None:
    settings = BASE | {"agents_per_world": agents}
    cpu = make_self_play(2 * agents, **settings)
    device = make_self_play(2 * agents, device="cuda", **settings)
    np.testing.assert_array_equal(host(device.reset(seed=5)[0]), cpu.reset(seed=5)[0])
    for actions in draw(cpu, 20):
        wanted, found = results(cpu.step(actions)), results(device.step(to_device(actions)))
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_batch_that_does_not_fit_is_refused() -> None:
    _, total = torch.cuda.mem_get_info()
    rows = AGENTS * (total // (4_000 * AGENTS))
    with pytest.raises(MemoryError, match=r"are free on cuda:0: take fewer worlds"):
        on_device(rows, layout="full")


def test_worlds_live_on_a_second_device() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    first, second = on_device(), on_device(device="cuda:1")
    actions = to_device(draw(first, 20))
    for env, where in ((first, "cuda:0"), (second, "cuda:1")):
        env.reset(seed=3)
        env.step(actions[0].to(where))
    captured = first.capture(), second.capture()
    for one in actions:
        wanted, found = captured[0].step(one), captured[1].step(one.to("cuda:1"))
        assert found[0].device == torch.device("cuda:1")
        assert torch.equal(wanted[0], found[0].to("cuda:0"))


def test_a_small_run_for_the_sanitizer() -> None:
    for kind in ("float32", "float16"):
        settings = BASE | {"agents_per_world": 5, "horizon": 2.4, "obs_dtype": kind}
        env = make_self_play(10, device="cuda", **settings)
        env.reset(seed=5)
        for actions in draw(env, 12):
            env.step(to_device(actions))
        mask = torch.zeros(10, dtype=torch.bool, device="cuda")
        mask[2] = True
        env.reset(options={"reset_mask": mask})
        env.check()
        torch.cuda.synchronize()
