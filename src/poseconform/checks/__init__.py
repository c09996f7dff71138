"""The checks that the suites run on a cell."""
