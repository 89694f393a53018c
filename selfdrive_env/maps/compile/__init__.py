"""Turns a `RoadNetwork` into the flat arrays that kernels read."""
