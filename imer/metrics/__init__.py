"""What the numbers mean: metrics on NumPy arrays, their definitions, and nothing that knows about models."""
