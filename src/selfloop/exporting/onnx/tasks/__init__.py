"""Trained runs of every task as folders of ONNX files."""
