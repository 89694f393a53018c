"""Situations as data: what a world is at its start, and recorded traffic."""
