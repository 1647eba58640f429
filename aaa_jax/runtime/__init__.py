"""Devices, processes, signals, hangs, the progress line. Knows nothing of AAA."""
