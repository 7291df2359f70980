"""The self-test finds what was planted, and says so when the pipeline does not."""

import numpy as np
import pytest

from bottleneck import analyze, selftest, workers
from bottleneck.analysis import screen


@pytest.fixture(autouse=True)
def _separate(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_everything_planted_is_found(capsys, tmp_path):
    assert analyze.main(["analyze", "--selftest"]) == 0
    said = capsys.readouterr().out
    assert "22 of 22 as expected" in said and "FAILED" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_pipeline_that_misreads_fails(monkeypatch, capsys, tmp_path):
    """Probes that peek at the test labels read every label, the independent one too."""
    honest = screen.screen

    def peeking(x, targets, penalty=None):
        found = honest(x, targets, penalty)
        return {name: type(r)(**{**vars(r), "bits": np.ones_like(r.bits)}) for name, r in found.items()}

    monkeypatch.setattr(workers, "_pool", None)
    monkeypatch.setattr(workers, "start", lambda: None)  # another process would probe honestly
    monkeypatch.setattr(screen, "screen", peeking)
    monkeypatch.setattr(selftest, "solvable", lambda workdir: [])
    assert analyze.main(["analyze", "--selftest"]) == 1
    said = capsys.readouterr().out
    assert "a label independent of the image" in said and "FAILED" in said
