"""A synthetic corpus of talking faces, made from a public-domain portrait and a speech synthesiser."""

DEFAULT_UTTERANCES = 280  # about eleven minutes of clips
