"""Reads OpenDRIVE files: https://www.asam.net/standards/detail/opendrive/."""
