"""Data sets that are made by driving: pictures with labels for perception."""
