"""Arithmetic that knows no world: elementary functions, geometry, random numbers."""
