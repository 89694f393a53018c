"""The rules of the road as compiled functions: one source for CPU threads and CUDA blocks."""
