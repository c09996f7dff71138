"""CoreML packages, evaluated without CoreML."""
