"""Features [n, p] of a component's items, wherever they come from: our own runs' kept steps, or elsewhere."""
