"""CommonRoad scenarios: obstacles and planning problems, by hand and of real files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.scenes import Scene, SceneError, load

ROAD = """
<lanelet id="{id}">
  <leftBound><point><x>{a}</x><y>{top}</y></point><point><x>{b}</x><y>{top}</y></point></leftBound>
  <rightBound><point><x>{a}</x><y>{low}</y></point><point><x>{b}</x><y>{low}</y></point></rightBound>
  {links}
</lanelet>"""

LANELETS = ROAD.format(id=1, a=0, b=100, top=2, low=-2, links='<successor ref="2"/>') + ROAD.format(
    id=2, a=100, b=200, top=2, low=-2, links='<predecessor ref="1"/>'
)


def state(tag: str, step: int, x: float, y: float, turn: float, speed: float | None) -> str:
    velocity = "" if speed is None else f"<velocity><exact>{speed}</exact></velocity>"
    return (
        f"<{tag}><position><point><x>{x}</x><y>{y}</y></point></position>"
        f"<orientation><exact>{turn}</exact></orientation><time><exact>{step}</exact></time>"
        f"{velocity}</{tag}>"
    )


BOX = "<shape><rectangle><length>4</length><width>2</width></rectangle></shape>"
CAR = "".join(state("state", step, 10 + 2 * step, 0.5, 0.0, 10.0) for step in range(3, 7))
OBSTACLE = f"<type>car</type>{BOX}{state('initialState', 2, 14.0, 0.5, 0.0, 10.0)}<trajectory>{CAR}</trajectory>"  # noqa: E501
PARKED = (
    "<type>parkedVehicle</type><shape><circle><radius>1</radius>"
    "<center><x>0.5</x><y>0</y></center></circle></shape>"
    + state("initialState", 0, 50.0, -1.0, 0.5 * math.pi, None)
)
PROBLEM = (
    '<planningProblem id="9">'
    + state("initialState", 0, 5.0, 0.0, 0.0, 8.0)
    + """<goalState><position>{place}</position>
    <orientation><intervalStart>-0.1</intervalStart><intervalEnd>0.1</intervalEnd></orientation>
    <time><intervalStart>5</intervalStart><intervalEnd>9</intervalEnd></time>
    <velocity><intervalStart>0</intervalStart><intervalEnd>4</intervalEnd></velocity>
    </goalState></planningProblem>"""
)
RECTANGLE = """<rectangle><length>6</length><width>2</width><orientation>0</orientation>
  <center><x>80</x><y>0</y></center></rectangle>"""


def document(version: str, place: str = RECTANGLE, extra: str = "") -> str:
    if version == "2020a":
        obstacles = (
            f'<dynamicObstacle id="11">{OBSTACLE}</dynamicObstacle>'
            f'<staticObstacle id="12">{PARKED}</staticObstacle>'
        )
    else:
        obstacles = (
            f'<obstacle id="11"><role>dynamic</role>{OBSTACLE}</obstacle>'
            f'<obstacle id="12"><role>static</role>{PARKED}</obstacle>'
        )
    return (
        f'<commonRoad timeStepSize="0.2" commonRoadVersion="{version}" benchmarkID="ZAM_A-1_1_T-1">'
        f"{LANELETS}{obstacles}{extra}{PROBLEM.format(place=place)}</commonRoad>"
    )


def read(text: str, folder: Path) -> Scene:
    path = folder / "made.xml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize("version", ["2018b", "2020a"])
def test_obstacles_and_problems_are_agents(version: str, tmp_path: Path) -> None:
    found = read(document(version), tmp_path)
    assert (found.dt, found.steps, found.current, found.ego) == (0.2, 10, 0, 2)
    assert [agent.id for agent in found.agents] == [11, 12, 9]
    assert [agent.driver for agent in found.agents] == ["replay", "still", "learner"]
    assert found.tracks is not None
    x0, y0 = found.origin[:2]
    assert found.tracks.valid[0].tolist() == [2 <= step <= 6 for step in range(10)]
    np.testing.assert_allclose(found.tracks.x[0, 2:7] + x0, [14, 16, 18, 20, 22])
    np.testing.assert_allclose(found.tracks.y[0, 2:7] + y0, 0.5)
    np.testing.assert_allclose(found.tracks.vx[0, 2:7], 10.0)
    assert found.tracks.valid[1].all() and not found.tracks.vx[1].any()
    # Its circle lies half a metre ahead of its place, and it looks north.
    np.testing.assert_allclose(found.tracks.y[1] + y0, -0.5)
    np.testing.assert_allclose(found.tracks.length[1], 2.0)
    assert not found.tracks.valid[2].any()
    ego = found.agents[2]
    assert (ego.x + x0, ego.y + y0, ego.speed) == (5.0, 0.0, 8.0)
    (goal,) = ego.goals
    assert (goal.time, goal.heading, goal.speed) == ((1.0, 1.8), (-0.1, 0.1), (0.0, 4.0))
    corners = {(round(x + x0, 6), round(y + y0, 6)) for x, y in goal.outline}
    assert corners == {(83.0, 1.0), (77.0, 1.0), (77.0, -1.0), (83.0, -1.0)}
    found.check()
    assert found.present.tolist() == [False, True, True]
    again = tmp_path / "one.scene"
    found.save(again)
    assert load(again) == found


def test_a_goal_may_be_a_lanelet_or_time_alone(tmp_path: Path) -> None:
    found = read(document("2020a", '<lanelet ref="2"/>'), tmp_path)
    (goal,) = found.agents[2].goals
    network = found.network()
    assert network is not None and goal.lanes == ("2",)
    assert goal.x + found.origin[0] == pytest.approx(200.0)
    text = document("2020a").replace(f"<position>{RECTANGLE}</position>", "")
    (goal,) = read(text, tmp_path).agents[2].goals
    assert goal.radius == math.inf and goal.time == (1.0, 1.8)
    with pytest.raises(SceneError, match="names lanelets 77, which do not exist"):
        read(document("2020a", '<lanelet ref="77"/>'), tmp_path)


def test_a_speed_that_is_not_given_comes_from_places(tmp_path: Path) -> None:
    text = document("2020a").replace("<velocity><exact>10.0</exact></velocity>", "")
    found = read(text, tmp_path)
    assert found.tracks is not None
    np.testing.assert_allclose(found.tracks.vx[0, 2:7], 10.0)
    assert found.agents[0].speed == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<length>4</length>", "<length>nan</length>", "<length> is 'nan'; a finite number"),
        ("<length>4</length>", "<length>0</length>", "has a length of 0 m; above 0 and up to 60"),
        ("<length>4</length>", "", "has a length of 0 m"),
        ("<time><exact>4</exact></time>", "<time><exact>-1</exact></time>", "has the time -1"),
        ("<time><exact>4</exact></time>", "<time><exact>9e9</exact></time>", "has the time 9e"),
        ("<x>18</x>", "<x>far</x>", "<x> is 'far'"),
        ("<x>18</x>", "", "<point> has no x or no y"),
        ("<x>18</x>", "<x>1e11</x>", "x of track 11 is 1e[+]11 at step 4"),
        (BOX, "", "<dynamicObstacle> has no shape of rectangle"),
        (BOX, "<shape><rectangle/></shape>", "has a length of 0 m"),
        (' id="12"', ' id="11"', "11 stands more than once|id 11 more than once"),
        (' id="12"', "", "attribute id is missing"),
        ('timeStepSize="0.2"', 'timeStepSize="0"', "timeStepSize is 0 s"),
        (
            'Version="2020a"',
            'Version="2017a"',
            "commonRoadVersion is '2017a'; only 2018b and 2020a",
        ),
        ("<intervalStart>5</intervalStart>", "", "neither an exact value nor an interval"),
        ("<intervalStart>5<", "<intervalStart>50<", "has a time from 50 to 9"),
    ],
)
def test_an_element_that_cannot_be_is_named(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = document("2020a")
    assert old in text
    with pytest.raises(SceneError, match=f"^made.xml.*({message})"):
        read(text.replace(old, new, 1), tmp_path)


def test_a_map_alone_is_no_scene(tmp_path: Path) -> None:
    text = document("2020a")
    start, end = text.index("<dynamicObstacle"), text.index("</commonRoad>")
    with pytest.raises(SceneError, match=r"made.xml: the file has neither .*: it is a map alone"):
        read(text[:start] + text[end:], tmp_path)


def test_any_change_of_a_scenario_is_read_or_refused(tmp_path: Path) -> None:
    from tests.fuzz.xml_mutations import changed

    for number in range(40):
        text = changed(document("2020a"), np.random.default_rng([7, number]))
        try:
            read(text, tmp_path)
        except SceneError as error:
            assert "made" in str(error) and "\n" not in str(error), number


@pytest.mark.parametrize(
    ("name", "dt", "cars", "steps", "lanelets"),
    [
        ("USA_US101-4_1_T-1", 0.1, 22, 101, None),
        ("USA_Lanker-1_1_T-1", 0.1, 24, 41, 91),
        ("DEU_A9-3_1_T-1", 0.2, 9, 31, None),
        ("ARG_Carcarana-4_5_T-1", 0.1, 8, 34, 368),
        ("DEU_Flensburg-10_1_T-1", 0.1, 27, 101, None),
        ("BEL_Putte-8_2_T-1", 0.1, 10, 37, None),
        ("ZAM_Tjunction-1_97_T-1", 0.1, 5, 148, None),
    ],
)
def test_real_scenarios(
    name: str, dt: float, cars: int, steps: int, lanelets: int | None, shared_data: Path
) -> None:
    found = load(shared_data / "commonroad" / "scenarios" / f"{name}.xml")
    assert (found.dt, len(found.agents), found.ego, found.steps) == (dt, cars + 1, cars, steps)
    network = found.network()
    assert network is not None and lanelets in (None, len(network.lanes))
    assert [agent.driver for agent in found.agents] == ["replay"] * cars + ["learner"]
    tracks = found.tracks
    assert tracks is not None
    both = tracks.valid[:, 1:] & tracks.valid[:, :-1]
    speed = np.hypot(np.diff(tracks.x, axis=1), np.diff(tracks.y, axis=1))[both] / dt
    told = np.hypot(tracks.vx, tracks.vy)[:, 1:][both]
    assert np.median(np.abs(speed - told)) < 0.5
    # They drive on the lanes of the map: its origin is that of the tracks.
    points = np.concatenate([lane.centre[:, :2] for lane in network.lanes])
    low, high = points.min(0), points.max(0)
    place = np.stack([tracks.x[tracks.valid], tracks.y[tracks.valid]], axis=1)
    assert ((place > low - 20) & (place < high + 20)).all()
    assert found.agents[found.ego].goals
