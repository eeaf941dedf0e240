"""Baselines: what a new method has to beat, trained and judged by the same code on the same data and masks."""
