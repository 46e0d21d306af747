"""Nets and solvers from any source: read them, check them, let Caffe build them, and give them their inputs."""
