"""What makes features of sound, pictures and texts: the extractors, and the parts that they are built of."""
