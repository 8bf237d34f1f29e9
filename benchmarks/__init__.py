"""Benchmarks: the same search through this project and through others, and what its parts cost."""
