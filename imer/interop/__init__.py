"""Other people's files: the only place where a foreign format is known."""
