"""From actions to motion: jerks, and the bodies that they move."""
