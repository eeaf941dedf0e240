"""From media and text to features: extractors, and the runner that takes a whole manifest through them."""
