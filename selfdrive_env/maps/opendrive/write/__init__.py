"""From a road network to an OpenDRIVE file: strips of lanes, curves along them, roads, elements."""
