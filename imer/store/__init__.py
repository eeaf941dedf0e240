"""The feature store: one HDF5 file, ragged arrays, provenance, one content digest. Published, never modified."""
