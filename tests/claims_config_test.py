"""configs/claims.py: every study plans in every form, and one runs end to end, shrunken."""

import collections
import pathlib

import numpy as np
import pytest

from bottleneck import config as configs
from bottleneck import execute, sweep
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.claims import Claims
from bottleneck.errors import UserError
from bottleneck.pretraining import Train

FILE = pathlib.Path(__file__).parents[1] / "configs" / "claims.py"
PICTURED = {"warm", "dominoes", "colored"}


def load(arg: str):
    return configs.load(f"{FILE}:{arg}", (), studies.StudySpec, studies.spec_of)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A directory with files of the right shapes and names, and nothing to see in them."""
    directory, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, shape, often in (("mnist", (28, 28), (0, 1)), ("cifar10", (32, 32, 3), (1, 9))):
        labels = np.r_[np.repeat(often, 1400), np.arange(1200) % 10], np.arange(200) % 10
        arrays = {}
        for split, y in zip(("train", "test"), labels, strict=True):
            arrays |= {f"x_{split}": rng.integers(0, 256, (len(y), *shape), np.uint8), f"y_{split}": y}
        np.savez(directory / f"{name}.npz", **arrays)
    return directory


def topics(plan) -> dict[str, set]:
    """topic -> run seeds of its studies."""
    seeds = collections.defaultdict(set)
    for point in plan.points:
        seeds[point.at["point"].partition("_")[0]] |= set(point.plan.study.run_seeds)
    return seeds


@pytest.mark.parametrize("form", ["smoke", "", "full"])
def test_every_study_plans_and_every_claim_reads_something(form, images):
    plan = sweep.plan(load(f"{form},data={images}"))
    judged = [name for task in plan.graph.of(Claims) for name in task.claims]
    assert len(judged) == sum(len(point.plan.study.claims) for point in plan.points)
    assert all(point.plan.study.claims for point in plan.points)
    claims = {claim.says: claim for task in plan.graph.of(Claims) for claim in task.claims.values()}
    assert len(claims) == len(judged)  # what is said is one claim
    reduced = {says.split(",")[0] for says, claim in claims.items() if claim.reduced}
    warm = set() if form == "smoke" else {"CIFAR-10"}
    assert reduced == (set() if form == "full" else {"ColoredMNIST", "MNIST over CIFAR-10", *warm})
    found = topics(plan)
    everything = {"lms5", "ms57", "noisy", "moons", "mnist1d", *PICTURED}
    assert set(found) == (everything - {"noisy", "warm"} if form == "smoke" else everything)
    if form != "smoke":
        assert min(map(len, found.values())) >= 3
    direct = [t for t in plan.graph.of(Train) if t.episode.name.startswith("direct")]
    assert all(t.episode.name == "direct-whole" for t in direct)  # the fresh start: nothing else is trained directly


def test_what_needs_images_is_left_out_and_said_so(capsys):
    plan = sweep.plan(load("smoke"))
    assert not PICTURED & set(topics(plan))
    (line,) = capsys.readouterr().err.splitlines()
    assert "data=DIR" in line and "dominoes, colored" in line
    assert set(topics(sweep.plan(load("smoke,only=moons")))) == {"moons"} and not capsys.readouterr().err


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="one of lms5"):
        load("only=sevens")
    with pytest.raises(UserError, match="not both"):
        load("smoke,full")
    with pytest.raises(UserError, match="mnist.npz and cifar10.npz, for dominoes"):
        load("only=dominoes")


def test_two_moons_end_to_end_shrunken(tmp_path):
    config = load("smoke,only=moons")
    with config.unlocked():
        points = configs.to_dict(config.sweep.points)
        small = dict(seeds=2, data=dict(train=60, test=200, probe=20, val=20), train=dict(steps=30, sampling="full"))
        config.sweep.points = tuple({**point, **small} for point in points)
    assert execute.study(config, tmp_path) == execute.DONE
    claims = row_files.select(row_files.read(tmp_path / "results.jsonl"), metric="claim", point=None)
    assert len(claims) == 12 and {r["n_seeds"] for r in claims} == {2}
    assert len({r["extra"]["says"] for r in claims}) == 12
    assert "spectral decoupling" in (tmp_path / "report.html").read_text()
