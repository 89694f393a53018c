"""All that knows Numba's inside: how kernels are compiled, kept on disk, and run by threads.

Nothing of Numba's is patched: what differs are a target registered beside its own, and subclasses.
Where a newer Numba breaks this, CONTRIBUTING.md says what to do (`.ci/canary.py` finds out).
"""
