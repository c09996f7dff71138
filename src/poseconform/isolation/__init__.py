"""Child processes, the artifact cache, the device lock and room on the disk."""
