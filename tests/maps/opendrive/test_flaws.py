"""A flawed record costs the record, not the map: it is left out, joined across and listed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import DEFAULT_SPEED_LIMIT
from tests.fuzz.test_maps import DOCUMENTS
from tests.maps.opendrive.test_reader import (
    LINE,
    by_name,
    controller,
    crossing,
    lane,
    read,
    road,
    section,
    signal,
    successors,
    validity,
)

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOTH = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'


SPELT = "1 units of speed are spelt otherwise than m/s, km/h or mph (and read)"


@pytest.mark.parametrize(
    ("unit", "limit"),
    [("kph", 10.0), ("kmph", 10.0), ("KM/H", 10.0), ("mph", 16.0934), ("mps", 36.0),
     ("knots", DEFAULT_SPEED_LIMIT)],
)  # fmt: skip
def test_units_of_speed_in_their_spellings(tmp_path: Path, unit: str, limit: float) -> None:
    network = read(tmp_path, road(right=lane(-1, inner=f'<speed max="36" unit="{unit}"/>')))
    assert network.lanes[0].speed_limit == pytest.approx(limit, abs=1e-3)
    listed = [] if unit in ("KM/H", "mph") else [f"{SPELT}: line 1: {unit.lower()}"]
    flaw = (
        "1 flawed records are left out: line 1: <speed> unit='knots' is not one of m/s, km/h, mph"
    )
    assert network.problems == ([flaw] if unit == "knots" else listed)


FLAWED = {
    "signal": signal("z", 50).replace(' s="50"', ""),
    "number of a signal": signal("z", 50).replace('t="-5"', 't="left"'),
    "reference": signal("z", 50, tag="signalReference").replace(' s="50"', ' s=""'),
    "validity": signal("a", 100, inner='<validity fromLane="-1"/>' + validity(-2, -1)),
    "speed sign": signal("z", 50, kind="274", extra='value="50" zOffset="x"'),
}


@pytest.mark.parametrize("name", FLAWED)
def test_a_flawed_signal_leaves_the_others(tmp_path: Path, name: str) -> None:
    whole = signal("a", 100, inner=validity(-2, -1)) if name != "validity" else ""
    network = read(tmp_path, crossing(approach=f"<signals>{FLAWED[name]}{whole}</signals>"))
    (line,) = network.stop_lines
    assert {network.lanes[i].name for i, _ in line.lanes} == {"1/0/-1", "1/0/-2"}
    assert [s.name for s in network.signals] == ["a"]
    flaws = [problem for problem in network.problems if "missing and" not in problem]
    assert [flaw[:31] for flaw in flaws] == ["1 flawed records are left out: "]


def test_flawed_links_crosswalks_controllers_and_road_types_are_left_out(tmp_path: Path) -> None:
    flawed = '<object type="crosswalk" id="1" length="3" width="2"/>'
    whole = '<object type="crosswalk" id="2" s="5" length="3" width="2"/>'
    text = crossing(
        signals=f"<objects>{flawed}{whole}</objects>",
        approach=f"<signals>{signal('a', 100)}</signals>",
        controllers='<controller id="q" sequence="first"/><controller id="p" sequence="1"/>',
    )
    text = text.replace('<laneLink from="-2" to="-2"/>', '<laneLink from="-2"/>')
    head = '<type s="0"><speed max="fast"/></type><type s="0"><speed max="7"/></type>'
    inner = '<link><predecessor id=""/><successor id="x"/></link>'
    extra = road("8", y=500.0, head=head, right=lane(-1, inner=inner))
    network = read(tmp_path, text, extra, controller("p", "a"))
    assert len(network.crosswalks) == 1
    assert successors(network, "1/0/-1") == {"4/0/-1"}
    assert by_name(network)["8/0/-1"].speed_limit == 7.0
    (flaws,) = (p for p in network.problems if "flawed" in p)
    assert flaws.startswith("6 flawed records are left out: ")


def test_an_empty_coefficient_is_nought(tmp_path: Path) -> None:
    width = '<width sOffset="" a="3" b="" c="0" d=" "/>'
    network = read(tmp_path, road(right=lane(-1, width=width)))
    np.testing.assert_allclose(network.lanes[0].width, 3.0)
    assert network.problems == [
        "3 coefficients are empty (taken as 0): line 1: <width> sOffset, line 1: <width> b, "
        "line 1: <width> d"
    ]


@pytest.mark.parametrize(
    "tag", ["width", "border", "laneOffset", "elevation", "poly3", "paramPoly3"]
)
def test_empty_coefficients_of_every_kind_are_listed(tmp_path: Path, tag: str) -> None:
    """The last one is empty, where it says nothing of the shape."""
    names = [f"{n}{axis}" for axis in "UV" for n in "abcd"] if tag == "paramPoly3" else [*"abcd"]
    numbers = dict.fromkeys(names, "0")
    numbers |= {"bU": "100"} if tag == "paramPoly3" else {}
    numbers |= {"a": "-3" if tag == "border" else "3"} if tag in ("width", "border") else {}
    start = {"laneOffset": "s", "elevation": "s"}.get(tag, "sOffset")
    said = " ".join(f'{name}="{number}"' for name, number in numbers.items())
    record = f'<{tag} {start}="0" {said.rpartition("=")[0]}=""/>'
    line = LINE.format(x=0, y=0, hdg=0, length=100)
    network = read(
        tmp_path,
        road(
            right=lane(-1, width=record if tag in ("width", "border") else 3.0),
            offset=record if tag == "laneOffset" else "",
            head=f"<elevationProfile>{record}</elevationProfile>" if tag == "elevation" else "",
            geometry=line.replace("<line/>", record) if tag.endswith("oly3") else None,
        ),
    )
    np.testing.assert_allclose(network.lanes[0].width, 3.0)
    assert network.lanes[0].length == pytest.approx(100.0)
    assert network.problems == [
        f"1 coefficients are empty (taken as 0): line 1: <{tag}> {names[-1]}"
    ]


@pytest.mark.parametrize("length", [0.0, -1e-4])
def test_geometries_without_a_length_are_joined_across(tmp_path: Path, length: float) -> None:
    pieces = LINE.format(x=0, y=0, hdg=0, length=50)
    pieces += LINE.format(x=50, y=0, hdg=2, length=length).replace('s="0"', 's="50"')
    pieces += LINE.format(x=50, y=0, hdg=0, length=50).replace('s="0"', 's="50"')
    network = read(tmp_path, road(geometry=pieces))
    assert network.lanes[0].length == pytest.approx(100.0)
    assert np.ptp(network.lanes[0].centre[:, 1]) == pytest.approx(0.0)
    assert network.problems == ["1 geometries have no length and are left out: road 1 at s=50"]


@pytest.mark.parametrize("turned", [False, True])
def test_roads_without_a_length_are_joined_across(tmp_path: Path, turned: bool) -> None:
    """Two of them, one after the other, in a junction; the second may run against the traffic."""
    to = '<{} elementType="road" elementId="{}" contactPoint="{}"/>'
    link = '<link><predecessor id="{}"/><successor id="{}"/></link>'
    start = "end" if turned else "start"
    middle = lane(1 if turned else -1, inner=link.format(-1, -1))
    ends = [to.format("{}", "3", "end"), to.format("{}", "2", "start")]
    before, after = reversed(ends) if turned else ends
    parts = [
        road("1", 50.0, links='<successor elementType="junction" elementId="9"/>'),
        road("3", 0.0, x=50.0, junction="9", links=to.format("successor", "4", start),
             right=lane(-1, inner=link.format(-1, 1 if turned else -1))),
        road("4", 0.0, x=50.0, junction="9", left=middle if turned else lane(1, "none"),
             right=lane(-1, "none") if turned else middle,
             links=before.format("predecessor") + after.format("successor")),
        road("2", 50.0, x=50.0),
        '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="3" '
        'contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>',
    ]  # fmt: skip
    network = read(tmp_path, *parts)
    assert {entry.name for entry in network.lanes} == {"1/0/-1", "2/0/-1"}
    assert successors(network, "1/0/-1") == {"2/0/-1"}
    assert network.problems == [
        "2 geometries have no length and are left out: road 3 at s=0, road 4 at s=0",
        "2 roads have no planView geometry with a length over 0 (joined across): road 3, road 4",
    ]


def test_sections_without_a_length_are_joined_across_and_keep_their_numbers(
    tmp_path: Path,
) -> None:
    """The lane changes its number twice, at one station; the last section has no width."""
    after = '<link><successor id="{}"/></link>'
    sections = section(0, right=lane(-1, inner=after.format(-2)) + lane(-2, "none"))
    wild = '<width sOffset="0" a="1e15" b="0" c="0" d="0"/>'
    sections += section(50, right=lane(-1, "none") + lane(-2, width=wild, inner=after.format(-1)))
    sections += section(50, right=lane(-1, inner=after.format(-7)))
    sections += section(100, right=lane(-7))
    network = read(tmp_path, road(sections=sections))
    assert set(by_name(network)) == {"1/0/-1", "1/0/-2", "1/2/-1"}
    assert successors(network, "1/0/-1") == {"1/2/-1"}
    assert network.problems == ["2 lane sections have no length: road 1 at s=50, road 1 at s=100"]


@FILES
@given(widths=st.lists(st.sampled_from([2.5, 3.0, 3.5]), min_size=1, max_size=5))
def test_of_repeated_lanes_the_first_are_read(tmp_path: Path, widths) -> None:
    parts = [road(right=lane(-1, width=width) + lane(-2)) for width in widths]
    texts = [part[part.index("<lanes>") : part.index("</lanes>") + 8] for part in parts]
    network = read(tmp_path, parts[0].replace(texts[0], "".join(texts)))
    assert set(by_name(network)) == {"1/0/-1", "1/0/-2"}
    np.testing.assert_allclose(by_name(network)["1/0/-1"].width, widths[0])
    told = ["1 roads have <lanes> more than once (the first is read): road 1"]
    assert network.problems == told * (len(widths) > 1)


MINOR = {
    "signal": ("s", "t", "zOffset", "hOffset", "orientation", "type", "subtype", "value", "unit"),
    "signalReference": ("s", "t", "orientation", "id"),
    "validity": ("fromLane", "toLane"),
    "object": ("s", "t", "hdg", "zOffset", "name", "type"),
    "cornerRoad": ("s", "t", "dz"),
    "cornerLocal": ("u", "v", "z"),
    "speed": ("max", "unit", "sOffset"),
    "type": ("s",),
    "access": ("sOffset", "rule", "restriction"),
    "laneLink": ("from", "to"),
    "predecessor": ("id", "elementId", "elementType", "contactPoint"),
    "successor": ("id", "elementId", "elementType", "contactPoint"),
    "controller": ("sequence", "id"),
    "control": ("signalId",),
    "connection": ("incomingRoad", "connectingRoad", "contactPoint"),
    "priority": ("high", "low"),
}
"""Records that a map can go without, and what they say."""

NUMBERS = frozenset(
    (
        *("s", "t", "zOffset", "hOffset", "fromLane", "toLane", "hdg", "dz", "u", "v", "z"),
        *("sOffset", "from", "to", "sequence"),
    )
)
OUTLINE = (
    '<outline><cornerLocal u="1" v="1" z="0"/><cornerLocal u="1" v="-1" z="0"/>'
    '<cornerLocal u="-1" v="-1" z="0"/></outline>'
)
PLAIN = road(
    right=lane(-1, inner=BOTH.format(-1)) + lane(-2, inner='<speed sOffset="0" max="9" unit=""/>'),
    head='<type s="0"><speed max="30" unit="mph"/></type>',
    tail=f'<objects><object type="crosswalk" id="1" s="9" t="0" hdg="1" zOffset="0">{OUTLINE}'
    f"</object></objects><signals>{signal('a', 50, tag='signalReference')}</signals>",
)
MINOR_TEXTS = (*DOCUMENTS, f"<OpenDRIVE><header/>{PLAIN}</OpenDRIVE>")


def written(folder: Path, root: ET.Element):
    """The network of a document."""
    path = folder / "map.xodr"
    path.write_text(ET.tostring(root, encoding="unicode"))
    return read_opendrive(path)


def of_minor_records(text: str) -> tuple[ET.Element, list[tuple[ET.Element, str]]]:
    """A document, and the attributes of its minor records."""
    root = ET.fromstring(text)
    return root, [
        (element, name)
        for element in root.iter()
        for name in MINOR.get(element.tag, ())
        if name in element.attrib
    ]


def test_documents_have_all_minor_records() -> None:
    found = {
        (element.tag, name) for text in MINOR_TEXTS for element, name in of_minor_records(text)[1]
    }
    optional = {"zOffset", "hOffset", "subtype", "unit"}
    wanted = {(tag, name) for tag, names in MINOR.items() for name in names}
    assert {(tag, name) for tag, name in wanted - found if name not in optional} == set()


@settings(FILES, max_examples=250)
@given(data=st.data())
def test_no_flaw_of_a_minor_record_refuses_the_map(tmp_path: Path, data) -> None:
    """Whatever such a record says, or does not say: the lanes are as they were, and it is told."""
    root, places = of_minor_records(data.draw(st.sampled_from(MINOR_TEXTS)))
    tags = sorted({(element.tag, name) for element, name in places})
    chosen = data.draw(st.sampled_from(tags))
    element, name = data.draw(
        st.sampled_from([one for one in places if (one[0].tag, one[1]) == chosen])
    )
    names = {lane.name for lane in written(tmp_path, root).lanes}
    values = [None, "", " ", "x", "nan", "-inf", "1e400", "9" * 30, "-1e13", "one", "\u0663"]
    value = data.draw(st.sampled_from(values))
    if value is None:
        del element.attrib[name]
    else:
        element.attrib[name] = value
    network = written(tmp_path, root)
    if element.tag != "access":
        assert {lane.name for lane in network.lanes} == names
    if name in NUMBERS and value in ("x", "nan", "-inf", "1e400", "one"):
        assert any("flawed records are left out" in problem for problem in network.problems)


starts = st.lists(st.sampled_from(range(0, 100, 10)), min_size=1, max_size=7)


@FILES
@given(starts=starts, order=st.randoms(), thin=st.integers(0, 7))
def test_names_count_sections_as_the_file_does(tmp_path: Path, starts, order, thin) -> None:
    """Also those without a length, and whatever their order; so do problems."""
    starts = [0, *starts]
    order.shuffle(starts)
    thin = min(thin, len(starts) - 1)
    sections = [
        section(s, right=lane(-1, inner=BOTH.format(-1)) + lane(-2, width=3.0 * (k != thin)))
        for k, s in enumerate(starts)
    ]
    network = read(tmp_path, road(sections="".join(sections)))
    # Of several that begin at one place the last one in the file has a length.
    kept = {s: k for k, s in enumerate(starts)}
    assert set(by_name(network)) == {f"1/{k}/{-n}" for k in kept.values() for n in (1, 2)}
    for s, k in kept.items():
        after = [kept[other] for other in sorted(kept) if other > s][:1]
        assert successors(network, f"1/{k}/-1") == {f"1/{n}/-1" for n in after}
    empty = len(starts) - len(kept)
    lines = [problem for problem in network.problems if "sections have no length" in problem]
    assert [line.split()[0] for line in lines] == ([str(empty)] if empty else [])
    lines = [problem for problem in network.problems if "no width anywhere" in problem]
    assert [line.rpartition(": ")[2] for line in lines] == (
        [f"1/{thin}/-2"] if thin in kept.values() else []
    )
