"""Declared failures: reading the entries and updating them."""
