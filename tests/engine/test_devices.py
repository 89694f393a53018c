"""Choosing a device: each thing that is missing is named with what mends it. Tensors on the CPU."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.engine import devices
from selfdrive_env.envs import DrivingVectorEnv, make_drive, make_self_play

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(SIMULATED, reason="the simulator has a device")

NO_DEVICE = r"built without CUDA|no CUDA device"
SMALL = {"map": "riverside", "agents_per_world": 4, "num_threads": 1}


@pytest.fixture
def machine(monkeypatch):
    """A machine on which everything is there; tests take something away."""
    versions = {"numba-cuda": "0.30.4", "nvidia-nvvm": "13.4.92"}

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 13010, raising=False)
    monkeypatch.setattr(devices, "installed_version", versions.get)
    monkeypatch.setattr(devices, "_told", set())
    return versions


def test_devices_are_chosen_by_number(machine):
    assert [devices.choose_device(name) for name in ("cpu", "cuda", "cuda:1", "auto")] == [
        *("cpu", "cuda:0", "cuda:1", "cuda:0")
    ]
    with pytest.raises(ValueError, match="device must be cuda:0 to cuda:1, got 'cuda:2'"):
        devices.choose_device("cuda:2")


def no_cuda_in_torch(monkeypatch, machine):
    monkeypatch.setattr(torch.version, "cuda", None)


def no_device(monkeypatch, machine):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def no_compiler(monkeypatch, machine):
    del machine["numba-cuda"]


def old_driver(monkeypatch, machine):
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 12040)


def no_torch(monkeypatch, machine):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)


MISSING = [
    (no_torch, ImportError, r"pip install 'selfdrive_env\[cuda13\]'"),
    (no_cuda_in_torch, RuntimeError, "built without CUDA: install a build with it"),
    (no_device, RuntimeError, "torch finds no CUDA device: check that `nvidia-smi`"),
    (no_compiler, ImportError, r"needs numba-cuda: pip install 'selfdrive_env\[cuda13\]'"),
    (
        old_driver,
        RuntimeError,
        r"driver is for CUDA 12\.4 and .* CUDA 13\.4\.92: update the driver",
    ),
]


@pytest.mark.parametrize(("take_away", "error", "message"), MISSING)
def test_what_is_missing_is_named(take_away, error, message, machine, monkeypatch, capsys):
    take_away(monkeypatch, machine)
    with pytest.raises(error, match=message):
        devices.choose_device("cuda")
    assert devices.choose_device("auto") == "cpu"
    assert devices.choose_device("auto") == "cpu"
    told = capsys.readouterr().err
    assert told.count("device='auto' takes the CPU") == 1


def test_a_toolkit_from_elsewhere_is_not_compared(machine):
    del machine["nvidia-nvvm"]
    assert devices.choose_device("cuda") == "cuda:0"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", None, 0])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(
        ValueError, match="device must be 'cpu', 'cuda', 'cuda:1' and so on, or 'auto'"
    ):
        make_self_play(4, device=device, **SMALL)


def test_an_unknown_output_is_refused():
    with pytest.raises(ValueError, match="output must be one of numpy, torch, got 'jax'"):
        make_self_play(4, output="jax", **SMALL)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
@pytest.mark.parametrize("settings", [{}, {"output": "numpy"}])
def test_without_a_device_the_environment_says_why(settings):
    with pytest.raises(RuntimeError, match=NO_DEVICE):
        make_self_play(4, device="cuda", **SMALL, **settings)
    with pytest.raises(RuntimeError, match=NO_DEVICE):
        make_drive(1, device="cuda:0", **SMALL, **settings)


def test_only_vector_environments_take_a_device():
    for settings in ({"device": "cuda"}, {"output": "torch"}):
        with pytest.raises(ValueError, match="device and output are settings of make_vec"):
            DrivingVectorEnv(4, **SMALL, **settings)
        with pytest.raises(ValueError, match="device and output are settings of make_vec"):
            gymnasium.make("selfdrive_env/Drive-v0", **SMALL, **settings)


def test_bfloat16_needs_a_device():
    for settings in ({}, {"device": "cuda", "output": "numpy"}):
        with pytest.raises(ValueError, match="obs_dtype='bfloat16' needs"):
            make_self_play(4, obs_dtype="bfloat16", **SMALL, **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_bfloat16_is_refused_where_auto_takes_the_cpu():
    with pytest.raises(ValueError, match="obs_dtype='bfloat16' needs a CUDA device"):
        make_self_play(4, obs_dtype="bfloat16", device="auto", **SMALL)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_tensors_on_the_cpu_are_the_arrays(mode):
    settings = {**SMALL, "horizon": 3.0, "autoreset_mode": mode}
    plain, tensors = make_self_play(8, **settings), make_self_play(8, output="torch", **settings)
    random = np.random.default_rng(0)
    wanted, found = plain.reset(seed=2), tensors.reset(seed=2)
    assert found[0].dtype == torch.float32
    for _ in range(25):
        compare(found, wanted)
        actions = random.integers(0, 12, 8)
        wanted, found = plain.step(actions), tensors.step(torch.from_numpy(actions))
    compare(tensors.set_state(plain.get_state()), wanted[0])
    assert tensors.device == found[0].device
    tensors.check()


def compare(found, wanted):
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            compare(found[name], wanted[name])
    elif isinstance(wanted, tuple):
        for one, other in zip(found, wanted, strict=True):
            compare(one, other)
    else:
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), wanted)
