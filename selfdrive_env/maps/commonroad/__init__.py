"""Reads CommonRoad files: https://commonroad.in.tum.de."""
