"""From trained models to numbers one can trust: conditions, pooled predictions, intervals, tables, plots."""
