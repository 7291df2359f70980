"""Diagnoses: tasks that apply the analyses to features on disk. One file a kind: what it reads, identity, rows."""
