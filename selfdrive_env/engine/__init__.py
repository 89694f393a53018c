"""A batch of worlds: its buffers on the CPU or a CUDA device, and the kernels that run on them."""
