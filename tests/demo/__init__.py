"""Tests of the demo corpus."""
