"""Metrics of recorded or simulated traffic by definition: a value and its validity a step."""

from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.metrics.maps import road_of_network, with_recorded_edges
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Road, Route
from selfdrive_env.metrics.routes import logged_routes
from selfdrive_env.metrics.table import METRICS, WAYMAX, Definition, compute

__all__ = ["METRICS", "WAYMAX", "Definition", "Metric", "Polylines", "Road", "Route", "compute",
    "logged_routes", "road_of_network", "with_recorded_edges"]  # fmt: skip
