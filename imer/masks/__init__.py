"""Simulated missing modalities: drawn once, kept as a file, applied the same way to every method."""
