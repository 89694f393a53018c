"""Environments whose worlds are scenes."""
