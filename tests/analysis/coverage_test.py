"""The intervals hold the truth as often as they say, in every regime, and looks keep the error. 300 replicates of
tests/benchmarks/coverage.py, which runs 1,000 of all."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

from bottleneck.analysis import intervals

PATH = pathlib.Path(__file__).parents[1] / "benchmarks" / "coverage.py"
REPLICATES = 300


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name, seeds",
    [
        ("seeds dominant", 3),
        ("items dominant", 5),
        ("residual dominant", 5),
        ("none of the seeds'", 10),
        ("heavy tails", 5),
        ("other seeds", 3),
        ("classes 10:1", 5),
        ("1 shot", 5),
        ("4 shots", 1),
    ],
)
def test_coverage(coverage, name, seeds):
    """The goal, less 3 binomial standard errors of 300 replicates at .95 (.038)."""
    regime = next(r for r in coverage.REGIMES if r.name.startswith(name))
    for row in coverage.measure(regime, seeds, REPLICATES):
        print(row)
        assert row.coverage >= coverage.LOW - 0.038 or row.far <= coverage.FAR + 0.038


def test_an_interval_that_forgets_a_source_misses(coverage, monkeypatch):
    """What the regimes are for: over items alone, or over draws taken for seeds, the truth is missed too often."""

    def items_alone(arms, paired):
        return intervals.two_way(sum(c * table.mean(0) for c, table in arms)[None])

    def draws_as_seeds(arms, paired):
        return intervals.two_way(sum(c * table.reshape(-1, table.shape[-1]) for c, table in arms))

    monkeypatch.setattr(intervals, "contrast", items_alone)
    seeds = coverage.measure(coverage.REGIMES[0], 5, 100)
    monkeypatch.setattr(intervals, "few_shot", draws_as_seeds)
    draws = coverage.measure(next(r for r in coverage.REGIMES if r.name == "16 shots"), 5, 100)
    assert max(row.coverage for row in seeds) < 0.8 and draws[0].coverage < 0.9
    assert not any(row.holds for row in [*seeds, *draws])


def test_looks_keep_the_error(coverage):
    """At most 5 % (and 3 standard errors of 200 studies) over both looks; .05 at each would be more."""
    shares = (0.1, 0.8, 0.1)
    split, unsplit = (coverage.looks(shares, 200, split) for split in (True, False))
    assert split <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200) and split < unsplit


def test_unclear_targets_stay_in_the_family_for_a_reason(coverage):
    kept, left_out = (coverage.families(200, left_out) for left_out in (False, True))
    assert kept <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200) < left_out
