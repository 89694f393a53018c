"""Bodies that a record leads: repeated as it was, kept to its path, or steered along it."""
