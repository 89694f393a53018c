"""What pictures are drawn from: the ground of maps, shapes of bodies, and what labels say."""
