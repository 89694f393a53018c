"""The loss and its gradients: by autograd, or on the CPU in one pass, which also acts."""
