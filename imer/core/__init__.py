"""What every other part stands on: errors, files, settings, seeds, the registry. Imports no heavy library."""
