"""Clips and their manifest: from rows of a table to waveforms and frames."""
