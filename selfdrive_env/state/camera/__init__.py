"""The structs of camera pictures."""
