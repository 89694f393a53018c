"""What a camera picture shows, in numbers: boxes, lanes, and how the camera has moved.

Classes, agents and depths of pixels are written by the kernel; here is what follows from the arrays
of the engine, in double precision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.images import Camera
from selfdrive_env.images.scenery.shapes import body_heights
from selfdrive_env.state.arrays import F64, I64
from selfdrive_env.state.camera.shots import BOX_ALONE, BOX_BOTTOM, BOX_LEFT, BOX_VISIBLE
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import ABSENT

__all__ = ["BoxLabels", "CameraPose", "LaneLabel", "boxes_of", "lanes_of", "motion_between",
    "pose_of", "project"]  # fmt: skip

LANE_REACH = 90.0
"""Lanes are told so far ahead of the camera [m]."""

LANE_BACK = 8.0
"""They begin so far behind the agent's place, where a wide camera may see them [m]."""

HIDDEN = 1.5
"""A point of a lane that lies so much behind what its pixel shows is hidden [m], and by a share."""

HIDDEN_SHARE = 0.08


class CameraPose(NamedTuple):
    """A pinhole camera in the world."""

    place: F64
    """x, y, z [3] [m]."""

    rotation: F64
    """Rows: to the right, down and along the optical axis, in the world, [3, 3]."""

    focal: float
    """[pixels]"""

    width: int
    height: int
    near: float

    @property
    def matrix(self) -> F64:
        """Intrinsic matrix, [3, 3] [pixels]."""
        return np.array(
            [
                [self.focal, 0.0, 0.5 * self.width],
                [0.0, self.focal, 0.5 * self.height],
                [0.0, 0.0, 1.0],
            ]
        )


class BoxLabels(NamedTuple):
    """The agents that a picture shows, nearest first; those without a visible pixel are left out.

    Axes: N agents. Pixels are counted from the upper left corner of the picture, whose pixel (i, j)
    covers [i, i + 1) x [j, j + 1).
    """

    agent: I64
    """Slot, [N]."""

    type: I64
    """Row of `config.BODY_TYPES`, [N]."""

    visible: F64
    """Left, top, right, bottom of the pixels that are seen, [N, 4] [pixels]."""

    amodal: F64
    """The same of the whole body as projected, beyond the picture too, [N, 4] [pixels]."""

    centre: F64
    """Of the body in the frame of the camera: right, down, ahead, [N, 3] [m]."""

    size: F64
    """Length, width, height, [N, 3] [m]."""

    yaw: F64
    """Of the body about the axis down, 0 for one that heads to the right, [N] [rad]."""

    corners: F64
    """In the frame of the camera, [N, 8, 3] [m]."""

    pixels: I64
    """How many of its pixels are seen, [N]."""

    occlusion: F64
    """Share of the pixels it would have alone that something else covers, [N]."""

    truncation: F64
    """Share of `amodal` that lies beyond the picture, [N]."""


class LaneLabel(NamedTuple):
    """A line of a lane: a centre or a boundary."""

    kind: str
    """ "centre" or "boundary"."""

    order: float
    """0 for the centre of the ego's lane, 1 for that of the lane to the right, -1 to the left;
    boundaries lie between: -0.5 is the ego's left one."""

    points: F64
    """In the picture, from near to far, [P, 2] [pixels]."""

    depth: F64
    """[P] [m]"""

    shown: NDArray[np.bool_]
    """Which of the points lie in the picture and not behind something, [P]."""

    junction: NDArray[np.bool_]
    """Which of the points lie within a junction, where no line is painted, [P]."""


def pose_of(engine: Any, camera: Camera, world: int, agent: int) -> CameraPose:
    """Returns where the camera of an agent is.

    Args:
        engine: Of the environment.
        camera: Settings of the view.
        world: Which.
        agent: Slot.
    """
    agents, bodies = engine.agents, engine.bodies
    cos, sin = (float(one[world, agent]) for one in (agents.cos, agents.sin))
    x, y = box_centre(
        float(agents.x[world, agent]), float(agents.y[world, agent]), cos, sin,
        float(bodies.wheelbase[world, agent]),
    )  # fmt: skip
    slope = _slopes(engine, world)[agent]
    yaw, pitch = (
        np.radians(camera.yaw),
        np.radians(camera.pitch) + np.arctan(slope * np.cos(np.radians(camera.yaw))),
    )
    ahead, left, up = camera.position
    heading = np.arctan2(sin, cos) + yaw
    c, s, p, q = np.cos(heading), np.sin(heading), np.cos(pitch), np.sin(pitch)
    return CameraPose(
        place=np.array(
            [
                x + ahead * cos - left * sin,
                y + ahead * sin + left * cos,
                float(agents.z[world, agent]) + up + ahead * slope,
            ]
        ),
        rotation=np.array([[s, -c, 0.0], [c * q, s * q, -p], [c * p, s * p, q]]),
        focal=camera.focal,
        width=camera.width,
        height=camera.height,
        near=camera.near,
    )


def _slopes(engine: Any, world: int) -> F64:
    """Returns by how much the road rises along the heading of each agent, [A]."""
    lanes = engine.lanes
    segment = engine.agents.segment[world].astype(np.int64)
    lane, rows = lanes.segment_lane, lanes.segment
    after = np.minimum(segment + 1, len(lane) - 1)
    before = np.maximum(segment - 1, 0)
    forward = (after != segment) & (lane[after] == lane[segment])
    first = np.where(forward, segment, before)
    last = np.where(forward, after, segment)
    fit = (lane[first] == lane[last]) & (first != last) & (rows[first, SEG_LENGTH] > 0.0)
    rise = rows[last, SEG_Z].astype(np.float64) - rows[first, SEG_Z]
    slope = np.where(fit, rise / np.where(fit, rows[first, SEG_LENGTH], 1.0), 0.0)
    out: F64 = slope * engine.agents.angle_cos[world]
    return out


def project(pose: CameraPose, points: F64) -> tuple[F64, F64]:
    """Returns where points of the world are seen.

    Args:
        pose: The camera.
        points: x, y, z, [..., 3] [m].

    Returns:
        u, v [..., 2] [pixels], of points behind the camera as well; depth [...] [m].
    """
    local = (points - pose.place) @ pose.rotation.T
    depth = local[..., 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    middle = np.array([0.5 * pose.width, 0.5 * pose.height])
    return pose.focal * local[..., :2] / safe[..., None] + middle, depth


def _corners(engine: Any, world: int) -> tuple[F64, F64]:
    """Returns corners of all bodies in the world, [A, 8, 3], and their sizes, [A, 3] [m]."""
    agents, bodies = engine.agents, engine.bodies
    cos, sin = (one[world].astype(np.float64) for one in (agents.cos, agents.sin))
    x, y = box_centre(
        agents.x[world].astype(np.float64), agents.y[world].astype(np.float64), cos, sin,
        bodies.wheelbase[world].astype(np.float64),
    )  # fmt: skip
    height = body_heights()[bodies.type[world]].astype(np.float64)
    size = np.stack([bodies.length[world], bodies.width[world], height], 1).astype(np.float64)
    slope = _slopes(engine, world)
    signs = np.array([[a, b, c] for c in (0.0, 1.0) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])
    local = signs[None] * size[:, None]
    along, aside, up = np.moveaxis(local, -1, 0)
    z = agents.z[world].astype(np.float64)[:, None] + up + along * slope[:, None]
    c, s = cos[:, None], sin[:, None]
    return (
        np.stack(
            [x[:, None] + along * c - aside * s, y[:, None] + along * s + aside * c, z], axis=-1
        ),
        size,
    )


def _outline(pose: CameraPose, corners: F64) -> F64:
    """Returns left, top, right and bottom of a box as projected, cut at the near plane, [4]."""
    edges = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]
    local = (corners - pose.place) @ pose.rotation.T
    points = [p for p in local if p[2] >= pose.near]
    for a, b in edges:
        if (local[a, 2] >= pose.near) != (local[b, 2] >= pose.near):
            share = (pose.near - local[a, 2]) / (local[b, 2] - local[a, 2])
            points.append(local[a] + share * (local[b] - local[a]))
    if not points:
        return np.full(4, np.nan)
    seen = np.array(points)
    u = pose.focal * seen[:, 0] / seen[:, 2] + 0.5 * pose.width
    v = pose.focal * seen[:, 1] / seen[:, 2] + 0.5 * pose.height
    return np.array([u.min(), v.min(), u.max(), v.max()])


def boxes_of(engine: Any, pose: CameraPose, world: int, seen: NDArray[np.int32]) -> BoxLabels:
    """Returns the boxes of the agents that a picture shows.

    Args:
        engine: Of the environment.
        pose: Of the camera.
        world: Which.
        seen: `Shots.box` of the row, [A, columns].
    """
    corners, size = _corners(engine, world)
    local = (corners - pose.place) @ pose.rotation.T
    centre = local.mean(axis=1)
    agents = np.flatnonzero(seen[:, BOX_VISIBLE] > 0)
    agents = agents[np.argsort(centre[agents, 2], kind="stable")]
    amodal = np.array([_outline(pose, corners[one]) for one in agents]).reshape(-1, 4)
    visible = seen[agents, BOX_LEFT : BOX_BOTTOM + 1].astype(np.float64)
    visible[:, 2:] += 1.0
    shown = amodal.clip(0.0, [pose.width, pose.height] * 2)
    whole = (amodal[:, 2:] - amodal[:, :2]).prod(axis=1)
    part = (shown[:, 2:] - shown[:, :2]).clip(0.0).prod(axis=1)
    alone = np.maximum(seen[agents, BOX_ALONE], 1)
    ahead = local[agents][:, [2, 3]].mean(axis=1) - local[agents][:, [0, 1]].mean(axis=1)
    return BoxLabels(
        agent=agents,
        type=engine.bodies.type[world, agents].astype(np.int64),
        visible=visible,
        amodal=amodal,
        centre=centre[agents],
        size=size[agents],
        yaw=np.arctan2(-ahead[:, 2], ahead[:, 0]),
        corners=local[agents],
        pixels=seen[agents, BOX_VISIBLE].astype(np.int64),
        occlusion=(1.0 - seen[agents, BOX_VISIBLE] / alone).clip(0.0, 1.0),
        truncation=(1.0 - part / np.maximum(whole, 1e-9)).clip(0.0, 1.0),
    )


def lanes_of(
    engine: Any, pose: CameraPose, world: int, agent: int, depth: NDArray[np.float32]
) -> list[LaneLabel]:
    """Returns the lane of an agent and those beside it: centres and boundaries, from left to right.

    A lane goes on over the successor that turns least, up to 90 m ahead.

    Args:
        engine: Of the environment.
        pose: Of the camera.
        world: Which.
        agent: Slot.
        depth: Of the picture, [H, W] [m].
    """
    lanes = engine.lanes
    segment = int(engine.agents.segment[world, agent])
    if engine.agents.status[world, agent] == ABSENT:
        return []
    s = float(engine.agents.s[world, agent])
    places = {0: int(lanes.segment_lane[segment])}
    for step, beside in ((-1, lanes.left), (1, lanes.right)):
        order = 0
        while (lane := int(beside[places[order]])) >= 0 and abs(order) < 4:
            order += step
            places[order] = lane
    found = []
    for order in sorted(places):
        centre, left, right, junction = _lines(lanes, places[order], s)
        if len(centre) < 2:
            continue
        lines = [("boundary", order - 0.5, left), ("centre", float(order), centre)]
        if order == max(places):
            lines.append(("boundary", order + 0.5, right))
        found += [_label(pose, depth, kind, place, line, junction) for kind, place, line in lines]
    return [one for one in found if one.shown.any()]


def _lines(lanes: Any, lane: int, s: float) -> tuple[F64, F64, F64, NDArray[np.bool_]]:
    """Returns centre and boundaries of a lane and what follows it, [P, 3] each [m].

    The last are the points that lie within junctions, [P].
    """
    rows: list[NDArray[np.float32]] = []
    junction: list[NDArray[np.bool_]] = []
    left_over, first, seen = LANE_REACH + LANE_BACK, s - LANE_BACK, set[int]()
    while left_over > 0.0 and lane not in seen:
        seen.add(lane)
        begin, end = lanes.segment_first[lane : lane + 2].tolist()
        part = lanes.segment[begin:end]
        ends = np.cumsum(part[:, SEG_LENGTH])
        part = part[ends > first]
        part = part[: max(1, int(np.ceil(left_over)))]
        rows.append(part)
        junction.append(np.full(len(part), lanes.junction[lane] >= 0))
        left_over -= float(part[:, SEG_LENGTH].sum())
        first = 0.0
        nexts = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        if not len(nexts):
            break
        lane = int(nexts[np.argmin(np.abs(lanes.turn[nexts]))])
    row = np.concatenate(rows).astype(np.float64)
    x, y, z = row[:, SEG_X], row[:, SEG_Y], row[:, SEG_Z]
    out = []
    for offset in (0.0, row[:, SEG_LEFT], -row[:, SEG_RIGHT]):
        out.append(np.stack([x - offset * row[:, SEG_SIN], y + offset * row[:, SEG_COS], z], 1))
    return out[0], out[1], out[2], np.concatenate(junction)


def _label(
    pose: CameraPose,
    depth: NDArray[np.float32],
    kind: str,
    order: float,
    line: F64,
    junction: NDArray[np.bool_],
) -> LaneLabel:
    """Returns a line of the world as the picture has it."""
    points, away = project(pose, line)
    ahead = away >= pose.near
    points, away = points[ahead], away[ahead]
    i, j = np.floor(points).clip(-1e6, 1e6).astype(np.int64).T
    shown = (i >= 0) & (i < pose.width) & (j >= 0) & (j < pose.height)
    behind = depth[j.clip(0, pose.height - 1), i.clip(0, pose.width - 1)]
    hidden = away > behind + np.maximum(HIDDEN, HIDDEN_SHARE * away)
    return LaneLabel(kind, order, points, away, shown & ~hidden, junction[ahead])


def motion_between(before: CameraPose, after: CameraPose) -> tuple[F64, F64]:
    """Returns how a camera has moved: p_after = rotation @ p_before + translation.

    Args:
        before: Pose at one picture.
        after: Pose at a later one.

    Returns:
        Rotation [3, 3] and translation [3] [m], in the frame of the camera.
    """
    rotation = after.rotation @ before.rotation.T
    return rotation, after.rotation @ (before.place - after.place)
