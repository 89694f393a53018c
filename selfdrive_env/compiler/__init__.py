"""All that knows Numba's inside: how kernels are compiled, kept on disk, and run by threads."""
