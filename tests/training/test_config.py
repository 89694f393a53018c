from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdrive_env.config.settings import EARLIER
from selfdrive_env.maps import RoadNetwork
from selfdrive_env.training import PRESETS, TrainConfig, load_config
from selfdrive_env.training.config import differences, from_table, parse_assignments, read_file


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_survive_json(preset: str) -> None:
    config = load_config(preset)
    assert from_table(json.loads(json.dumps(config.to_table()))) == config or (
        from_table(config.to_table()).to_table() == config.to_table()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"gamma": 1.5}, "gamma must be a number from 0 to 1, got 1.5"),
        ({"set_widths": []}, "set_widths must list 1 to 16 widths"),
        ({"trunk_widths": [0]}, "trunk_widths must be a whole number from 1"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, got 'half'"),
        ({"minutes": 0}, "minutes must be a number from 0.001 to 1e+07, got 0"),
        ({"tensorboard": 1}, "tensorboard must be true or false, got 1"),
        ({"device": "tpu"}, "device must be 'cpu', 'cuda'"),
        ({"env": {"device": "cpu"}}, "env.device cannot be set (set device)"),
        ({"env": {"lay_out": "lean"}}, "did you mean 'layout'?"),
        ({"env": {"action_type": "continuous"}}, "env.action_type must be discrete"),
        ({"env": {"autoreset_mode": "Disabled"}}, "env.autoreset_mode must be SameStep"),
        ({"env": {"observation": "bev"}}, "observation must be 'state' for training"),
        ({"env": 3}, "env must be a name or a table"),
        ({"precision": "bfloat16"}, "needs a CUDA device, got device='cpu'"),
        ({"compile": True}, "compile=true needs a CUDA device"),
        ({"minibatch": 10**6}, "minibatch must be at most the 32768 transitions of a rollout"),
        ({"steps": 100}, "steps must be at least the 32768 transitions"),
        ({"torch_threads": 0}, "torch_threads must be a whole number from 1"),
        ({"out_dir": ""}, "out_dir must be the path of a folder"),
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'?"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        from_table({"minibatch": 64, **settings})
    assert message in str(caught.value)


def test_a_file_changes_the_preset_and_a_word_changes_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("gamma = 0.9\nclip = 0.3\n[env]\nhorizon = 60.0\n")
    words = ["clip=0.4", "env.preset=train", 'env.map=["harbour"]']
    config = load_config("cpu", tmp_path / "a.toml", words)
    assert (config.gamma, config.clip, config.env["horizon"]) == (0.9, 0.4, 60.0)
    assert (config.env["preset"], config.env["map"]) == ("train", ["harbour"])
    assert config.env["layout"] == PRESETS["cpu"]["env"]["layout"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not valid JSON"),
        ("a.toml", "a = ", "is not valid TOML"),
        ("a.json", "[1]", "must hold a table"),
        ("a.yaml", "a: 1", "ends in .json or .toml"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_file(tmp_path / name)


@pytest.mark.parametrize("word", ["gamma", "=3", "a.b=1", "env.a.b=1", "3=3"])
def test_a_word_that_sets_nothing_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="set must"):
        parse_assignments([word])


def test_setting_a_part_of_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="contradict"):
        parse_assignments(["env=3", "env.map=harbour"])


@given(st.text())
def test_words_give_a_table_or_a_value_error(word: str) -> None:
    try:
        table = parse_assignments([word])
    except ValueError:
        return
    assert isinstance(table, dict)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda key: key != "env"),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    )
)
def test_values_survive_words(table: dict[str, Any]) -> None:
    words = [f"{key}={json.dumps(value)}" for key, value in table.items()]
    parsed = parse_assignments(words)
    for key, value in table.items():
        infinite = isinstance(value, float) and value in (float("inf"), float("-inf"))
        assert parsed[key] == (json.dumps(value) if infinite else value)


@given(st.dictionaries(st.sampled_from(["gamma", "env", "clip", "x"]), st.from_type(object)))
def test_a_table_of_anything_gives_settings_or_a_value_error(table: dict[str, Any]) -> None:
    try:
        from_table({"minibatch": 64, **table})
    except ValueError:
        return
    assert set(table) <= {"gamma", "env", "clip"}


def test_differences_name_both_values_and_skip_what_may_change() -> None:
    old = TrainConfig(minibatch=64, env={"layout": "lean"}).to_table()
    new = TrainConfig(minibatch=64, env={"layout": "full"}, out_dir="b", gamma=0.5).to_table()
    assert differences(old, new) == [
        "env.layout is 'lean' in the checkpoint and 'full' here",
        "gamma is 0.999 in the checkpoint and 0.5 here",
    ]


@pytest.mark.parametrize("several", [False, True])
def test_networks_are_refused_with_the_way_out(several: bool) -> None:
    """A run is resumed from JSON, which would hold every point of them, and cannot be read."""
    network = RoadNetwork("village")
    with pytest.raises(ValueError, match=r"env\.map must be names or paths .*'village': save it"):
        TrainConfig(env={"map": ["harbour", network] if several else network})


def test_settings_of_the_environment_survive_json() -> None:
    env = {"map": [Path("harbour")], "dt": np.float32(0.25), "jerk_lat": np.array([-1.0, 0.0, 1.0])}
    config = from_table({**PRESETS["cpu"], "env": env})
    assert from_table(config.to_table()) == config
    plain = {"map": ["harbour"], "dt": 0.25, "jerk_lat": [-1, 0, 1]}
    assert config.to_table()["env"] == {**EARLIER, "reverse": "never", **plain}
