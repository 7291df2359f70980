"""On planted sources an audit says what is planted: a lacks one label, b the other, both together have both."""

import html
import itertools

import numpy as np
import pytest

from bottleneck import execute, results
from bottleneck.analysis import served
from bottleneck.analysis.probes import linear_probe
from bottleneck.features import foreign
from bottleneck.report import audit
from bottleneck.rows import select
from tests.auditing import planted

SEEDS = 5


@pytest.fixture(scope="module", params=[1, SEEDS])
def found(request, tmp_path_factory):
    """(rows, seeds, work directory) of an audit of a and b, and of a rotation of b where there is one seed."""
    place = tmp_path_factory.mktemp("planted")
    names = ("a", "b", "turned") if request.param == 1 else ("a", "b")  # seeds of a rotation are no other recipe
    config = planted.config(place, names, request.param, kinds=("ladder", "additions", "cka"))
    planted.leave(place, planted.targets(config), seeds=request.param)
    assert execute.study(config, place / "work") == execute.DONE
    outcome = results.from_disk(place / "work", config)
    return outcome.rows, request.param, place / "work"


def one(rows, **where):
    (row,) = select(rows, **where)
    return row


def test_sentences_say_what_is_planted(found):
    rows, seeds, _ = found
    for component, lacks, has in (("one", "a", "b"), ("two", "b", "a")):
        poor = one(rows, metric="served", target=component, arm=lacks)["extra"]
        good = one(rows, metric="served", target=component, arm=has)["extra"]
        assert poor["status"] == "not served" and good["status"] in ("served", "reference")
        assert has in poor["restored_by"] and f"{has} " in poor["sentence"]
        assert f"{component} is not served by {lacks}: " in poor["sentence"]
        assert good["sentence"].startswith(
            (f"{component} is served by {has}", f"{component} is read by {has}, the best")
        )
        scope = f"{seeds} seeds, 300 test items)" if seeds > 1 else "this checkpoint, 300 test items"
        assert scope in poor["sentence"]
    if seeds == 1:
        assert one(rows, metric="served", target="two", arm="turned")["extra"]["status"] == "not served"


def test_captions_are_of_the_columns_that_are_there(found):
    """Of features on disk nothing is read untrained."""
    rows, _, _ = found
    shown, added = audit.table(rows), audit.added(rows)
    assert "untrained (bits)" not in shown.header and "Untrained:" not in shown.caption
    assert "pixels (bits)" in shown.header and "Pixels: pooled" in shown.caption
    assert "restores" in added.header and "Restores: " in added.caption
    unasked = [{**r, "extra": {**r["extra"], "restores": None}} if r["metric"] == "added" else r for r in rows]
    assert "restores" not in (shown := audit.added(unasked)).header and "Restores: " not in shown.caption


def test_every_ordered_pair_is_tested_once(found):
    rows, seeds, _ = found
    tested = [r for r in select(rows, metric="gap", unit="bits") if r["extra"]["family"]]
    count = 12 if seeds == 1 else 4
    assert len({(r["arm"], r["reference"], r["target"]) for r in tested}) == len(tested) == count
    family = [r for r in tested if r["extra"]["adjusted_p"] is not None]  # beside what reads nothing there is no test
    assert {r["extra"]["family"] for r in tested} == {len(family)} == {count // 2}
    if seeds > 1:
        return
    assert (
        one(rows, metric="gap", unit="bits", arm="turned", reference="b", target="one")["extra"]["verdict"]
        == "retained"
    )


def test_additions_and_their_controls(found):
    rows, seeds, _ = found
    added = [r for r in select(rows, metric="added") if not r["extra"]["control"] and r["reference"] != "all others"]
    found_ = {(r["target"], r["reference"], r["arm"]): r for r in added}
    for component, lacks, has in (("one", "a", "b"), ("two", "b", "a")):
        assert found_[component, lacks, has]["value"] > 0.5 and found_[component, lacks, has]["extra"]["real"]
        assert not found_[component, has, lacks]["extra"]["real"]
    for component in ("one", "two") if seeds == 1 else ():
        for pair in (("b", "turned"), ("turned", "b")):
            assert found_[component, *pair]["value"] <= 0.01 and not found_[component, *pair]["extra"]["real"]
    if seeds > 1:
        return
    last = one(rows, metric="added", arm="a", reference="all others", target="two")
    assert (
        last["value"] > 0.5 and one(rows, metric="added", arm="a", reference="all others", target="one")["value"] < 0.1
    )


def test_a_gain_of_dimensions_alone_is_told_from_one_of_content(tmp_path):
    """`left` and `right` each have half of the directions whose sum is the label of `one`: together they read more,
    but no more than either does in as many dimensions as it has. Of `two` the right has what the left lacks, in one."""
    config = planted.config(tmp_path, ("left", "right"), kinds=("additions",))
    for target, component in planted.targets(config).items():
        for split in foreign.SPLITS:
            labels, ids = component.splits[split].labels, component.splits[split].ids
            x = np.random.default_rng([len(ids), target == "two"]).normal(size=(len(ids), 2 * planted.WIDTH))
            if target == "one":
                x *= np.where((x.sum(1) > 0) == labels, 1, -1)[:, None]
            else:
                x[:, -1] += 3.0 * labels
            for name, half in zip(("left", "right"), np.split(x, 2, axis=1)):
                foreign.save(tmp_path / f"{name}0", target, split, half.astype(np.float32), ids)
    assert execute.study(config, tmp_path / "work") == execute.DONE
    rows = select(results.from_disk(tmp_path / "work", config).rows, metric="added", reference="left", arm="right")
    one_, two = (one([r for r in rows if not r["extra"]["control"]], target=t)["extra"] for t in ("one", "two"))
    assert one_["real"] and not one_["dimension"] and two["real"] and two["dimension"]


def test_constant_units_are_no_dimensions(tmp_path):
    """Of the units of `left` all but four are constant, so at equal dimensions both together have four."""
    config = planted.config(tmp_path, ("left", "right"), kinds=("additions",))
    for target, component in planted.targets(config).items():
        for split in foreign.SPLITS:
            labels, ids = component.splits[split].labels, component.splits[split].ids
            x = np.random.default_rng(len(ids)).normal(size=(2, len(ids), planted.WIDTH)).astype(np.float32)
            x[0, :, 4:], x[1, :, 0] = 0, x[1, :, 0] + 3.0 * labels
            for name, each in zip(("left", "right"), x):
                foreign.save(tmp_path / f"{name}0", target, split, each, ids)
    assert execute.study(config, tmp_path / "work") == execute.DONE
    rows = results.from_disk(tmp_path / "work", config).rows
    matched = select(rows, metric="added", reference="left", arm="right")
    assert {r["dim"] for r in matched if r["extra"]["control"] == "matched"} == {4}
    probes = select(rows, metric="information", target="one", seed="all", protocol="linear_probe")
    dims = {r["arm"]: r["dim"] for r in probes}
    assert {dims[f"{name}-{how}"] for name in ("left", "left+right") for how in ("pca", "whitened")} == {4}
    assert dims["right+left-pca"] == dims["right-pca"] > 4


def test_floors_few_examples_groups_and_similarity(found):
    rows, seeds, _ = found
    assert {r["arm"] for r in select(rows, protocol="k_shot", seed="all")} >= {"a", "b"}
    assert (
        one(rows, metric="information", arm="pixels", target="one", seed="all", protocol="linear_probe")["value"] > 0.9
    )
    lowest = [r for r in select(rows, metric="group_accuracy", arm="a", target="one") if r["extra"]["lowest"]]
    assert len(lowest) == 1 and lowest[0]["value"] < 0.7
    groups = {r["extra"]["group"] for r in select(rows, metric="group_accuracy", target="one")}
    assert {"class 0", "class 1"} <= groups and any(group.startswith("background ") for group in groups)
    rung = one(rows, metric="rung", arm="a", target="one", factor=None)
    assert rung["extra"]["rung"] == "nowhere" and rung["extra"]["reference"] in ("b", "turned")
    if seeds > 1:
        return
    alike = one(rows, metric="cka", reference="networks", target="one", members=["b/0:features", "turned/0:features"])
    assert alike["value"] == pytest.approx(1.0, abs=1e-6) and alike["extra"]["record"]["null_sd"] > 0


def test_the_report_holds_every_sentence(found):
    rows, _, workdir = found
    page = html.unescape((workdir / "report.html").read_text())
    assert "What each network serves" in page and page.count('<li class="lost">') >= 2
    for row in select(rows, metric="served"):
        assert row["extra"]["sentence"].partition(f" by {row['arm']}")[2].partition("(")[0].strip() in page


def read(components, features, target, *names):
    """[S, N] bits of networks side by side, by the audit's own probes."""
    component, tables = components[target], []
    y = {split: component.splits[split].labels for split in foreign.SPLITS}
    for seed in range(len(features[names[0]])):
        x = {s: np.hstack([features[name][seed][target][s] for name in names]) for s in foreign.SPLITS}
        tables.append(linear_probe(x, y, component.num_classes).bits)
    return np.stack(tables)


@pytest.mark.parametrize("seeds, draws", [(1, 20), pytest.param(SEEDS, 20, marks=pytest.mark.slow)])
def test_every_draw_is_told_right(tmp_path, seeds, draws):
    """By the same probes, verdicts, additions and sentences as an audit: 20 of 20 draws, of one network and of five
    seeds. (Of three, with two degrees of freedom, in one of 40 it was not sure that an addition restores.)"""
    config = planted.config(tmp_path)
    components = planted.targets(config)
    for draw in range(draws):
        planted.leave(tmp_path, components, draw, seeds)
        kept = {
            name: [
                {c: foreign.load(tmp_path / f"{name}{seed}", components[c]) for c in components}
                for seed in range(seeds)
            ]
            for name in ("a", "b", "copy", "turned")
        }
        tables = {c: {n: read(components, kept, c, n) for n in ("a", "b")} for c in components}
        verdicts = served.pairs(tables, dict.fromkeys(components, 1.0))
        additions = {
            (c, x, y): served.addition(
                read(components, kept, c, x, y), tables[c][x], read(components, kept, c, x, x), *[tables[c][x]] * 2
            )
            for c, x, y in itertools.product(components, ("a", "b"), ("a", "b"))
            if x != y
        }
        real, lack = served.real(additions), (("one", "a", "b"), ("two", "b", "a"))
        assert {key for key, each in real.items() if each} == set(lack)
        asked = {key: (tables[key[0]][key[2]], read(components, kept, *key), True) for key in lack}
        assert all(served.restored(asked).values())
        for c, lacks, has in lack:
            joined = additions[c, lacks, has].joined
            told = served.Told(c, lacks, has, True, verdicts[c, lacks, has], restored_by=((has, joined),))
            said = served.sentence(told)
            assert said.startswith(f"{c} is not served by {lacks}: ")
            assert f"{has} (the reference) beside it" in said and said.endswith("restores it.")
        for c, added in itertools.product(components, ("copy", "turned")):
            assert (read(components, kept, c, "b", added) - tables[c]["b"]).mean() <= 0.01
