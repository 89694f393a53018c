"""Settings of cameras: what they come to, and what is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from selfdrive_env.config.images import Camera
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.camera.scenery import ImageClass


def test_a_camera_has_the_focal_length_of_its_field_of_view() -> None:
    assert Camera().focal == pytest.approx(80.0)
    wide = Camera(size=(120, 320), field_of_view=120.0)
    assert wide.focal == pytest.approx(160.0 / math.tan(math.radians(60.0)))
    assert wide.shape == (120, 320, 3) and wide.frame_bytes == 3 * 120 * 320


def test_a_number_stands_for_a_range_of_one_value() -> None:
    camera = Camera(sun=30, fog=0.01)  # type: ignore[arg-type]
    assert camera.sun == (30.0, 30.0) and camera.fog == (0.01, 0.01)


def test_forms_differ_in_channels_and_in_what_a_frame_takes() -> None:
    assert Camera(colour="gray").frame_bytes == Camera(colour="classes").frame_bytes == 90 * 160
    assert Camera(colour="classes").channels == len(ImageClass)
    assert Camera().label_bytes == 0
    assert Camera(labels=True).label_bytes == Camera(colour="classes").label_bytes == 9 * 90 * 160


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"field_of_view": 5}, r"observation: field_of_view must be .*10.* to 150.*got 5"),
        ({"position": [0.0, 1.5]}, r"position must be \[ahead, left, up\] in metres, got"),
        ({"position": [0.0, 0.0, -1.0]}, r"position must be"),
        ({"pitch": 120.0}, r"pitch must be .*got 120"),
        ({"sun": [60, 20]}, r"sun must rise from low to high, got \[60, 20\]"),
        ({"fog": [0.0, 0.1, 0.2]}, r"fog must be a number or \[low, high\]"),
        ({"noise": -1}, r"noise must be .*got -1"),
        ({"labels": 1}, r"labels must be True or False, got 1"),
        ({"span": 64.0}, r"of kind 'camera' has no setting 'span'; its settings are size"),
    ],
)
def test_wrong_values_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_keywords({"observation": {"kind": "camera", **settings}})
