"""Models: dialogues of partly observed modalities in, one prediction an utterance out."""
