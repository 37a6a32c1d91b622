"""ONNX: a run's network as files that ONNX Runtime runs."""
