"""SUMO networks changed at random are read, compiled and driven on, or refused cleanly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import budget
from tests.fuzz.test_maps import compiled_kernels, fuzz_documents, without_cache  # noqa: F401
from tests.maps.sumo.nets import crossing, edge, junction, lane, link, net, request, road
from tests.maps.sumo.test_signals import PLAN, program

SEED = 20_265

REQUESTS = "".join(request(k, format(1 << (k + 5) % 12, "012b")) for k in range(12))


def _chain() -> str:
    """Returns roads that follow each other, with all that lanes can have."""
    return net(
        edge(":J_0", lane(":J_0_0", 0, "90,0 95,0"), function="internal"),
        edge(":J_1", lane(":J_1_0", 0, "95,0 100,2"), function="internal"),
        road(
            "a", "A J", "0,0,1 40,0,2 60,9,2 90,0,1", "0,3.2,1 90,3.2,1",
            each={0: {"allow": "passenger bus", "changeLeft": "bus"}, 1: {"endOffset": 2}},
        ),
        road("b", "J B", "100,2,1 101,2,1", width=3.0),
        road("c", "B C", "101,2 190,2", "101,5.2 190,5.2", disallow="pedestrian tram"),
        road("d", "C B", "190,-20 101,-20"),
        road("r", "A B", "0,40 90,40", allow="rail"),
        edge(
            ":J_c0", lane(":J_c0_0", 0, "80,-5 80,9", width=4), function="crossing",
            crossingEdges="a",
        ),
        junction("J", "priority", "a_0 a_1", ":J_1_0"),
        *(junction(*one.split()) for one in ("A dead_end", "B zipper", "C priority")),
        link("a", "b", via=":J_0_0"),
        link(":J_0", "b", via=":J_1_0"),
        link(":J_1", "b"),
        link("a", "b", "1 0", state="m"),
        link("b", "c"),
        link("b", "c", "0 1"),
        link("c", "d", "1 0", dir="t"),
        '<roundabout nodes="A B" edges="a b"/>',
        location="-10.00,5.00",
    )  # fmt: skip


DOCUMENTS = (
    crossing(requests=REQUESTS, states={"n": "m", "s": "s"}),
    crossing("traffic_light", lights=True, head=program(*PLAN, offset=5)),
    crossing("right_before_left", internal=False, lefthand="true"),
    _chain(),
)


def test_changed_sumo_files(tmp_path: Path) -> None:
    fuzz_documents(tmp_path, DOCUMENTS, SEED, budget(200), ".net.xml")


def test_changed_real_files(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "sumo"
    path = folder / "ngsim_peachtree.net.xml"
    if not path.is_file():
        pytest.skip("the shared maps are absent")
    fuzz_documents(tmp_path, (path.read_text(),), SEED + 1, budget(75) // 15, ".net.xml")
