"""Rows of hand-made studies, and what a report shows of them."""

import pytest

from bottleneck.report import html
from tests.report import analysed, answered


@pytest.fixture
def study():
    return answered.build


@pytest.fixture(scope="session")
def analysed_rows():
    """Rows of a study with every analysis; not to be changed."""
    return analysed.build_analysed(representations=(("cat5", 3500, 0.08),))


@pytest.fixture(scope="session")
def content(analysed_rows):
    """What its report shows, drawn once for all tests."""
    return html.read(analysed_rows)


@pytest.fixture
def with_analyses():
    return analysed.build_analysed


@pytest.fixture
def sweep_rows():
    """Rows of a sweep."""
    return analysed.sweep
