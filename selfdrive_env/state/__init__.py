"""The arrays of maps and worlds, each declared once with axes, type and unit."""
