"""What stands still in camera pictures: ground, bridges, shapes of bodies and lights."""
