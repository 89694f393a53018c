"""Every setting of an environment, what it may be, and what a column of an observation means."""

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.presets import BODY_TYPES, PRESETS, TRAINING_RANGE
from selfdrive_env.config.settings import Settings

__all__ = ["BODY_TYPES", "LAYOUTS", "PRESETS", "TRAINING_RANGE", "ObservationLayout", "Settings"]

Layout = ObservationLayout
"""The earlier name of `ObservationLayout`."""
