"""Nets and solvers, whoever wrote them: read, checked, made by Caffe, fed."""
