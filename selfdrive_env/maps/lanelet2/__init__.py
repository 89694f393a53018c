"""Lanelet2 maps: OSM files of lanelets, and the JSON files of stop lines and lights beside them."""
