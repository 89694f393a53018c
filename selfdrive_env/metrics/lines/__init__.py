"""Lines on the ground: polylines, their segments by cell, and the search for the nearest."""
