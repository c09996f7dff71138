"""The folder that shows a failure again, for a bug report."""
