"""Published results in a study: what they read, that nothing more is trained for them, and what is made of them."""

import dataclasses

import ml_collections
import numpy as np
import pytest

from bottleneck import analyze, execute, sweep
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.analysis import claims as judging
from bottleneck.claims import Claims, ClaimSpec, ReadingSpec
from bottleneck.errors import UserError
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import Probe, read_head
from bottleneck.store import Store
from tests import tiny

COLOUR = dict(source=dict(name="factors", reliability=dict(colour=1.0)))
THREE = dict(members="mixture/*@last:features", n=3, combine="average")
PLAIN = dict(target="plain")
CLAIMS = dict(
    learned=dict(says="colour is learned", reads=PLAIN, published=100.0, sd=0.1, source="nobody, table 1"),
    nothing_else=dict(
        says="without it nothing is left", reads=dict(target="shuffled"), metric="auc", published=50.0, source="nobody"
    ),
    ensemble=dict(says="three do not help", reads=dict(target="shuffled", arm="three"), metric="auc", below=75.0),
    drop=dict(
        says="it all hangs on colour",
        reads=PLAIN,
        minus=dict(target="shuffled"),
        published=50.0,
        source="nobody",
        reduced="8 pixels",
        above=20.0,
    ),
    probed=dict(says="what a probe finds", reads=dict(target="shuffled", protocol="nonlinear_probe")),
)


def toy(**changes) -> ml_collections.ConfigDict:
    """One component, its variant without the feature, three seeds, and no direct training."""
    config = tiny.get_config("steps=40")
    del config["components"], config["mixture"], config["targets"]
    config.update(seeds=3, arms=("mixture",))
    config.probe = dict(protocols=("head", "nonlinear_probe"), arms=("mixture",))
    config.components = dict(plain=COLOUR)
    config.mixture = dict(weights=dict(plain=1.0))
    config.targets = dict(shuffled=dict(**COLOUR, randomise=("colour",)))
    config.representations = dict(three=THREE)
    config.claims = CLAIMS
    config.data.test = 200
    with config.ignore_type():
        for key, value in changes.items():
            config[key] = value
    return config


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(work directory, config) of the toy study, carried out."""
    workdir = tmp_path_factory.mktemp("claims")
    assert execute.study(toy(), workdir) == execute.DONE
    return workdir, toy()


def test_every_claim_is_a_row_with_its_judgement(done):
    rows = row_files.select(row_files.read(done[0] / "results.jsonl"), metric="claim")
    by_name = {r["extra"]["claim"]: r for r in rows}
    assert set(by_name) == set(CLAIMS)
    for name, r in by_name.items():
        spec = studies.spec(done[1]).claims[name]
        low, high = r["ci95"]
        assert low <= r["value"] <= high and r["unit"] == "points" and r["n_examples"] >= 200
        expected = spec.band.judge(low, high) if spec.band and r["n_seeds"] > 1 else judging.UNDECIDED
        expected = expected if spec.band else judging.MEASURED
        assert r["extra"]["status"] == expected and r["extra"]["status"] in r["extra"]["sentence"]
    assert by_name["learned"]["extra"]["band"] == [98.0, 102.0] and by_name["learned"]["n_seeds"] == 3
    assert by_name["drop"]["extra"]["status"] == "same direction" and "8 pixels" in by_name["drop"]["extra"]["sentence"]
    assert by_name["ensemble"]["n_seeds"] == 1 and by_name["ensemble"]["extra"]["networks"] == 3
    assert "over the items of one set of 3 networks alone" in by_name["ensemble"]["extra"]["sentence"]
    assert by_name["learned"]["extra"]["networks"] == by_name["drop"]["extra"]["networks"] == 3
    assert by_name["probed"]["extra"]["status"] == "measured"
    assert "Published results" in (done[0] / "report.html").read_text()


def test_an_ensemble_averages_what_the_heads_predict(done):
    workdir, config = done
    plan, store = plans.plan(studies.spec(config)), Store(workdir)
    heads = [p for p in plan.graph.of(Probe) if (p.protocol, p.target) == ("head", "shuffled")]
    (three,) = (p for p in heads if p.arm == "three")
    singles = [p.classifier(store)["test"].astype(np.float64) for p in heads if p.arm == "mixture"]
    mean = np.mean([np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in singles], axis=0)
    np.testing.assert_allclose(np.exp(three.classifier(store)["test"]), mean, rtol=1e-6)
    scores = read_head(three.classifier(store), three)
    assert np.array_equal(scores.correct, mean.argmax(1) == three.labels["test"])
    assert np.array_equal(store.items(three)["correct"][0], scores.correct)


def test_a_non_linear_probe_is_measured_against_the_null_of_all_others(done):
    workdir, config = done
    plan, store = plans.plan(studies.spec(config)), Store(workdir)
    probe = next(p for p in plan.graph.of(Probe) if (p.protocol, p.target) == ("nonlinear_probe", "plain"))
    bits, most = store.items(probe)["information"][0], -np.log2(probe.null[probe.labels["test"]])
    assert (bits <= most + 1e-9).all() and bits.mean() > 0.9 * most.mean()  # colour is all there is to know
    (loss,) = [r["value"] for r in store.rows(probe) if r["split"] == "val"]
    assert 0 <= loss < 0.1


def test_no_network_is_trained_on_a_target_without_direct():
    plan = plans.plan(studies.spec(toy()))
    assert {t.episode.name for t in plan.graph.of(Train)} == {"mixture"} and len(plan.graph.of(Train)) == 3
    assert not any(p.protocol == "linear_probe" for p in plan.graph.of(Probe))


def test_direct_training_on_a_lone_component_is_the_mixture_s_run():
    config = toy(arms=("mixture", "direct"), targets={}, claims={}, probe=dict(protocols=("head", "linear_probe")))
    assert len(plans.plan(studies.spec(config)).graph.of(Train)) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(arms=("direct",)), "'mixture' among them"),
        (dict(arms=("mixture", "longer")), "interventions are judged against it"),
        (dict(analysis=dict(kinds=("ladder",))), "analyses are judged"),
        (dict(seeds=(3, 6)), "looks are judged"),
        (dict(arms=("mixture", "direct")), "probe.protocols.*verdicts are about it"),
        (dict(probe=dict(protocols=())), "at least one"),
        (dict(representations=dict(three=dict(THREE, members="direct/*@last:features"))), "sources among mixture"),
    ],
)
def test_what_needs_direct_training_is_refused_without_it(changes, said):
    with pytest.raises(UserError, match=said):
        plans.plan(studies.spec(toy(**changes)))


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (
            dict(reads=dict(target="other")),
            r"claims.one.reads='mixture by head on other': expected what the",
        ),
        (dict(reads=dict(target="plain", arm="four")), r"three by head"),
        (dict(reads=PLAIN, minus=dict(target="shuffled", arm="three")), r"claims.one.minus=1: expected as many.*: 3"),
        (dict(reads=dict(target="plain", protocol="nonlinear_probe"), metric="auc"), r"claims.one.metric='auc'"),
        (dict(reads=PLAIN, published=3.0), r"claims.one.source="),
        (dict(reads=PLAIN, sd=3.0), r"claims.one.sd=3.0"),
        (dict(reads=PLAIN, published=3.0, source="me", reduced="all"), r"claims.one.above=None.*reduced"),
        (dict(reads=PLAIN, published=3.0, source="me", above=2.0), r"claims.one.above=2.0.*reduced"),
        (dict(reads=PLAIN, above=3.0, below=2.0), r"claims.one.below=2.0"),
    ],
)
def test_a_mistake_is_one_line(claim, said):
    with pytest.raises(UserError, match=said) as met:
        plans.plan(studies.spec(toy(claims=dict(one=dict(says="this", **claim)))))
    assert "\n" not in str(met.value)


def test_a_claim_is_keyed_by_what_it_says_and_reads():
    keys = {next(iter(plans.plan(studies.spec(toy(**c))).graph.of(Claims))).key for c in ({}, {}, {"claims": CLAIMS})}
    assert len(keys) == 1
    other = dict(CLAIMS, learned=dict(CLAIMS["learned"], sd=0.2))
    assert next(iter(plans.plan(studies.spec(toy(claims=other))).graph.of(Claims))).key not in keys


def test_bands_stand_in_the_claim():
    claim = ClaimSpec("so", ReadingSpec("plain"), "me", published=91.08, sd=0.43)
    assert (claim.band.low, claim.band.high, claim.band.inside) == (89.08, 93.08, "reproduced")
    reduced = dataclasses.replace(claim, reduced="fewer images", above=80.0)
    assert (reduced.band.low, reduced.band.high, reduced.band.inside) == (80.0, np.inf, "same direction")


def two_studies(config) -> ml_collections.ConfigDict:
    """The toy study, and another one that shares neither components nor model with it, as named points."""
    own = ("components", "mixture", "targets", "representations", "claims", "model")
    whole = {key: config[key].to_dict() for key in own}
    other = dict(
        components=dict(ground=dict(source=dict(name="factors", reliability=dict(background=1.0)))),
        mixture=dict(weights=dict(ground=1.0)),
        model=dict(name="mlp", width=4, depth=1),
        claims=dict(ground=dict(says="the background is learned", reads=dict(target="ground"), above=70.0)),
    )
    both = ml_collections.ConfigDict({key: value for key, value in config.items() if key not in own})
    both.sweep = dict(points=(dict(point="colour", **whole), dict(point="ground", **other)))
    return both


def test_studies_of_one_config_with_nothing_in_common(done, capsys):
    """Whole studies as named points: what they share is trained once, and all claims are on one page."""
    workdir, config = done
    both = two_studies(config)
    plan = sweep.plan(both)
    assert [p.at for p in plan.points] == [{"point": "colour"}, {"point": "ground"}]
    assert len(plan.graph.of(Train)) == 6 and plan.points[1].plan.study.targets == {}
    assert execute.study(both, workdir, dry_run=True) == execute.DONE
    assert "2 points" in capsys.readouterr().out
    trained = {path.name for path in workdir.glob("runs/*")}
    assert execute.study(both, workdir) == execute.DONE
    assert len({path.name for path in workdir.glob("runs/*")} - trained) == 3
    out = capsys.readouterr().out
    assert "the background is learned" in out and "colour is learned" in out and "Of 6 claims" in out
    rows = row_files.select(row_files.read(workdir / "results.jsonl"), metric="claim", arm="mixture")
    assert {"point": "ground"} in [r["point"] for r in rows if r["extra"]["claim"] == "ground"]
    assert analyze.main(["analyze", str(workdir)]) == 0 and "Of 6 claims" in capsys.readouterr().out


def test_shards_end_in_the_same_claims(done, tmp_path):
    workdir, config = done
    both = two_studies(config)
    ended = [execute.study(both, tmp_path, shard=(i % 2, 2)) for i in range(4)]
    assert ended[-1] == execute.DONE and execute.UNFINISHED in ended

    def judged(directory):
        rows = row_files.select(row_files.read(directory / "results.jsonl"), metric="claim")
        return {r["extra"]["claim"]: (r["value"], r["ci95"], r["extra"]["status"]) for r in rows}

    found, expected = judged(tmp_path), judged(workdir)
    assert {*found} == {*CLAIMS, "ground"} and all(found[name] == expected[name] for name in CLAIMS)
