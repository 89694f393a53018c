"""Codes of frames: each has a colour, a share of classes, and mixtures lie between their parts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from selfdrive_env.images.codes import (
    PARTS,
    class_of_codes,
    colours,
    mixed_code,
    mixtures,
    tables_of,
)
from selfdrive_env.state.images import CHANNEL_CLASSES, EMPTY, Code, GroundClass


def test_codes_of_the_ground_are_apart_and_below_those_of_things() -> None:
    codes = np.unique(mixtures())
    assert codes.max() < min(Code) and max(Code) < EMPTY
    pairs = len(list(itertools.combinations(GroundClass, 2)))
    assert len(codes) == len(GroundClass) + pairs * (PARTS - 1)


def test_a_mixture_lies_between_its_parts_and_belongs_to_the_greater() -> None:
    rgb, classes = colours(), class_of_codes()
    for one, other in itertools.permutations(GroundClass, 2):
        for part in range(PARTS + 1):
            code = mixed_code(one, other, part)
            assert code == mixed_code(other, one, PARTS - part)
            share = part / PARTS
            np.testing.assert_allclose(
                rgb[code], (1.0 - share) * rgb[one] + share * rgb[other], atol=1e-3
            )
            assert classes[code] == (other if share > 0.5 else one)


@pytest.mark.parametrize("colour", ["rgb", "gray", "classes"])
def test_tables_tell_the_same_in_bytes_floats_and_words(colour: str) -> None:
    found = tables_of(colour)
    tint, shade, word = found["tint"], found["shade"], found["word"]
    assert len(tint) == {"rgb": 3, "gray": 1, "classes": len(CHANNEL_CLASSES)}[colour]
    np.testing.assert_allclose(tint, 255.0 * shade, atol=0.51)
    assert (tint[:, EMPTY] == 0).all()
    for channel, values in enumerate(tint[:3]):
        np.testing.assert_array_equal((word >> np.uint32(8 * channel)) & np.uint32(255), values)


def test_things_differ_in_colour_from_each_other_and_from_the_road() -> None:
    rgb = colours()
    shown = [rgb[code] for code in (*Code, GroundClass.ROAD, GroundClass.NOTHING)]
    for one, other in itertools.combinations(shown, 2):
        assert np.abs(one - other).max() > 12.0


def test_in_grey_the_route_differs_from_the_road_and_lights_from_each_other() -> None:
    (grey,) = tables_of("gray")["tint"].astype(int)
    for code in (Code.ROUTE, Code.GOAL, Code.VEHICLE, Code.EGO):
        assert abs(grey[code] - grey[GroundClass.ROAD]) > 40
    lights = [grey[code] for code in (Code.RED, Code.YELLOW, Code.GREEN, Code.STOP_SIGN)]
    for one, other in itertools.combinations(lights, 2):
        assert abs(one - other) >= 60
