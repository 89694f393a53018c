"""Codes of the texels of the ground: a material in four shades, or two materials mixed."""

from __future__ import annotations

import numpy as np

from selfdrive_env.state.arrays import U8
from selfdrive_env.state.camera.scenery import CLEAR, ImageClass, Material

__all__ = ["MIXES", "SHADES", "code_classes", "code_colours", "pair_codes"]

SHADES = 4
"""Of each material that stands alone; the first is its mean."""

MIXES = 8
"""Two materials are mixed in eighths."""

COLOURS = {
    Material.GRASS: (98, 122, 66),
    Material.ASPHALT: (92, 94, 98),
    Material.PAVEMENT: (156, 152, 145),
    Material.KERB: (190, 188, 182),
    Material.WHITE: (236, 236, 230),
    Material.YELLOW: (232, 184, 56),
    Material.GRAVEL: (134, 124, 104),
}

ROUGHNESS = {
    Material.GRASS: 0.16,
    Material.ASPHALT: 0.07,
    Material.PAVEMENT: 0.06,
    Material.GRAVEL: 0.12,
}
"""By how much shades differ from their mean."""

CLASSES = {
    Material.GRASS: ImageClass.TERRAIN,
    Material.ASPHALT: ImageClass.ROAD,
    Material.PAVEMENT: ImageClass.SIDEWALK,
    Material.KERB: ImageClass.SIDEWALK,
    Material.WHITE: ImageClass.MARKING,
    Material.YELLOW: ImageClass.MARKING,
    Material.GRAVEL: ImageClass.TERRAIN,
}

PAINTED = 3
"""Eighths of paint from which a mixture counts as paint."""


def pair_codes() -> U8:
    """Returns the code of each mixture less the eighths of the second material.

    Returns:
        [materials, materials], for a first material that is less than the second.
    """
    count = len(Material)
    out = np.zeros((count, count), np.uint8)
    code = count * SHADES
    for a in range(count):
        for b in range(a + 1, count):
            out[a, b] = code - 1  # from one eighth on
            code += MIXES - 1
    assert code <= CLEAR
    return out


def code_colours() -> U8:
    """Returns red, green and blue of each code, [256, 3]."""
    mean = np.array([COLOURS[one] for one in Material], np.float64)
    out = np.zeros((256, 3))
    steps = (0.0, -1.0, 0.7, 0.3)
    for one in Material:
        for shade in range(SHADES):
            out[one * SHADES + shade] = mean[one] * (1.0 + ROUGHNESS.get(one, 0.0) * steps[shade])
    pairs = pair_codes()
    for a in range(len(Material)):
        for b in range(a + 1, len(Material)):
            for eighths in range(1, MIXES):
                share = eighths / MIXES
                out[pairs[a, b] + eighths] = mean[a] + share * (mean[b] - mean[a])
    return out.clip(0, 255).round().astype(np.uint8)


def code_classes() -> U8:
    """Returns the `ImageClass` of each code, [256]: that of what is most of it, or of paint."""
    out = np.zeros(256, np.uint8)
    for one in Material:
        out[one * SHADES : (one + 1) * SHADES] = CLASSES[one]
    pairs = pair_codes()
    for a in Material:
        for b in range(a + 1, len(Material)):
            for eighths in range(1, MIXES):
                paint = CLASSES[Material(b)] == ImageClass.MARKING
                second = eighths >= (PAINTED if paint else MIXES // 2)
                out[pairs[a, b] + eighths] = CLASSES[Material(b) if second else a]
    return out
