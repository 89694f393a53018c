from __future__ import annotations

import pytest

from selfdrive_env.evaluation import load
from selfdrive_env.evaluation.probes import PROBES, probe

MASTERED = [name for name in PROBES if name not in ("overtaking", "dense")]


@pytest.mark.parametrize("name", MASTERED)
def test_idm_masters_what_it_is_made_for(name: str) -> None:
    result = probe(load("idm"), name, trials=6)
    assert result.trials == 6
    assert result.successes >= 5
    assert 0.0 <= result.low < result.rate <= result.high <= 1.0


def test_idm_never_stays_on_the_ramp() -> None:
    """Those who found no gap stand at its end; they leave it when the road beside them is free."""
    assert probe(load("idm"), "merge", trials=20).successes == 20


def test_idm_does_not_overtake() -> None:
    assert probe(load("idm"), "overtaking", trials=4).successes == 0


@pytest.mark.parametrize("name", list(PROBES))
def test_random_drivers_master_nothing(name: str) -> None:
    assert probe(load("random"), name, trials=5).rate <= 0.2


@pytest.mark.parametrize("name", [name for name in PROBES if name != "dense"])
def test_driving_straight_on_masters_nothing(name: str) -> None:
    """Who misses the turn is given another route; goals on that do not count."""
    assert probe(load("constant:10"), name, trials=5).successes == 0


def test_the_same_seeds_give_the_same_rate() -> None:
    first = probe(load("random", seed=1), "merge", trials=4, first_seed=7)
    assert first == probe(load("random", seed=1), "merge", trials=4, first_seed=7)


def test_unknown_probes_are_refused() -> None:
    with pytest.raises(ValueError, match="merge"):
        probe(load("idm"), "flying")
