"""From kept steps to rows: one module per analysis. Each reads checkpoints through the store and computes by `analysis`."""
