"""Files of training settings and `key=value` words changed at random: taken, or named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz import harness
from tests.fuzz.values import changed_bytes, changed_json, check_named, odd, odd_json

pytest.importorskip("torch")

from selfdrive_env.config.settings import Settings
from selfdrive_env.training.config import (
    PRESETS,
    TrainConfig,
    from_table,
    load_config,
)

Random = np.random.Generator
Case = tuple[str, Any, list[str]]

SEED = 34
NAMES = [field.name for field in dataclasses.fields(TrainConfig)]
ENV_NAMES = [field.name for field in dataclasses.fields(Settings)]
SUFFIXES = (".json", ".toml", ".txt", "")


def make(random: Random) -> Case:
    """The ending of a file, its content or a table, and words."""
    preset = dict(PRESETS[str(random.choice(list(PRESETS)))])
    table = json.loads(json.dumps(preset, default=list))
    kind = random.random()
    if kind < 0.3:
        for name in random.choice(NAMES, 2, replace=False):
            table[str(name)] = odd(random)
        return "", table, []
    if random.random() < 0.7:
        table = changed_json(table, random)
    words = [word(random) for _ in range(random.integers(0, 3))]
    if kind < 0.6:
        return ".json", json.dumps(table).encode(), words
    if kind < 0.75:
        return ".toml", as_toml(table), words
    content = changed_bytes(json.dumps(table).encode(), random)
    return str(random.choice(SUFFIXES)), content, words


def word(random: Random) -> str:
    """A word of the command line."""
    if random.random() < 0.1:
        return str(odd(random))[:200]
    env = random.random() < 0.5
    name = f"env.{random.choice(ENV_NAMES)}" if env else str(random.choice(NAMES))
    return f"{name}={json.dumps(odd_json(random))}"


def as_toml(table: Any) -> bytes:
    """A table as TOML, where what it holds can be written so."""
    if not isinstance(table, dict):
        return str(table).encode(errors="replace")
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines).encode(errors="replace")


def use(one: Case, folder: Path) -> str:
    """Reads the settings."""
    suffix, content, words = one
    try:
        if not suffix and isinstance(content, dict):
            config = from_table(content)
        else:
            path = folder / f"config{suffix}"
            path.write_bytes(content)
            config = load_config("cpu", path, words)
        json.dumps(config.to_table())
    except (ValueError, TypeError) as error:
        check_named(error, (*NAMES, *ENV_NAMES, "config", "--set", "set must", "setting"))
        return "refused"
    return "taken"


def test_settings_of_training_are_taken_or_named(tmp_path: Path) -> None:
    ends = harness.fuzz(
        make,
        lambda one, _: use(one, tmp_path),
        seed=SEED,
        count=harness.budget(300),
        allowed=(),
    )
    assert ends["taken"] and ends["refused"]
