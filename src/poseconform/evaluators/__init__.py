"""What the judge evaluates itself: MIL programs, quantized layers, ONNX graphs."""
