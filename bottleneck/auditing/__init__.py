"""Audits: which of somebody's components a network that is not ours serves, and what another one would add."""
