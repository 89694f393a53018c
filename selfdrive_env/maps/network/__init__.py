"""What every map reader needs between its file and a finished `RoadNetwork`."""
