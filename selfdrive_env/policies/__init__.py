"""Trained policies as drivers: their files, and how they drive without torch."""
