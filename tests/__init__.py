PATIENCE = 600.0
"""For all that another process does: longer takes only what hangs, on any machine [s]."""
