"""Lanelet2 maps and the files beside them, changed at random: read and driven on, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import MapError
from tests.fuzz.harness import budget, fuzz
from tests.fuzz.test_maps import compiled_kernels, use_map, without_cache  # noqa: F401
from tests.fuzz.values import changed_json
from tests.fuzz.xml_mutations import as_bytes, changed
from tests.maps.lanelet2.osm import Map, crossing, straight
from tests.maps.lanelet2.test_rules import CYCLE, EAST, NORTH, town

SEED = 20_263

SMALL_FILES = ("karlsruhe_mapping_example.osm", "carla_Town02/carla_Town02.osm")

MEMBERS = (("relation", "1", "right_of_way"), ("relation", "4", "yield"))


def _signed() -> Map:
    """A crossing with signs, an all-way stop, a crosswalk, an area, heights and both directions."""
    made = crossing()
    made.way("sign", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype="de206")
    made.way("limit", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype="de274-30")
    made.rule("W", "right_of_way", *MEMBERS, ("way", "sign", "refers"), ("way", "line", "ref_line"))
    made.rule("A", "all_way_stop", *(("relation", name, "yield") for name in "14"))
    made.rule("V", "speed_limit", ("way", "limit", "refers"))
    made.rule("M", "road_marking", ("way", "line", "refers"))
    for k, (x0, x1) in enumerate(((60.0, 90.0), (90.0, 130.0))):
        made.way(f"t{k}", [(x0, 2.0), (x0 + 9.0, 2.5, 1.0), (x1, 2.0, 3.0)])
        straight(made, f"u{k}", x0, x1, -2.0, type="line_thin", subtype="dashed")
        straight(made, f"v{k}", x0, x1, -5.5)
        made.lanelet(f"2{k}", f"t{k}", f"u{k}", "V", one_way="no", speed_limit="20 mph")
        made.lanelet(f"3{k}", f"u{k}", f"v{k}", "M", participant__vehicle="yes")
        made.lanelet(f"4{k}", f"t{k}", f"v{k}", subtype="crosswalk")
    made.relation("area", [("way", "t0", "outer")], {"type": "multipolygon"})
    return made


def _south() -> Map:
    """Twenty lanelets in a row whose y points south."""
    made = Map()
    for k in range(20):
        straight(made, f"l{k}", 20 * k, 20 * k + 20, -2.0)
        straight(made, f"r{k}", 20 * k, 20 * k + 20, 2.0)
        made.lanelet(str(k), f"l{k}", f"r{k}")
    return made


def _documents(folder: Path) -> tuple[str, ...]:
    return tuple(made.text() for made in (crossing(), _signed(), town(folder), _south()))


def _fuzz(folder: Path, documents: tuple[str, ...], seed: int, count: int) -> None:
    """Reads documents that are changed at random; at least a fifth must stay usable."""

    def make(random: np.random.Generator) -> tuple[bytes, str]:
        content, suffix = as_bytes(changed(str(random.choice(documents)), random), random)
        return content, suffix.replace(".xodr", ".osm")

    def use(made: tuple[bytes, str], number: int) -> str:
        path = folder / f"map{made[1]}"
        path.write_bytes(made[0])
        return use_map(path, number)

    ends = fuzz(make, use, seed=seed, count=count, allowed=(MapError,))
    if ends.total() >= 50:
        assert ends["MapError"]
        assert ends["read"] > 0.2 * ends.total()


def test_changed_files(tmp_path: Path) -> None:
    _fuzz(tmp_path, _documents(tmp_path), SEED, budget(200))


def test_changed_real_files(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "lanelet2"
    files = [folder / name for name in SMALL_FILES if (folder / name).is_file()]
    if not files:
        pytest.skip("the shared maps are absent")
    _fuzz(tmp_path, tuple(p.read_text() for p in files), SEED + 1, budget(75) // 15)


def test_changed_files_beside(tmp_path: Path) -> None:
    path = tmp_path / "map.osm"
    path.write_text(town(tmp_path).text())
    whole = {
        "map_stoplines.json": [EAST, NORTH],
        "map_traffic_light_controller.json": [CYCLE],
    }

    def make(random: np.random.Generator) -> dict[str, str]:
        chosen = str(random.choice(list(whole)))
        return {
            name: json.dumps(changed_json(value, random) if name == chosen else value)
            for name, value in whole.items()
        }

    def use(made: dict[str, str], number: int) -> str:
        for name, text in made.items():
            (tmp_path / name).write_text(text)
        return use_map(path, number)

    ends = fuzz(make, use, seed=SEED + 2, count=budget(200) // 2, allowed=(MapError,))
    assert ends.total() < 50 or ends["MapError"]
