"""Builds the towns that come with the package."""
