"""Pictures that agents observe, drawn from the arrays of a step."""
