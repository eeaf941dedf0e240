"""Output heads: what turns the fused features of an utterance into an answer."""
