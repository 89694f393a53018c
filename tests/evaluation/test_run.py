"""Evaluations on a built-in town for a short time, recordings, and the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.episodes import Episode
from selfdrive_env.evaluation import CAUSES, Evaluation, compare, evaluate, load
from selfdrive_env.evaluation import run as run_module
from selfdrive_env.evaluation.behaviour import ROWS
from selfdrive_env.evaluation.films import replay, write_films
from selfdrive_env.evaluation.policies import Candidate
from selfdrive_env.evaluation.report import details, figures, read_settings, text
from selfdrive_env.evaluation.results.comparison import ratios
from selfdrive_env.evaluation.results.evaluation import route_sums
from selfdrive_env.evaluation.statistics import poisson_interval
from selfdrive_env.maps import MapError, compiled
from selfdrive_env.maps.compile.routes import lane_graph_distance
from selfdrive_env.state.road import SEG_S
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_OFFROAD

SHORT: dict[str, Any] = {
    "map": "riverside",
    "minutes": 0.5,
    "seeds": (0, 1),
    "settings": {"agents_per_world": 20},
}
KEYS = {
    "km", "hours", "speed", "km_between_incidents", "km_between_linked_incidents",
    "incidents_per_hour", "incidents", "linked_incidents", "kinds", "light_timing", "goal_rate",
    "route_completion", "driving_score", "probes",
}  # fmt: skip


@pytest.fixture(scope="module")
def by_random() -> Evaluation:
    return evaluate(load("random"), **{**SHORT, "minutes": 1.0}, keep=4)


@pytest.fixture(scope="module")
def by_idm() -> Evaluation:
    return evaluate(load("idm"), **SHORT)


def test_idm_drives_and_reaches_goals(by_idm: Evaluation) -> None:
    assert by_idm.hours.sum() == pytest.approx(40 * 0.5 / 60.0, rel=0.01)
    assert 1.0 < by_idm.km.sum() < 40 * 30.0 * 20.0 / 1000.0
    assert by_idm.goal_rate is not None
    assert by_idm.goal_rate > 60.0
    assert by_idm.goal_delay is not None
    assert by_idm.goal_delay > 1.0


def test_a_policy_of_pictures_is_given_what_the_environment_shows() -> None:
    short: dict[str, Any] = {
        "map": "riverside", "minutes": 0.05, "seeds": (0,), "settings": {"agents_per_world": 4}
    }  # fmt: skip
    pictures = []

    def act(seen: Any, deterministic: bool = True) -> Any:
        assert seen["row"].shape[0] == 4
        pictures.append(seen["road"].copy())
        return np.full(4, 10)

    shown = {"road": {"kind": "bev", "size": 16}, "row": "state"}
    mine = Candidate("mine", act, settings={"observation": shown}, pictures=True)
    found, other = evaluate(mine, **short), evaluate(load("constant:10"), **short)
    assert len(pictures) == 45 and pictures[0].shape == (4, 16, 16, 3)
    assert (pictures[0] != pictures[-1]).any()
    assert found.km.tolist() == other.km.tolist()
    assert details(found)["incidents"] == details(other)["incidents"]


def test_random_drivers_leave_the_road(by_random: Evaluation) -> None:
    between = by_random.km_between()
    assert by_random.by_cause["offroad"] > 10
    assert between.low < between.mean < between.high < 1.0  # type: ignore[operator]
    assert by_random.hours.sum() < 40 / 60.0  # time in incidents does not count


def test_a_tally_is_the_list_of_incidents(by_random: Evaluation) -> None:
    for world in range(2):
        for place, cause in enumerate(CAUSES):
            listed = [i for i in by_random.incidents if (i.world, i.cause) == (world, cause)]
            assert len(listed) == by_random.counts[world, place]


def test_the_same_seeds_give_the_same_result(by_idm: Evaluation) -> None:
    again = evaluate(load("idm"), **SHORT)
    assert details(again) == details(by_idm)


def test_a_world_does_not_depend_on_the_others(by_idm: Evaluation) -> None:
    alone = evaluate(load("idm"), **{**SHORT, "seeds": (1,)})
    assert alone.km[0] == by_idm.km[1]


def test_figures_have_exactly_the_keys_promised(by_random: Evaluation) -> None:
    found = json.loads(json.dumps(figures(by_random), allow_nan=False))
    assert set(found) == KEYS
    assert set(found["km_between_incidents"]) == {"mean", "low", "high"}
    assert tuple(found["incidents"]) == CAUSES
    assert all(isinstance(count, int) for count in found["incidents"].values())


def test_scores_lie_in_their_ranges(by_random: Evaluation, by_idm: Evaluation) -> None:
    for result in (by_random, by_idm):
        for _, share, score, _ in result.routes:
            assert 0.0 <= score <= share <= 1.0
    assert "km between incidents" in text(by_idm)


def test_policies_are_compared_seed_by_seed(by_idm: Evaluation) -> None:
    other = evaluate(load("random"), **SHORT)
    difference = compare(by_idm, other)
    assert difference["incidents_per_km"].mean < 0.0  # type: ignore[operator]
    assert difference["goal_rate"].mean > 0.0  # type: ignore[operator]
    assert compare(by_idm, by_idm)["goal_rate"] == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same seeds"):
        compare(by_idm, evaluate(load("random"), **{**SHORT, "seeds": (5, 6), "minutes": 0.05}))


def test_incidents_a_kilometre_leave_out_red_lights_and_starts(by_idm: Evaluation) -> None:
    first, second = (
        dataclasses.replace(
            by_idm,
            km=np.array([2.0, 4.0]),
            hours=np.array([1.0, 2.0]),
            goals=np.array([goals, goals]),
            counts=np.array([[a, b, 1, 10 * a, 70], [a, 0, 0, 60, 20 * b]]),
            route_sums=route_sums([(0, 1.0, score, True), (0, 1.0, 0.5, True)], 2),
        )
        for a, b, goals, score in ((4, 3, 10, 1.0), (0, 1, 4, 0.5))
    )
    difference = compare(first, second)
    assert difference["incidents_per_km"].mean == pytest.approx((8 / 2 - 2 / 2 + 4 / 4) / 2)
    assert difference["goal_rate"].mean == pytest.approx((6 / 1 + 6 / 2) / 2)
    assert difference["driving_score"].mean == pytest.approx(25.0 / 2)
    assert first.km_between().mean == pytest.approx(6.0 / 12)
    assert first.km_between("red_light").mean == pytest.approx(6.0 / 100)
    assert first.hours_between().mean == pytest.approx(3.0 / 12)
    assert first.goal_rate == pytest.approx(20 / 3.0)
    ratio = ratios(first, second)
    assert ratio["goal_rate"].mean == pytest.approx((10 / 1 + 10 / 2) / (4 / 1 + 4 / 2))
    assert ratio["speed"] == pytest.approx((1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="same seeds"):
        ratios(first, dataclasses.replace(second, seeds=(0, 7)))


def test_incidents_are_told_over_kilometres_and_over_hours(by_idm: Evaluation) -> None:
    crashed = dataclasses.replace(
        by_idm,
        km=np.array([20.0, 40.0]),
        hours=np.array([1.0, 2.0]),
        counts=np.array([[4, 3, 1, 50, 70], [0, 2, 0, 60, 20]]),
        linked=np.array([3, 2]),
    )
    found = figures(crashed)
    low, high = poisson_interval(10)
    rates = found["incidents_per_hour"]
    assert rates["all"] == pytest.approx({"mean": 10 / 3, "low": low / 3, "high": high / 3})
    assert rates["collision_at_fault"]["mean"] == pytest.approx(4 / 3)
    assert rates["collision_not_at_fault"]["mean"] == pytest.approx(5 / 3)
    assert rates["offroad"]["mean"] == pytest.approx(1 / 3)
    low, high = poisson_interval(5)
    assert found["linked_incidents"] == 5
    assert rates["linked"] == pytest.approx({"mean": 5 / 3, "low": low / 3, "high": high / 3})
    between = {"mean": 60 / 5, "low": 60 / high, "high": 60 / low}
    assert found["km_between_linked_incidents"] == pytest.approx(between)
    assert found["speed"]["mean"] == pytest.approx(20.0 / 3.6)
    lines = text(crashed)
    for name in ("mean speed", "incidents per agent-hour", "linked ones counted once      "):
        assert name in lines


@pytest.mark.parametrize("timing", ["file", "fixed"])
def test_the_report_says_how_long_phases_of_lights_last(timing: str) -> None:
    settings = {"agents_per_world": 2, "light_timing": timing}
    result = evaluate(load("idm"), **{**SHORT, "minutes": 0.02, "settings": settings})
    assert figures(result)["light_timing"] == timing
    assert f"{timing} (" in text(result).split("light timing")[1].splitlines()[0]


def test_lights_have_their_default_timing_unless_told() -> None:
    result = evaluate(load("idm"), **{**SHORT, "minutes": 0.02})
    assert figures(result)["light_timing"] == "file"


def test_linked_incidents_are_no_more_than_incidents(by_random: Evaluation) -> None:
    assert 0 < by_random.num_linked < by_random.num_incidents
    assert (by_random.linked <= by_random.counts[:, :3].sum(1)).all()


def test_figures_by_seed_are_those_of_its_world(by_random: Evaluation) -> None:
    rows = details(by_random)["by_seed"]
    for world, row in enumerate(rows):
        assert row["seed"] == by_random.seeds[world]
        assert row["km"] == by_random.km[world]
        assert row["hours"] == by_random.hours[world]
        assert row["goals"] == by_random.goals[world]
        assert list(row["incidents"].values()) == by_random.counts[world].tolist()


def test_who_brakes_is_uncomfortable_until_it_stands() -> None:
    shares = [
        evaluate(load("constant:0"), **{**SHORT, "minutes": minutes}).uncomfortable
        for minutes in (0.05, 0.1, 0.4)
    ]
    assert 0.0 < shares[2] < shares[1] < shares[0] < 1.0


def test_a_recording_plays_the_same_incident(by_random: Evaluation) -> None:
    assert len(by_random.recordings) == 4
    for recording in by_random.recordings:
        incident = recording.incident
        engine = None
        for step, env in enumerate(replay(recording, size=64), recording.first):
            engine = env.engine
            if step == incident.step:
                at = incident.world, incident.agent
                assert engine.output.event[at] & (EVENT_COLLISION | EVENT_OFFROAD)
                assert float(engine.motion.x[at]) == pytest.approx(incident.x, abs=1.0)
        assert engine is not None


def test_late_recordings_keep_the_tows_before_them() -> None:
    result = evaluate(load("random"), **{**SHORT, "minutes": 1.0}, keep=200)
    late = [r for r in result.recordings if r.incident.step > 300 and len(r.towed_step)]
    assert late
    for recording in late[:3]:
        incident = recording.incident
        for step, env in enumerate(replay(recording, size=64), recording.first):
            if step == incident.step:
                event = env.engine.output.event[incident.world, incident.agent]
                assert event & (EVENT_COLLISION | EVENT_OFFROAD)


def test_incidents_are_kept_as_episodes(by_random: Evaluation, tmp_path: Path) -> None:
    write_films(by_random.recordings, tmp_path, films=0)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"incident_{n:02}.episode" for n in range(4)]
    for file, recording in zip(files, by_random.recordings, strict=True):
        episode, incident = Episode.load(file), recording.incident
        assert episode.about["focus"] == incident.agent
        assert f"agent {incident.agent}" in episode.about["title"]
        frame = incident.step - recording.first
        event = episode.tracks.event[incident.agent, frame]
        assert event & (EVENT_COLLISION | EVENT_OFFROAD)
        x, y = (episode.values(name)[incident.agent, frame] for name in ("x", "y"))
        assert np.hypot(x - incident.x, y - incident.y) < 10.0  # the rear axle a step before
        assert incident.agent in episode.tracks.observed_agent
        assert episode.num_frames == len(recording.actions)


def test_films_are_written(by_random: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    written = write_films(by_random.recordings[:2], tmp_path, films=1, size=64)
    assert [path.name.split(".")[0] for path in written] == ["incident_00"] * 2 + ["incident_01"]
    assert written[1].suffix in (".mp4", ".gif")


def test_presets_give_a_table_of_behaviour() -> None:
    table = run_module.compare_presets(load("idm"), ["cautious", "aggressive"], **SHORT)
    assert list(table) == ["cautious", "aggressive"]
    assert all(set(row) == set(ROWS) for row in table.values())
    gap = table["cautious"]["gap"]
    assert gap is not None
    assert 0.0 < gap < 40.0


def test_lane_graph_distance_along_one_lane_and_the_next() -> None:
    town = compiled("riverside")
    lanes = town.lanes
    lane = int(np.flatnonzero((lanes.junction < 0) & (lanes.length > 50.0))[0])
    assert lane_graph_distance(lanes, town.routes, (lane, 5.0), (lane, 25.0)) == 20.0
    following = int(lanes.successor[lanes.successor_first[lane]])
    way = lane_graph_distance(lanes, town.routes, (lane, 5.0), (following, 3.0))
    assert way == pytest.approx(float(lanes.length[lane]) - 2.0, abs=0.01)
    assert lanes.segment[lanes.segment_first[lane], SEG_S] == 0.0


def test_a_map_without_routes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    town = compiled("riverside")
    bare = town.lanes._replace(spawn_segment=town.lanes.spawn_segment[:0])
    towns = [dataclasses.replace(town, lanes=bare)]
    monkeypatch.setattr(run_module, "open_maps", lambda settings, layout: towns)
    with pytest.raises(MapError, match="riverside has no routes"):
        evaluate(load("idm"), **SHORT)


@pytest.mark.parametrize(
    "words",
    [
        ["nobody"],
        ["constant:12"],
        ["idm", "--map", "nowhere"],
        ["idm", "--minutes", "0"],
        ["idm", "--minutes", "nan"],
        ["idm", "--minutes", "-3"],
        ["idm", "--seeds", "1", "1"],
        ["idm", "--film", "-1"],
        ["idm", "--trials", "0"],
        ["idm", "--probes", "flying"],
        ["idm", "--kinds", "flying", "--film", "1"],
        ["idm", "--kinds", "side"],
        ["idm", "--set", "agents_per_word=3"],
        ["idm", "--set", "agents_per_world"],
        ["idm", "--set", "on_goal=terminate"],
        ["idm", "--set", "agents_per_world=0"],
        ["idm", "random", "constant:10"],
        ["idm", "random", "--against", "constant:10"],
        ["idm", "--shard", "1/2"],
        ["idm", "--shard", "3/2", "-o", "a.json"],
        ["idm", "--shard", "0/2", "-o", "a.json"],
        ["idm", "--shard", "half", "-o", "a.json"],
        ["idm", "--seeds", "1", "2", "--shard", "1/3", "-o", "a.json"],
        ["random", "--shard", "1/2", "-o", "a.json"],
        ["idm", "--preset", "eval", "cautious", "-o", "a.json"],
        ["merge"],
        ["merge", "nothing.json"],
        ["merge", "a.json", "--set", "dt=0.3"],
    ],
)
def test_mistakes_give_one_line_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    ["--minutes 3", "--seeds 7", "--map riverside", "--preset cautious", "--probes none",
     "--trials 3", "--set dt=0.3", "--film 1"],
)  # fmt: skip
def test_what_a_merge_cannot_follow_is_refused_by_name(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "merge", "a.json", *words.split()]) == 2
    assert f"takes files, -o and --json, got {words.split()[0]}" in capsys.readouterr().err


def words_of(rest: str) -> list[str]:
    return ["--map", "riverside", *rest.split()]


def test_wrong_numbers_are_wrong_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "idm", "--minutes", "long"])
    assert stopped.value.code == 2


def test_the_command_prints_one_json_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [
        "--map",
        "riverside",
        "--minutes",
        "0.2",
        "--seeds",
        "3",
        "--json",
        "--probes",
        "closed_road",
        "--trials",
        "2",
    ]
    small = ["--set", "agents_per_world=10", "--set", "dt=0.2", "bodies=typed"]
    assert main(["evaluate", "idm", *words, *small, "--out-dir", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS
    assert found["probes"]["closed_road"]["trials"] == 2
    whole = json.loads((tmp_path / "evaluation.json").read_text())
    assert whole["seeds"] == [3]
    given = {"agents_per_world": 10, "dt": 0.2, "bodies": "typed"}
    assert given.items() <= whole["settings"].items()
    assert set(whole) > KEYS


@pytest.mark.parametrize("how", [["--against", "constant:10"], []])
def test_the_command_prints_a_table_and_a_comparison(
    how: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--map",
        "riverside",
        "--minutes",
        "0.2",
        "--seeds",
        "3",
        "4",
        "--probes",
        *how,
    ]
    policies = ["idm"] if how else ["idm", "constant:10"]
    assert main(["evaluate", *policies, *words, "--set", "agents_per_world=10"]) == 0
    printed = capsys.readouterr().out
    assert "km between incidents" in printed
    assert "idm less constant:10" in printed
    assert "idm over constant:10" in printed


def test_several_presets_print_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--map",
        "riverside",
        "--minutes",
        "0.1",
        "--seeds",
        "3",
        "--preset",
        "eval",
        "cautious",
    ]
    assert main(["evaluate", "idm", *words, "--set", "agents_per_world=10"]) == 0
    assert "cautious" in capsys.readouterr().out


def test_settings_are_read_from_words() -> None:
    words = ["dt=0.3", "bodies=typed", 'reward={"overspeed": 0.1}']
    expected = {"dt": 0.3, "bodies": "typed", "reward": {"overspeed": 0.1}}
    assert read_settings(words) == expected


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ("dt=0.3 bodies=typed", ""),
        (
            "dt=0.1 bodies=typed reverse=allowed",
            "trained with other settings; to drive it as trained add --set dt=0.3 reverse=never",
        ),
    ],
)
def test_settings_unlike_those_of_training_are_named(
    settings: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--minutes", "0.05", "--seeds", "1", "--probes", "none", "--set", *settings.split()]
    assert main(["evaluate", "selfplay", "--map", "riverside", *words, "agents_per_world=5"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == note if note else "trained" not in last
