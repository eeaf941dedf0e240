"""Presets: TOML files of settings, shipped with the package."""
