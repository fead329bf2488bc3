"""Triton kernels, one file per operation; contracts in t2engine.ops."""
