"""Longitude and latitude to metres: the transverse Mercator projection of UTM.

Maps of lanelets are mostly made in metres and written in degrees by this projection, so it gives
back the metres that they were made in. They differ from those on the ground by a scale of 0.9996 in
the middle of a zone to 1.001 at its rim. The series of Krüger (1912) to the fourth power of the
third flattening is exact to less than a micrometre within a zone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_LATITUDE", "project", "zone_of"]

Floats = NDArray[np.float64]

MAX_LATITUDE = 84.0
"""UTM ends here, north and south [deg]."""

AXIS = 6_378_137.0
"""Semi-major axis of WGS 84 [m]."""

FLATTENING = 1.0 / 298.257223563

SCALE = 0.9996
"""On the middle meridian of a zone."""

FALSE_EASTING = 500_000.0
"""[m]"""

FALSE_NORTHING = 10_000_000.0
"""On the southern hemisphere [m]."""

N = FLATTENING / (2.0 - FLATTENING)
RADIUS = AXIS / (1.0 + N) * (1.0 + N**2 / 4.0 + N**4 / 64.0)
ECCENTRICITY = 2.0 * np.sqrt(N) / (1.0 + N)
SERIES = (
    N / 2.0 - 2.0 / 3.0 * N**2 + 5.0 / 16.0 * N**3 + 41.0 / 180.0 * N**4,
    13.0 / 48.0 * N**2 - 3.0 / 5.0 * N**3 + 557.0 / 1440.0 * N**4,
    61.0 / 240.0 * N**3 - 103.0 / 140.0 * N**4,
    49561.0 / 161280.0 * N**4,
)


def zone_of(longitude: float) -> int:
    """Returns the zone of UTM, 1 to 60, without the exceptions for Norway.

    Args:
        longitude: [deg]
    """
    return int(np.floor((longitude + 180.0) / 6.0)) % 60 + 1


def project(latitude: Floats, longitude: Floats, zone: int, south: bool) -> Floats:
    """Returns easting and northing in a zone of UTM, [P, 2] [m].

    Args:
        latitude: [P] [deg]
        longitude: Near the zone, [P] [deg].
        zone: 1 to 60.
        south: Whether northings count from the south pole's side of the equator.
    """
    away = np.radians(np.remainder(longitude - (6.0 * zone - 183.0) + 180.0, 360.0) - 180.0)
    sine = np.sin(np.radians(latitude))
    t = np.sinh(np.arctanh(sine) - ECCENTRICITY * np.arctanh(ECCENTRICITY * sine))
    xi = np.arctan2(t, np.cos(away))
    eta = np.arctanh(np.sin(away) / np.hypot(1.0, t))
    east, north = eta.copy(), xi.copy()
    for power, factor in enumerate(SERIES, 1):
        east += factor * np.cos(2 * power * xi) * np.sinh(2 * power * eta)
        north += factor * np.sin(2 * power * xi) * np.cosh(2 * power * eta)
    east = FALSE_EASTING + SCALE * RADIUS * east
    north = SCALE * RADIUS * north + (FALSE_NORTHING if south else 0.0)
    return np.stack([east, north], axis=-1)
