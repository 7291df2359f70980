"""Measure what pretraining on a mixture costs each of its components, and why."""

__version__ = "0.1.0"
