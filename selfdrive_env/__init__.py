"""Batched, Gymnasium-compatible road scenes for learning to drive by self-play."""
