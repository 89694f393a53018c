"""Lanes, junctions and signs from a plan of nodes and streets."""
