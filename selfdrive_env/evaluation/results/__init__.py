"""What evaluations counted: the figures, comparisons, files of it, and several added up."""
