"""Sweeps to run, read and copy. A package, so that each example's modules have a name of their own."""
