"""The record of a cell and its outcome."""
