"""Conversions, references and backend runs of a pytest process, each done once."""
