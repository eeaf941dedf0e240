"""From the feature store to what a model reads: arrays, standardisation, splits, batches of dialogues."""
