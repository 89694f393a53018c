"""What rules there are on a map: stop lines, lights and right of way, as arrays."""
