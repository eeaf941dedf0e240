"""The hostile corpus: files that are broken, lie, or try to make the reader do what it must not."""
