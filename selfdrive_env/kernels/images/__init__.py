"""Pictures that agents observe."""
