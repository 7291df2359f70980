"""Moved to features.foreign; the name stays until plan, store and evaluation no longer use it."""

from bottleneck.features.foreign import digest, load, save  # noqa: F401
