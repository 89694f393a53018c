"""What starts are made of: bodies, room that they need, and bodies that stand for good."""
