"""Conversion to graphs in the operators that PPLNN has."""
