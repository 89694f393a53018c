"""The web page in a real browser: it opens from disk, plays, seeks, and shows the right numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.episodes import Episode
from selfdrive_env.episodes.camera import film_of
from selfdrive_env.episodes.page import save
from tests.episodes.browser import Browser, executable
from tests.episodes.conftest import MARKUP

READY = "!!window.replay && replay.drawn() > 0"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = executable()
    if path is None:
        pytest.skip("there is no Chromium on the PATH")
    browser = Browser(path, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page_of_long(long: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "replay.html"
    save(long, path)
    return path


@pytest.fixture
def player(browser: Browser, page_of_long: Path) -> Browser:
    browser.open(page_of_long)
    browser.wait(READY)
    return browser


def state(player: Browser) -> Any:
    return player.run("replay.state()")


def numbers(player: Browser, cells: str) -> list[float]:
    found = player.run(
        f"Array.from(document.querySelectorAll({json.dumps(cells)}), (cell) => cell.textContent)"
    )
    return [float(one) for one in found]


def test_it_opens_from_disk_and_asks_for_nothing(player: Browser, page_of_long: Path) -> None:
    player.click(*player.middle("play"))
    player.wait("replay.state().frame > 3")
    assert player.requests() == [page_of_long.as_uri()]
    assert player.run("performance.getEntriesByType('resource').length") == 0
    assert player.complaints() == []
    assert player.run("document.getElementById('message').hidden")


def test_it_plays_to_the_end_and_stops(player: Browser, long: Episode) -> None:
    player.run("replay.seek(0)")
    before = player.run("replay.screen(5)")
    player.click(*player.middle("play"))
    player.wait("replay.state().frame > 5")
    assert state(player)["playing"]
    assert player.run("replay.screen(5)") != before
    player.press(" ", 32)  # on the button that has the focus
    assert not state(player)["playing"]
    assert state(player)["time"] == state(player)["frame"]
    last = long.num_frames - 1
    player.run(f"replay.seek({last - 2}); replay.play(true)")
    player.wait("!replay.state().playing")
    assert state(player)["frame"] == last
    player.frame()
    assert player.text("clock") == "60.0 / 60.0 s"


def test_it_seeks(player: Browser, long: Episode) -> None:
    x, y = player.middle("time")
    player.click(x, y)
    half = state(player)["frame"]
    assert abs(half - long.num_frames / 2) < 15
    assert player.text("clock") == f"{half * long.dt:.1f} / 60.0 s"
    player.press("ArrowRight", 39)
    assert state(player)["frame"] == half + 1
    player.press("Home", 36)
    assert state(player)["frame"] == 0
    player.click(*player.middle("scene"))  # away from the slider, whose keys are its own
    player.press("ArrowRight", 39)
    player.press("ArrowRight", 39)
    player.press("ArrowLeft", 37)
    assert state(player)["frame"] == 1
    player.press("End", 35)
    assert state(player)["frame"] == long.num_frames - 1


def alone(player: Browser, frame: int) -> list[int]:
    """Agents that can be clicked: away from all others, from buttons and from the border."""
    player.run(f"replay.play(false); replay.fit(); replay.seek({frame})")
    player.frame()
    places = player.run("Array.from({length: replay.agents}, (_, a) => replay.screen(a))")
    seen = [agent for agent, place in enumerate(places) if place is not None]
    spots = np.array([places[agent] for agent in seen])
    free = []
    for agent, spot in zip(seen, spots, strict=True):
        distance = np.sort(np.hypot(*(spots - spot).T))
        there = f"document.elementFromPoint({spot[0]}, {spot[1]})?.id"
        if distance[1] > 25.0 and player.run(there) == "scene":
            free.append(agent)
    return free


def test_a_click_shows_the_numbers_of_the_episode(player: Browser, long: Episode) -> None:
    clicked = 0
    for frame in (0, 40, 333, 600):
        for agent in alone(player, frame)[:4]:
            player.click(*player.run(f"replay.screen({agent})"))
            assert state(player)["agent"] == agent
            speed, x, y, distance, acceleration = (
                long.values(name)[agent, frame]
                for name in ("speed", "x", "y", "goal_distance", "acceleration")
            )
            assert float(player.text("speed")) == pytest.approx(speed, abs=0.0051)
            facts = player.run(
                "Object.fromEntries(Array.from(document.querySelectorAll('[data-fact]'), "
                "(cell) => [cell.dataset.fact, cell.textContent]))"
            )
            assert facts["position"] == f"{x:.2f}, {y:.2f} m"
            assert facts["to the goal"] == f"{distance:.1f} m"
            assert float(facts["acceleration"].split()[0]) == pytest.approx(acceleration, abs=0.006)
            leg = long.tracks.route_leg[agent, frame]
            goals = long.tracks.track_goals[long.tracks.route_leg_track[leg]]
            assert facts["goals"] == f"{long.tracks.route_leg_goal[leg]} of {goals} reached"
            check_reward(player, long, agent, frame)
            clicked += 1
    assert clicked >= 12
    assert player.complaints() == []


def check_reward(player: Browser, episode: Episode, agent: int, frame: int) -> None:
    rewards = episode.values("reward")[:, agent]
    placed = [
        f
        for track, f in enumerate(episode.tracks.track_frame)
        if episode.tracks.track_agent[track] == agent
        and episode.tracks.track_placed[track]
        and f <= frame
    ]
    sums = rewards[:, placed[-1] + 1 : frame + 1].sum(1)
    now = rewards[:, frame]
    shown = numbers(player, "#reward tr td:nth-child(2)")
    assert shown == pytest.approx([*now, now.sum()], abs=6e-5, rel=0.06)
    totals = numbers(player, "#reward tr td:last-child")
    assert totals == pytest.approx([*sums, sums.sum()], abs=6e-5, rel=0.06)


def test_the_observation_is_shown_where_it_was_recorded(player: Browser, long: Episode) -> None:
    assert long.tracks.observed_agent.tolist() == [0]
    player.run("replay.seek(77)")
    player.run("document.querySelectorAll('#observation details').forEach((d) => d.open = true)")
    player.frame()
    player.frame()
    values = long.values("observation")[0, :, 77]
    shown, start = [], 0
    for _, slots, columns in long.about["observation"]:  # shown by slots, kept by columns
        planes = values[start : start + slots * len(columns)].reshape(len(columns), slots)
        shown += planes.T.ravel().tolist()
        start += planes.size
    assert numbers(player, "#observation td") == pytest.approx(shown, abs=6e-5)
    names = player.run(
        "Array.from(document.querySelectorAll('#observation summary'), (s) => s.textContent)"
    )
    assert [name.split()[0] for name in names] == list(OBSERVATION)
    other = alone(player, 77)
    agent = next(one for one in other if one != 0)
    player.click(*player.run(f"replay.screen({agent})"))
    assert "recorded for 0" in player.text("observation-note")
    assert numbers(player, "#observation td") == []


def test_it_pans_zooms_and_follows(player: Browser) -> None:
    before = state(player)
    assert before["follow"]
    x, y = player.middle("scene")
    player.drag((x, y), (x + 60, y + 20))
    after = state(player)
    assert not after["follow"]
    assert after["view"]["x"] == pytest.approx(before["view"]["x"] - 60 / before["view"]["scale"])
    assert after["view"]["y"] == pytest.approx(before["view"]["y"] + 20 / before["view"]["scale"])
    assert after["agent"] == before["agent"]  # a drag is no click
    player.wheel(x, y, -300.0)
    assert state(player)["view"]["scale"] > after["view"]["scale"]
    player.press("f", 70)
    player.run("replay.seek(30)")
    player.frame()
    assert state(player)["follow"]
    assert player.run("replay.screen(0)") == pytest.approx([x, y], abs=0.5)
    player.press("Escape", 27)
    assert state(player)["agent"] == -1
    assert player.run("document.getElementById('details').hidden")


def test_an_incident_of_the_list_is_gone_to(player: Browser, long: Episode) -> None:
    first = long.tracks.event & (1 << 2 | 1 << 3 | 1 << 4 | 1 << 5)
    frame = int(np.flatnonzero(first.any(0))[0])
    agents = np.flatnonzero(first[:, frame])
    player.run("document.querySelector('#incidents button').click()")
    player.frame()
    assert state(player)["frame"] == frame
    assert state(player)["agent"] == agents[0]


def test_light_and_dark_are_both_drawn(player: Browser) -> None:
    colours = []
    for _ in range(2):
        player.click(*player.middle("theme"))
        script = "Array.from(document.getElementById('scene').getContext('2d')"
        colours.append(player.run(f"{script}.getImageData(3, 400, 1, 1).data)"))
    assert colours[0] != colours[1]


def test_150_agents_are_drawn_fast(player: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how fast; a timed assert would fail on a busy machine."""
    player.run("replay.fit(); replay.seek(0); replay.play(true)")
    script = """new Promise((done) => {
      const times = [], first = replay.drawn();
      const step = (now) => {
        times.push(now);
        if (now - times[0] < 3000) requestAnimationFrame(step);
        else done([(times.length - 1) / (now - times[0]) * 1000, replay.drawn() - first]);
      };
      requestAnimationFrame(step);
    })"""
    rate, drawn = player.run(script)
    cost = player.run(
        "(() => { const t = performance.now(); for (let i = 0; i < 50; i++) replay.draw();"
        " return (performance.now() - t) / 50; })()"
    )
    with capsys.disabled():
        print(f"\n150 agents, whole map: {rate:.1f} frames/s, {cost:.2f} ms of script a frame")
    assert drawn > 0


def test_text_of_an_episode_is_never_markup(
    browser: Browser, hostile: Episode, tmp_path: Path
) -> None:
    save(hostile, tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    browser.wait(READY)
    browser.run("replay.seek(5)")
    browser.frame()
    assert browser.text("title") == MARKUP
    assert browser.run("document.title").startswith(MARKUP[:9])
    assert MARKUP in browser.text("settings").replace('\\"', '"')
    assert MARKUP in browser.text("reward")
    assert MARKUP in browser.text("chips")
    assert MARKUP in browser.text("observation")
    assert browser.run("document.querySelectorAll('b, script').length") == 2
    assert browser.complaints() == []


def test_no_other_script_may_run(player: Browser) -> None:
    player.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
        " document.body.append(s);"
        " const i = new Image(); i.src = 'file:///nothing.png'; document.body.append(i); })()"
    )
    player.frame()
    assert player.run("window.bad === undefined")
    assert any("Content Security Policy" in text for text in player.complaints())


def test_a_damaged_page_says_so(browser: Browser, small: Episode, tmp_path: Path) -> None:
    save(small, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    start = text.index('id="episode">') + len('id="episode">')
    (tmp_path / "a.html").write_text(f"{text[: start + 200]}{text[start + 400 :]}")
    browser.open(tmp_path / "a.html")
    browser.wait("!document.getElementById('message').hidden")
    assert "cannot be shown" in browser.text("message")


def test_a_narrow_window_keeps_the_controls(player: Browser) -> None:
    size = {"deviceScaleFactor": 1, "mobile": False}
    player.send("Emulation.setDeviceMetricsOverride", width=420, height=800, **size)
    player.frame()
    for element in ("play", "time", "agent"):
        x, y = player.middle(element)
        assert 0 < x < 420
        assert 0 < y < 800
    player.send("Emulation.setDeviceMetricsOverride", width=1440, height=860, **size)


def test_a_camera_follows_the_time(browser: Browser, small: Episode, tmp_path: Path) -> None:
    place = tmp_path / "camera.html"
    save(small, place, film_of(small, 1))
    browser.open(place)
    browser.wait(READY)
    browser.wait("replay.pictured() === 0")
    lens = "document.getElementById('picture').getContext('2d')"
    pixels = f"String({lens}.getImageData(0, 0, 320, 180).data)"
    first = browser.run(pixels)
    assert len(set(first.split(","))) > 20
    browser.run(f"replay.seek({small.num_frames - 1})")
    browser.wait(f"replay.pictured() === {small.num_frames - 1}")
    assert browser.run(pixels) != first
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'c' }))")
    assert browser.run("document.getElementById('camera').hidden") is True
