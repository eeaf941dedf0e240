"""Evaluated runs beside each other: which make one method, how much methods differ, and the report of it."""
