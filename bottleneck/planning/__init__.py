"""Planning: from a study to the graph of its tasks. Nothing here trains, probes or writes."""
