"""Nets of Caffe as ONNX files, kept only if they agree with Caffe: ``python -m solvers.export``."""
