"""Placeholder until merged."""


def load(directory, component):
    raise NotImplementedError


def digest(directory, target):
    raise NotImplementedError
