"""Nets of Caffe as ONNX files, compared with Caffe before they are left: ``python -m solvers.export``."""
