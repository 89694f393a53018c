"""Scripted drivers: who chooses the jerk where no policy does."""
