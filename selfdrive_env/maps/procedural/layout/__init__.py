"""Where streets run, and what they are made of."""
