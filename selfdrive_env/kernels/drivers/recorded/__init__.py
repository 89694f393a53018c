"""Drivers who keep to a recorded path: what lies on it, and how fast they go."""
