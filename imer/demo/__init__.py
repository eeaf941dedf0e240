"""A synthetic corpus of talking faces, made from a public-domain portrait and a speech synthesiser."""

DEFAULT_UTTERANCES = 280  # about a quarter of an hour of clips
