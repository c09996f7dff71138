"""The pytest plugin: options, collection, scheduling, recording and progress."""
