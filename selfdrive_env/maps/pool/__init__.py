"""Several maps as one set of arrays, each filled in from the cache when a world is drawn on it."""
