"""The validator's checks, one module for each thing that they look at.

Each check takes what was read and yields findings; none raises for what it finds in a folder.
"""
