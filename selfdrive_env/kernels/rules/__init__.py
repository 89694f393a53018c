"""Rules of the road: lights, stop lines, right of way."""
