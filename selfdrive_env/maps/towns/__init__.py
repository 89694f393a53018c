"""The built-in towns: generated from short plans, no file is read."""

BUILT_IN: tuple[str, ...] = ("riverside", "hillcrest", "harbour")
"""Names that `generate` knows."""
