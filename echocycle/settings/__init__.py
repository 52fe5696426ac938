"""Everything that can be set: stages, presets, overrides, and their form on disk."""
