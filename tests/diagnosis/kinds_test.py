"""Every diagnosis of a tiny study, from checkpoints to rows: consistent with each other, the same wherever made."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bottleneck import execute
from bottleneck import rows as row_files

TINY = pathlib.Path(__file__).parents[1] / "tiny.py"
DIAGNOSES = {
    "analysis": "{'kinds': ('ladder', 'steps', 'seeds', 'cka', 'relatedness', 'recovery'), 'halvings': 2, 'batch': 16}",
    "probe.protocols": "head,linear_probe,k_shot,finetune",
    "probe.arms": "mixture,direct,random",
    "probe.shots": "2,",
    "probe.draws": "2",
    "probe.finetune": "{'steps': 4, 'shots': (3, 9), 'halvings': 1}",
    "mixture.competitor": "colour",
    "arms": "mixture,direct,randomised",
}
TARGETS = ("first", "second")
FACTORS = {None, "shape", "colour", "texture", "background"}
STEPS = {0, 5, 10, 20}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("diagnosed")
    assert execute.study(tiny(DIAGNOSES), workdir) == execute.DONE
    return workdir


@pytest.fixture(scope="module")
def rows(finished):
    return row_files.read(finished / "results.jsonl")


def of(rows, kind, **values):
    return [r for r in row_files.select(rows, **values) if row_files.kind(r) == kind]


def one(rows, kind, **values):
    (row,) = of(rows, kind, **values)
    return row


@pytest.mark.parametrize("kind", ["ladder", "steps", "gradients", "seeds", "cka", "relatedness", "recovery"])
def test_every_kind_has_rows_with_an_n(kind, rows):
    own = of(rows, kind)
    assert own and all(tuple(r) == row_files.KEYS for r in own)
    assert all(r["n_seeds"] and r["n_examples"] for r in own), [
        r for r in own if not (r["n_seeds"] and r["n_examples"])
    ][:1]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("factor", [None, "colour", "shape"], ids=str)
def test_a_reading_is_the_same_in_every_diagnosis(factor, target, rows):
    key = dict(
        target=target, factor=factor, protocol="linear", metric="information", arm="mixture", layer="features", step=20
    )
    for seed in (0, 1, "all"):
        deep, late = (one(rows, kind, seed=seed, **key) for kind in ("ladder", "steps"))
        assert deep["value"] == late["value"] and deep["ci95"] == late["ci95"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_direct_training_reads_is_the_same_in_every_diagnosis(target, rows):
    key = dict(target=target, metric="information", seed="all", arm=f"direct-{target}")
    own = one(rows, "relatedness", reference=target, **key)
    assert own["value"] == one(rows, "ladder", factor=None, **key)["value"]


@pytest.mark.parametrize("step", sorted(STEPS))
def test_means_are_means_of_the_seeds_and_mixtures_of_the_components(step, rows):
    values = {}
    for target in TARGETS:
        key = dict(target=target, protocol="head", metric="accuracy", step=step)
        seeds = [r["value"] for r in of(rows, "steps", **key) if r["seed"] != "all"]
        values[target] = one(rows, "steps", seed="all", **key)["value"]
        assert len(seeds) == 2 and values[target] == pytest.approx(np.mean(seeds), abs=1e-12)
        spread = one(rows, "steps", target=target, protocol="head", metric="accuracy_seed_sd", step=step)
        assert spread["value"] == pytest.approx(np.std(seeds, ddof=1), abs=1e-12)
    balanced, mixed = (
        one(rows, "answer", metric=metric, protocol="head", step=step)["value"]
        for metric in ("accuracy_balanced", "accuracy_mixed")
    )
    assert balanced == pytest.approx(np.mean(list(values.values())), abs=1e-12)
    assert mixed == pytest.approx(0.7 * values["first"] + 0.3 * values["second"], abs=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_the_head_at_the_last_step_is_the_answers_head(target, rows):
    key = dict(target=target, protocol="head", metric="information", seed="all", arm="mixture")
    assert one(rows, "steps", step=20, **key)["value"] == one(rows, "answer", **key)["value"]


def test_the_worst_group_is_a_cell_of_label_and_competitor(rows):
    worst = of(rows, "steps", metric="accuracy_worst_group", protocol="linear", step=20)
    for r in worst:
        assert "colour" in r["extra"]["group"] and r["extra"]["group"].startswith("label")
        whole = one(
            rows, "steps", target=r["target"], protocol="linear", metric="accuracy", step=20, seed="all", factor=None
        )
        assert 10 <= r["n_examples"] < whole["n_examples"]


@pytest.mark.parametrize("comparison, pairs", [("layers", 1), ("steps", 6), ("seeds", 1), ("direct", 4)])
def test_cka_rows_hold_the_full_record(comparison, pairs, rows):
    own = [r for r in of(rows, "cka", reference=comparison) if r["members"]]
    assert len(own) == pairs
    for r in own:
        record = r["extra"]["record"]
        itself = comparison == "steps" and r["step"] == 0  # an untrained network is its own floor
        assert record["value"] == r["value"] and record["eval_mode"]
        assert set(record["floors"]) == {"pooled input"} | (set() if itself else {"random init"})
        assert r["ci95"][0] <= r["value"] <= r["ci95"][1]


def test_steps_are_compared_to_the_start_the_end_another_seed_and_direct_training(rows):
    for reference in ("init", "last", "seed", "direct"):
        own = [r for r in of(rows, "cka", reference=reference) if not r["members"]]
        assert {r["step"] for r in own} == STEPS
    for r in of(rows, "cka", reference="last", step=20):
        assert r["value"] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("kind, metric", [("ladder", "rung"), ("steps", "learning"), ("seeds", "evidence")])
def test_rungs_courses_and_evidence_cover_every_factor_once(kind, metric, rows):
    for target in TARGETS:
        own = of(rows, kind, metric=metric, target=target, seed="all")
        assert {r["factor"] for r in own} == FACTORS and len(own) == len(FACTORS)


def test_evidence_counts_every_seed_once(rows):
    for r in of(rows, "seeds", metric="evidence", seed="all"):
        assert r["extra"]["retained"] + r["extra"]["lost"] + r["extra"]["undecided"] == 2
        assert r["unit"] == "bits" and r["reference"].startswith("direct-")


def test_concatenated_seeds_are_beside_their_members(rows):
    for target in TARGETS:
        for arm in ("mixture", "random"):
            key = dict(target=target, factor=None, arm=arm)
            joined, gain = (one(rows, "seeds", metric=m, **key)["value"] for m in ("concatenated", "concatenated_gain"))
            step = 20 if arm == "mixture" else 0
            place = dict(
                target=target, factor=None, protocol="linear", metric="information", step=step, layer="features"
            )
            alone = one(rows, "steps", arm="mixture", seed="all", **place)["value"]
            assert joined - gain == pytest.approx(alone, abs=1e-12)


def test_rungs_say_by_what_they_were_judged(rows):
    for r in of(rows, "ladder", metric="rung"):
        extra = r["extra"]
        assert extra["reference"] == r["reference"] and extra["reference"].startswith("direct-")
        assert 0.5 < extra["entropy"] <= 1.0 and isinstance(extra["control"], str)
        assert r["value"] is None or set(extra["shares"]) >= {"prominent", "linear"} and r["value"] >= 0


def test_gradients_of_every_component_at_every_step(rows):
    norms = of(rows, "gradients", metric="gradient_norm")
    assert {(r["target"], r["step"]) for r in norms} == {(t, s) for t in TARGETS for s in STEPS}
    assert all(r["value"] > 0 and r["split"] == "train" and r["n_seeds"] == 2 for r in norms)
    cosines = of(rows, "gradients", metric="gradient_cosine")
    assert {(r["target"], r["reference"]) for r in cosines} == {
        ("first", "mixture"),
        ("second", "mixture"),
        ("second", "first"),
    }
    assert all(-1 - 1e-6 <= r["value"] <= 1 + 1e-6 for r in cosines)


def test_relatedness_is_a_matrix_of_all_components(rows):
    cells = {(r["reference"], r["target"]) for r in of(rows, "relatedness", metric="information", seed="all")}
    assert cells == {(a, b) for a in TARGETS for b in TARGETS}
    predictions = row_files.select(rows, metric="relatedness")
    assert all(row_files.kind(r) == "answer" and r["extra"]["predictor"] for r in predictions)


def test_recovery_reads_the_fine_tuning_runs(rows):
    curves = of(rows, "recovery", metric="information", target="first")
    assert {(r["arm"], r["step"], r["extra"]["examples"]) for r in curves} == {
        (arm, step, n) for arm in ("mixture", "direct", "random") for step, n in ((2, 100), (4, 100), (4, 6), (4, 18))
    }
    for target in TARGETS:
        key = dict(arm="mixture", target=target, protocol="finetune", n_shot=None, metric="information")
        tuned, late = one(rows, "answer", seed="all", **key), one(rows, "recovery", step=4, **key)
        assert late["value"] == tuned["value"]
    assert {(r["metric"], r["unit"]) for r in of(rows, "recovery")} <= {
        ("information", "bits"),
        ("recovery", "steps"),
        ("recovery", "examples"),
        ("saved", "log2 steps"),
        ("saved", "log2 examples"),
    }


def test_moved_without_features_and_rows_it_is_the_same(finished, tiny, tmp_path):
    ignored = shutil.ignore_patterns("features", "rows", "results.jsonl", "report.html", ".jax_cache")
    moved = shutil.copytree(finished, tmp_path / "elsewhere", ignore=ignored)
    assert execute.study(tiny(DIAGNOSES), moved) == execute.DONE
    for name in ("results.jsonl", "report.html"):
        assert (moved / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_checkpoints_of_four_devices_are_diagnosed_alike_on_one(tmp_path):
    options = [f"--config={TINY}", *(f"--config.{k}={v}" for k, v in DIAGNOSES.items())]
    workdir, read = tmp_path / "written", {}
    for devices in (4, 1):
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
        if devices == 1:  # the checkpoints of four, in another place, without what was made from them
            ignored = shutil.ignore_patterns("features", "rows", "results.jsonl")
            workdir = shutil.copytree(workdir, tmp_path / "moved", ignore=ignored)
        command = [sys.executable, "-m", "bottleneck.main", f"--workdir={workdir}", *options]
        child = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert child.returncode == 0, child.stderr
        read[devices] = (workdir / "results.jsonl").read_bytes()
    assert read[4] == read[1]


def test_fine_tuning_steps_asked_for_later_are_made(finished, tiny, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns(".jax_cache"))
    more = {**DIAGNOSES, "probe.finetune": "{'steps': 4, 'shots': (3, 9), 'halvings': 2}"}
    assert execute.study(tiny(more), copy) == execute.DONE
    rows = row_files.read(copy / "results.jsonl")
    curves = [r for r in of(rows, "recovery", metric="information", arm="mixture") if r["n_shot"] is None]
    assert {r["step"] for r in curves} == {1, 2, 4}


def test_a_diagnosis_added_later_adds_only_its_own_rows(finished, tiny, tmp_path):
    fewer = {**DIAGNOSES, "analysis": "{'kinds': ('steps', 'recovery'), 'halvings': 2, 'batch': 16}"}
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns(".jax_cache"))
    before = {p.name: p.stat().st_mtime_ns for p in copy.glob("rows/*.jsonl")}
    assert execute.study(tiny(fewer), copy) == execute.DONE
    new = {p.name for p in copy.glob("rows/*.jsonl") if before.get(p.name) != p.stat().st_mtime_ns}
    assert len(new) == 1  # the answer, which joins other rows
