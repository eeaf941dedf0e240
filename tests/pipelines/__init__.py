"""Tests of the shipped batch scripts."""
