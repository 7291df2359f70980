"""Whole studies, small: from a config to rows, verdicts and a report, again, and with something added."""

import json
import math
import shutil

import numpy as np
import pytest

from bottleneck import execute
from bottleneck.planning import plan as plans
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.errors import UserError
from bottleneck.store import Store

PROTOCOLS = {
    "probe.protocols": "('head','linear_probe','linear_probe_bn','k_shot','finetune','probe_finetune')",
    "probe.finetune": "{'steps': 5}",
    "probe.shots": "(1, 2)",
    "probe.draws": "2",
    "arms": "('mixture','direct','matched','longer','heads','randomised','wider')",
    "mixture.competitor": "colour",
}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("study")
    config = tiny(PROTOCOLS)
    execute.study(config, workdir)
    return config, workdir


def results(workdir):
    return row_files.read(workdir / "results.jsonl")


def test_every_row_has_every_key_and_every_number_an_n(finished):
    _, workdir = finished
    found = results(workdir)
    assert found and all(tuple(r) == row_files.KEYS for r in found)
    for r in row_files.select(found, metric="accuracy"):
        assert r["arm"] == "bayes" or r["n_examples"] == 37
        assert 0 <= r["value"] <= 1
    assert {r["protocol"] for r in found} >= {
        "head",
        "linear_probe",
        "linear_probe_bn",
        "k_shot",
        "finetune",
        "probe_finetune",
    }
    assert (workdir / "report.html").stat().st_size > 1000


def test_one_verdict_and_sentence_per_target(finished):
    _, workdir = finished
    gaps = row_files.select(results(workdir), metric="gap_bits")
    assert sorted(r["target"] for r in gaps) == ["first", "second"]
    for r in gaps:
        assert r["extra"]["verdict"] in ("lost", "retained", "inconclusive", "untestable")
        assert r["extra"]["sentence"].startswith(r["target"]) and "provisional" in r["extra"]["sentence"]


def test_aggregates_are_means_of_the_seeds(finished):
    _, workdir = finished
    found = row_files.select(results(workdir), arm="mixture", target="first", protocol="head", metric="accuracy")
    seeds = [r["value"] for r in found if r["seed"] != "all"]
    (whole,) = [r["value"] for r in found if r["seed"] == "all"]
    assert len(seeds) == 2 and math.isclose(whole, np.mean(seeds), rel_tol=1e-12)


def test_probe_is_never_worse_than_the_head_it_contains(finished):
    _, workdir = finished
    guards = [r["extra"]["guard"] for r in results(workdir) if r["extra"] and "guard" in r["extra"]]
    assert guards and all(g["holds"] for g in guards)


def test_train_steps_are_summed_over_runs(finished):
    config, workdir = finished
    found = results(workdir)
    for arm, steps in (("mixture", 20), ("longer", 40), ("random", 0), ("pixels", 0)):
        assert {
            r["train_steps"] for r in row_files.select(found, arm=arm, protocol="linear_probe") if r["seed"] != "all"
        } == {steps}
    assert {
        r["train_steps"] for r in row_files.select(found, arm="mixture", protocol="finetune") if r["seed"] != "all"
    } == {25}


def test_again_changes_nothing(finished):
    config, workdir = finished
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in workdir.rglob("*.npz")}
    union, report = (workdir / "results.jsonl").read_bytes(), (workdir / "report.html").read_bytes()
    execute.study(config, workdir)
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in workdir.rglob("*.npz")}
    assert union == (workdir / "results.jsonl").read_bytes() and report == (workdir / "report.html").read_bytes()


def test_a_representation_added_later_trains_nothing_that_is_there(tiny, tmp_path):
    plain = tiny()
    execute.study(plain, tmp_path)
    runs = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/checkpoints/*/manifest.json")}
    added = tiny(
        {
            "representations": "{'cat2': {'members': 'mixture/*@last:features', 'n': 2}, 'half': {'members': 'mixture/*@1/2:features'}}"
        }
    )
    execute.study(added, tmp_path)
    after = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/checkpoints/*/manifest.json")}
    assert {p: after[p] for p in runs} == runs  # what was kept is still the same file
    new = {p.parent.name for p in set(after) - set(runs)}
    assert new == {"10"}  # only the steps asked for now
    gains = row_files.select(results(tmp_path), arm="cat2", metric="excess_gain_bits")
    assert {r["target"] for r in gains} == {"first", "second"}
    assert all("no verdict" in r["extra"]["note"] for r in gains)


def test_a_finished_run_is_found_under_another_name_and_place(finished, tmp_path):
    config, workdir = finished
    moved = tmp_path / "elsewhere"
    workdir_copy = shutil.copytree(workdir, moved)
    for path in (*moved.glob("features/*"),):
        shutil.rmtree(path)
    for path in moved.glob("rows/*"):
        path.unlink()
    execute.study(config, workdir_copy, "transfer")
    execute.study(config, workdir_copy, "analyze")
    assert (moved / "results.jsonl").read_bytes() == (workdir / "results.jsonl").read_bytes()


def test_shards_share_the_work_and_meet_in_the_same_rows(tiny, tmp_path):
    for shard in ("1/2", "0/2"):
        execute.study(tiny(), tmp_path / "two", "pretrain", shard)
    for shard in ("0/2", "1/2"):
        execute.study(tiny(), tmp_path / "two", "transfer", shard)
    execute.study(tiny(), tmp_path / "two", "analyze")
    execute.study(tiny(), tmp_path / "one")
    assert (tmp_path / "one" / "results.jsonl").read_bytes() == (tmp_path / "two" / "results.jsonl").read_bytes()


def test_stages_out_of_order_say_what_is_missing(tiny, tmp_path):
    for stage, words in (("transfer", "--stage=pretrain"), ("analyze", "--stage=transfer"), ("report", "--stage=all")):
        with pytest.raises(UserError, match=words):
            execute.study(tiny(), tmp_path, stage)


def test_dry_run_writes_nothing(tiny, tmp_path, capsys):
    execute.study(tiny(), tmp_path / "none", dry_run=True)
    assert not (tmp_path / "none").exists()
    said = capsys.readouterr().out
    assert "6 runs, 120 steps" in said and "image-forwards" in said and "parameters" in said


def test_a_damaged_checkpoint_is_refused_then_trained_again(finished, tmp_path, capsys):

    config, workdir = finished
    copy = shutil.copytree(workdir, tmp_path / "copy")
    plan = plans.plan(studies.spec(config))
    step = Store(copy, plan, "x").directory(plan.run("mixture", 0)) / "checkpoints" / "20"
    victim = max(
        (p for p in step.rglob("*") if p.is_file() and p.name != "manifest.json"), key=lambda p: p.stat().st_size
    )
    good = victim.read_bytes()
    victim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for path in copy.glob("features/*"):
        shutil.rmtree(path)
    for path in copy.glob("rows/*"):
        path.unlink()
    with pytest.raises(UserError, match="SHA-256"):
        execute.study(config, copy, "transfer")
    execute.study(config, copy)
    assert "training it again" in capsys.readouterr().out
    assert (copy / "results.jsonl").read_bytes() == (workdir / "results.jsonl").read_bytes()


@pytest.mark.parametrize("shard", ["2/2", "a/b", "1", "-1/2"])
def test_bad_shards(shard, tiny, tmp_path):
    with pytest.raises(UserError, match="--shard"):
        execute.study(tiny(), tmp_path, shard=shard)


def test_config_is_kept_as_json(finished):
    _, workdir = finished
    (path,) = (workdir / "configs").glob("*.json")
    assert json.loads(path.read_text())["name"] == "tiny"
