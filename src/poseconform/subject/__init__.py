"""What is judged, and the clients that run it; the only room that knows the toolchain."""
