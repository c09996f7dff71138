"""Results files: reading, merging, comparing."""
