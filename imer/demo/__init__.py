"""A synthetic corpus of talking faces, made from a public-domain portrait and a speech synthesiser."""
