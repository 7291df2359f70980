"""Features [n, p] of a component's items, wherever they come from: our own runs' kept steps, or elsewhere."""

from bottleneck import lazy

__getattr__, __dir__ = lazy.modules(__name__)
