import pytest


@pytest.fixture(autouse=True)
def _memory(tmp_path_factory, monkeypatch):
    """What files hold is remembered in a directory of the test's own."""
    monkeypatch.setenv("BOTTLENECK_CACHE", str(tmp_path_factory.mktemp("memory")))
