"""Measures as functions of arrays: `bottleneck.analysis.gap.gap` and the like."""

from bottleneck import lazy

__getattr__, __dir__ = lazy.modules(__name__)
