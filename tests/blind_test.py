"""The blind benchmark's own contracts: what draws are, what truth is, what scores count."""

import dataclasses
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bottleneck import study as study_specs
from bottleneck.analysis.causes import STATUSES
from bottleneck.planning import plan as plans

sys.path.insert(0, str(pathlib.Path(__file__).parent / "benchmarks"))
from blind import oracle, run, scoring, studies, table  # noqa: E402

DRAWS = [studies.draw(number) for number in range(-1, -19, -1)]  # two of each kind
ONE_EACH = {drawn.kind: drawn for drawn in DRAWS}


# Draws


def test_a_draw_follows_from_its_number():
    assert json.dumps(studies.draw(-5).config) == json.dumps(studies.draw(-5).config)
    assert studies.draw(-5).config != studies.draw(-14).config  # the same kind
    assert set(ONE_EACH) == set(studies.KINDS)
    assert {studies.draw(-n).name for n in range(1, 19)} == {drawn.name for drawn in DRAWS}


@pytest.mark.parametrize("drawn", DRAWS, ids=lambda drawn: drawn.name)
def test_every_draw_is_a_study(drawn):
    spec = study_specs.spec(drawn.config)
    assert np.isclose(sum(spec.mixture.weights.values()), 1) and set(drawn.planted) <= set(spec.components)
    assert json.loads(json.dumps(drawn.config))["components"].keys() == spec.components.keys()


def test_known_truths():
    drawn = ONE_EACH["capacity"]
    kept = [name for name, (_, mixture) in drawn.known.items() if mixture]
    assert len(kept) == drawn.config["model"]["width"] and not set(kept) & set(drawn.planted)
    weights, sources = drawn.config["mixture"]["weights"], drawn.config["components"]
    modes = {name: weights[name] * sources[name]["source"]["scale"] for name in weights}
    assert min(modes[name] for name in kept) > max(modes[name] for name in drawn.planted)
    drawn = ONE_EACH["untestable"]
    assert drawn.known == {"null": (0.0, 0.0)} and drawn.ceiling["null"] < 1e-9 < drawn.ceiling["weak"]


# Truth


@pytest.mark.parametrize("kind", ["mixed", "unfinished training"])
def test_fresh_runs_see_the_same_data_and_are_read_on_other_items(kind):
    config = {**ONE_EACH[kind].config, "arms": ("mixture", "direct")}
    config["mixture"] = {**config["mixture"], "competitor": None}
    ours, other = (study_specs.spec(c) for c in (config, oracle.fresh(config)))
    assert not set(ours.run_seeds) & set(other.run_seeds)
    tested = ours.data.test
    for a, b in zip(*(plans.load(spec).components.values() for spec in (ours, other))):
        assert all(a.fingerprints[split] == b.fingerprints[split] for split in ("train", "probe", "val"))
        first, more = a.splits["test"], b.splits["test"]
        assert len(more) == tested + oracle.ITEMS and (more.ids[:tested] == first.ids).all()
        assert (more.fetch(np.arange(3)) == first.fetch(np.arange(3))).all()
        assert len(np.unique(more.ids)) == len(more)


def test_taking_a_cause_away_changes_nothing_else():
    for kind, cause, path, factor in (
        ("unfinished training", "unfinished training", ("train", "steps"), 8),
        ("capacity", "capacity", ("model", "width"), 8),
    ):
        drawn = ONE_EACH[kind]
        without = oracle.removed(drawn, next(iter(drawn.planted)), cause)
        assert without[path[0]][path[1]] == factor * drawn.config[path[0]][path[1]]
        without[path[0]] = drawn.config[path[0]]
        assert without == drawn.config
    drawn = ONE_EACH["competition"]
    (victim,) = drawn.planted
    without = oracle.removed(drawn, victim, "competition")
    assert without["components"][victim].pop("randomise") == (drawn.config["mixture"]["competitor"],)
    assert without == drawn.config
    with pytest.raises(KeyError):
        oracle.removed(drawn, victim, "bad luck")


def test_scarcity_is_as_few_examples_as_the_mixture_draws():
    drawn = ONE_EACH["scarcity"]
    (rare,) = drawn.planted
    train, weight = drawn.config["train"], drawn.config["mixture"]["weights"][rare]
    without = oracle.removed(drawn, rare, "scarcity")
    few = without["components"][rare].pop("sizes")["train"]
    draws = weight * train["steps"] * train["batch"]
    assert 0.8 * draws < few < draws  # some are drawn twice
    assert without == drawn.config


def test_taking_label_conflict_away():
    drawn = ONE_EACH["label conflict"]
    for victim in drawn.planted:
        without = oracle.removed(drawn, victim, "label conflict")
        assert not any("transforms" in component for component in without["components"].values())
    plain = ONE_EACH["mixed"]
    without = oracle.removed(plain, next(iter(plain.config["components"])), "label conflict")
    assert without["mixture"]["label_space"] == "per_component"


def test_taking_dilution_away_keeps_the_proportions_of_the_others():
    drawn = ONE_EACH["dilution"]
    (rare,) = drawn.planted
    before = drawn.config["mixture"]["weights"]
    after = oracle.removed(drawn, rare, "dilution")["mixture"]["weights"]
    assert np.isclose(after[rare], 1 / len(after)) and np.isclose(sum(after.values()), 1)
    ratios = [after[name] / before[name] for name in after if name != rare]
    assert np.allclose(ratios, ratios[0])


def test_truth_of_tables_and_of_closed_forms():
    rng = np.random.default_rng(0)
    seed_effect = 0.1 * rng.standard_normal((2000, 1))  # many seeds: the estimate itself is sure
    direct = np.full((2000, 50), 1.0)
    mixture = 0.5 + seed_effect + 0.4 * rng.standard_normal((2000, 50))
    said = oracle.truth(direct, mixture, 1.0, items=200)
    assert abs(said.margin[0] - 0.4) < 0.02 and said.margin[1] < said.margin[0] < said.margin[2]
    assert abs(said.seed_sd - np.sqrt(0.1**2 + 0.4**2 / 200)) < 0.01
    closed = oracle.truth(direct, mixture, 1.0, items=200, known=(1.0, 0.0))
    assert closed.margin == (0.9, 0.9, 0.9) and closed.closed and closed.apart > 0.5


# Scores


def component(margin=0.3, verdict="lost", direct=0.9, wide=0.01, **others):
    """A record of one component; intervals are `wide` to both sides."""

    def around(value):
        return [value, value - wide, value + wide]

    truth = dict(direct=around(direct), mixture=around(0.9 * direct - margin), margin=around(margin))
    truth |= dict(seed_sd=0.05, entropy=1.0, closed=False, apart=None)
    empty = dict(planted=None, ceiling=None, adjusted_p=0.01, family=2, seeds=5, causes={}, sentence="A sentence.")
    return {**empty, "truth": truth, "verdict": verdict, "margin": around(margin), **others}


def recorded(*components, **others):
    named = {f"c{index}": one for index, one in enumerate(components)}
    return {"draw": 7, "kind": "mixed", "commit": "abc", "cpu_seconds": 60.0, "components": named, **others}


def score(*components):
    return scoring.scored([recorded(*components)])


@pytest.mark.parametrize(
    "truth, given_by",
    [
        ("lost", dict(margin=0.3)),
        ("retained", dict(margin=-0.05)),
        ("on the margin", dict(margin=0.005)),
        ("untestable", dict(margin=0.0, direct=0.0)),
        ("untestable", dict(margin=0.3, ceiling=0.01)),
        ("unclear", dict(margin=0.0, direct=0.025)),
    ],
)
def test_true_sides(truth, given_by):
    assert scoring.true_side(component(**given_by)) == truth


def test_false_verdicts_and_false_untestable():
    each = score(
        component(0.3, "lost"),
        component(0.3, "retained"),
        component(-0.05, "lost"),
        component(0.0, "lost", direct=0.0),
        component(0.3, "inconclusive"),
        component(0.3, "untestable"),
        component(0.0, "untestable", direct=0.0),
        component(0.0, "untestable", direct=0.025),
        component(0.005, "retained"),
        component(0.005, "lost"),
    )
    assert [one.name for one in scoring.false_verdicts(each)] == ["c1", "c2", "c3"]
    assert [one.name for one in scoring.false_untestable(each)] == ["c5"]
    assert [one.name for one in scoring.other_side(each)] == ["c8"]


def test_power_by_size_of_the_loss():
    each = score(
        component(0.03, "inconclusive"), component(0.15, "lost"), component(0.19, "inconclusive"), component(-0.1)
    )
    small, middle, larger, largest = scoring.powers(each)
    assert [(b.count, b.found) for b in (small, middle, larger, largest)] == [(1, 0), (0, 0), (2, 1), (0, 0)]
    assert larger.power == 0.5 and small.ideal < larger.ideal and larger.adjusted < larger.ideal


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([3, 4, 5]), st.floats(0.2, 4.0))
def test_ideal_power_is_that_of_a_t_test(seeds, away):
    one = score(component(0.05 * away, seeds=seeds))[0]
    draws = np.random.default_rng(0).normal(0.05 * away, 0.05, (4000, seeds))
    test = stats.ttest_1samp(draws, 0.0, axis=1)
    simulated = np.mean((test.pvalue < 0.05) & (test.statistic > 0))
    assert abs(scoring.ideal_power(one, 0.05) - simulated) < 0.03


def cause(status, share, gap=0.3):
    said = dict(status=status, share=0.7, half=[0.1, 0.2], evidence="", reason="")
    removed = dict(share=share, gap=[gap, gap - 0.1, gap + 0.1], half=[0.1, 0.2])
    return said if share is None else {**said, "removed": removed}


def test_causes_are_scored_where_fresh_seeds_judged_them():
    each = score(
        component(planted="dilution", causes={"dilution": cause("likely", 0.9), "scarcity": cause("ruled out", None)}),
        component(planted="dilution", causes={"dilution": cause("ruled out", 0.8), "scarcity": cause("named", 0.2)}),
        component(planted="dilution", causes={"dilution": cause("named", 0.3)}),
        component(planted="dilution", causes={"dilution": cause("undecided", 0.9, gap=0.05)}),
    )
    causes = scoring.asked(each)
    assert [one.said["status"] for one in scoring.planted(causes)] == ["likely", "ruled out"]
    assert len(scoring.named(causes)) == 2
    assert [(one.component.name, one.cause) for one in scoring.false_names(causes)] == [
        ("c1", "scarcity"),
        ("c2", "dilution"),
    ]
    text = table.markdown([recorded(*(one.record for one in each))])
    assert "Named or likely: 1 of 2 (50%)" in text and "ruled out: 1 (goal 0)" in text
    assert "false: 2 of 2 (100%)" in text and "commit abc" in text
    assert "draw 7, c1 (mixed): dilution is ruled out" in text and "closes 80%" in text


def test_words_are_the_tools():
    assert scoring.STATUSES == STATUSES


# The command


@pytest.fixture
def command():
    """tests/benchmarks/blind.py, which shares its name with the package it runs."""
    path = pathlib.Path(run.__file__).parents[1] / "blind.py"
    spec = importlib.util.spec_from_file_location("blind_command", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_done_is_not_done_again(command, tmp_path, monkeypatch):
    (tmp_path / f"{studies.draw(-2).name}.json").write_text("{}")
    made = []
    monkeypatch.setattr(command, "child", lambda number, out: made.append(number) or 0)
    monkeypatch.setattr(sys, "argv", ["blind.py", f"--out={tmp_path}", "--first=-3", "--draws=3"])
    assert command.main() == 0 and sorted(made) == [-3, -1]


def test_the_evaluation_is_made_from_committed_files(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "commit", lambda: "abc with changes")
    monkeypatch.setattr(sys, "argv", ["blind.py", f"--out={tmp_path}"])
    with pytest.raises(SystemExit):
        command.main()
    assert "commit first" in capsys.readouterr().err


def test_a_draw_begun_at_another_commit_begins_anew(tmp_path):
    workdir = run.begun(tmp_path / "draw-00", "abc")
    (workdir / "study").mkdir()
    assert (run.begun(workdir, "abc") / "study").is_dir()
    assert not (run.begun(workdir, "abd") / "study").exists()


# One draw, whole


@pytest.fixture
def small(monkeypatch):
    """A draw of seconds, as number -1."""
    sizes = dict(image_size=8, train=200, probe=60, val=40, test=50, split_seed=5000)
    config = {**studies.draw(-7).config, "data": sizes, "train": dict(steps=15, batch=16), "seeds": 2}
    config |= dict(model=dict(name="mlp", width=8, depth=2), arms=("mixture", "direct", "heads"), arms_for="all")
    config["mixture"] = {**config["mixture"], "competitor": None}
    drawn = dataclasses.replace(studies.draw(-7), number=-1, config=config, planted={"c0": "label conflict"})
    monkeypatch.setattr(run, "draw", lambda number: drawn)
    monkeypatch.setattr(oracle, "SEEDS", 2)
    monkeypatch.setattr(oracle, "ITEMS", 60)
    return drawn


def test_a_draw_leaves_a_record_and_goes_on_where_it_was_stopped(small, tmp_path, monkeypatch):
    truths, asked = oracle.Oracle.truths, []
    monkeypatch.setattr(oracle.Oracle, "truths", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.make(-1, tmp_path)
    assert not list(tmp_path.glob("*.json"))
    monkeypatch.setattr(oracle.Oracle, "truths", truths)
    monkeypatch.setattr(run.execute, "one_by_one", _counted(run.execute.one_by_one, asked))
    run.make(-1, tmp_path)
    assert asked and all(seed >= oracle.FRESH for seed in asked)  # the study's own runs were there
    (record,) = table.read(tmp_path)
    assert record["components"].keys() == small.config["components"].keys()
    for one in record["components"].values():
        assert one["verdict"] in scoring.VERDICTS and one["truth"]["entropy"] > 0
    assert "1 draws" in table.markdown([record]) and not (tmp_path / small.name).exists()


def _counted(one_by_one, seeds):
    def counting(fleets, store):
        seeds.extend(task.episode.seed for fleet in fleets for task in fleet)
        return one_by_one(fleets, store)

    return counting
