"""What an agent sees, written as one row of numbers."""
