"""Reads TFRecord files of the Waymo Open Motion Dataset, from the bytes."""
