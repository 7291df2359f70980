"""Every analysis of a tiny study, from checkpoints to rows: consistent with each other, and the same wherever they are made."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from bottleneck import analyze, execute, jobs
from bottleneck import plan as plans
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.errors import UserError

TINY = pathlib.Path(__file__).parents[1] / "tiny.py"
ANALYSES = {
    "analysis": "{'kinds': ('ladder', 'steps', 'seeds', 'cka', 'relatedness', 'recovery'), 'halvings': 2, 'batch': 16}",
    "probe.protocols": "('head', 'linear_probe', 'k_shot', 'finetune')",
    "probe.arms": "('mixture', 'direct', 'random')",
    "probe.shots": "(2,)",
    "probe.draws": "2",
    "probe.finetune": "{'steps': 4, 'shots': (3, 9), 'halvings': 1}",
    "mixture.competitor": "colour",
    "arms": "('mixture', 'direct', 'randomised')",
}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("analysed")
    execute.study(tiny(ANALYSES), workdir)
    return workdir


@pytest.fixture(scope="module")
def found(finished):
    return row_files.read(finished / "results.jsonl")


def of(found, kind, **values):
    return [r for r in row_files.select(found, **values) if (r["extra"] or {}).get("analysis") == kind]


def test_every_kind_has_rows_with_an_n(found):
    for kind in ("ladder", "steps", "seeds", "cka", "relatedness", "recovery"):
        own = of(found, kind)
        assert own, kind
        assert all(r["n_seeds"] and r["n_examples"] for r in own if r["metric"] != "relatedness_spearman")
    assert all(tuple(r) == row_files.KEYS for r in found)


def test_a_reading_is_the_same_in_every_analysis(found):
    for target in ("first", "second"):
        for factor in (None, "colour", "shape"):
            key = dict(
                target=target, factor=factor, protocol="linear", metric="bits", arm="mixture", layer="features", step=20
            )
            for seed in (0, 1, "all"):
                (deep,), (late,) = of(found, "ladder", seed=seed, **key), of(found, "steps", seed=seed, **key)
                assert deep["value"] == late["value"] and deep["ci95"] == late["ci95"]
        (own,) = of(found, "relatedness", target=target, reference=target, metric="bits", seed="all")
        (reference,) = of(
            found, "ladder", target=target, factor=None, arm=f"direct-{target}", metric="bits", seed="all"
        )
        assert own["value"] == reference["value"]


def test_means_are_means_of_the_seeds_and_mixtures_of_the_components(found):
    for step in (0, 5, 10, 20):
        values = {}
        for target in ("first", "second"):
            key = dict(target=target, protocol="head", metric="accuracy", step=step)
            seeds = [r["value"] for r in of(found, "steps", **key) if r["seed"] != "all"]
            (mean,) = [r["value"] for r in of(found, "steps", seed="all", **key)]
            assert len(seeds) == 2 and mean == pytest.approx(np.mean(seeds), abs=1e-12)
            values[target] = mean
        (balanced,) = of(found, "steps", metric="accuracy_balanced", protocol="head", step=step)
        (mixed,) = of(found, "steps", metric="accuracy_mixed", protocol="head", step=step)
        assert balanced["value"] == pytest.approx(np.mean(list(values.values())), abs=1e-12)
        assert mixed["value"] == pytest.approx(0.7 * values["first"] + 0.3 * values["second"], abs=1e-12)


def test_the_head_at_the_last_step_is_the_main_answers_head(found):
    for target in ("first", "second"):
        (late,) = of(found, "steps", target=target, protocol="head", metric="bits", step=20, seed="all")
        (main,) = [
            r
            for r in row_files.select(found, target=target, arm="mixture", protocol="head", metric="bits", seed="all")
            if not (r["extra"] or {}).get("analysis")
        ]
        assert late["value"] == main["value"]


def test_cka_rows_hold_the_full_record(found):
    for comparison, pairs in (("layers", 1), ("steps", 6), ("seeds", 1), ("direct", 4)):
        own = of(found, "cka", reference=comparison)
        assert len(own) == pairs
        for r in own:
            record = r["extra"]["record"]
            itself = comparison == "steps" and r["step"] == 0  # an untrained network is its own floor
            assert record["value"] == r["value"] and record["eval_mode"]
            assert set(record["floors"]) == {"pooled input"} | (set() if itself else {"random init"})
            assert r["ci95"][0] <= r["value"] <= r["ci95"][1]
    for reference in ("init", "last", "seed", "direct"):
        assert {r["step"] for r in of(found, "steps", metric="cka", reference=reference)} == {0, 5, 10, 20}
    for r in of(found, "steps", metric="cka", reference="last", step=20):
        assert r["value"] == pytest.approx(1.0, abs=1e-12)


def test_rungs_verdicts_and_evidence_cover_every_factor(found):
    factors = {None, "shape", "colour", "texture", "background"}
    for kind, metric in (("ladder", "rung"), ("steps", "learning"), ("seeds", "evidence_bits")):
        for target in ("first", "second"):
            own = of(found, kind, metric=metric, target=target, seed="all")
            assert {r["factor"] for r in own} == factors and len(own) == len(factors)
    for r in of(found, "seeds", metric="evidence_bits", seed="all"):
        assert r["extra"]["retained"] + r["extra"]["lost"] + r["extra"]["undecided"] == 2


def test_recovery_reads_the_fine_tuning_runs(found):
    curves = of(found, "recovery", metric="bits")
    assert {(r["arm"], r["step"], r["extra"]["examples"]) for r in curves if r["target"] == "first"} == {
        (arm, step, n) for arm in ("mixture", "direct", "random") for step, n in ((2, 100), (4, 100), (4, 6), (4, 18))
    }
    for target in ("first", "second"):
        (tuned,) = [
            r
            for r in row_files.select(
                found, arm="mixture", target=target, protocol="finetune", n_shot=None, metric="bits", seed="all"
            )
            if not (r["extra"] or {}).get("analysis")
        ]
        (late,) = [r for r in curves if (r["arm"], r["target"], r["step"], r["n_shot"]) == ("mixture", target, 4, None)]
        assert late["value"] == tuned["value"]
    assert {r["metric"] for r in of(found, "recovery")} == {
        "bits",
        "steps_to_recover",
        "examples_to_recover",
        "log2_steps_saved",
        "log2_examples_saved",
    }


def test_moved_without_features_and_rows_it_is_the_same(finished, tmp_path, capsys):
    moved = shutil.copytree(finished, tmp_path / "elsewhere")
    before = {name: (finished / name).read_bytes() for name in ("results.jsonl", "report.html")}
    assert analyze.main(["analyze", str(moved)]) == 0
    assert {name: (moved / name).read_bytes() for name in before} == before
    shutil.rmtree(moved / "features")
    for path in (*moved.glob("rows/*"), moved / "results.jsonl", moved / "report.html"):
        path.unlink()
    assert analyze.main(["analyze", str(moved)]) == 0
    assert {name: (moved / name).read_bytes() for name in before} == before


def test_checkpoints_of_four_devices_are_analysed_alike_on_one(tmp_path):
    options = [f"--config={TINY}", *(f"--config.{k}={v}" for k, v in ANALYSES.items())]
    found = {}
    for devices in (4, 1):
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
        workdir = tmp_path / "written"
        if devices == 1:  # the checkpoints of four, in another place, without what was made from them
            workdir = shutil.copytree(
                workdir, tmp_path / "moved", ignore=shutil.ignore_patterns("features", "rows", "results.jsonl")
            )
        child = subprocess.run(
            [sys.executable, "-m", "bottleneck.main", f"--workdir={workdir}", *options],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert child.returncode == 0, child.stderr
        found[devices] = (workdir / "results.jsonl").read_bytes()
    assert found[4] == found[1]


def test_shards_share_the_analyses(tiny, tmp_path, capsys):
    config = tiny({"analysis": "{'kinds': ('steps', 'relatedness'), 'halvings': 1}"})
    for stage in ("pretrain", "transfer"):
        execute.study(config, tmp_path / "two", stage)
    execute.study(config, tmp_path / "two", "analyze", "0/2")
    assert "left to the other shards" in capsys.readouterr().out and not (tmp_path / "two" / "results.jsonl").exists()
    execute.study(config, tmp_path / "two", "analyze", "1/2")
    execute.study(config, tmp_path / "one")
    assert (tmp_path / "one" / "results.jsonl").read_bytes() == (tmp_path / "two" / "results.jsonl").read_bytes()


def test_fine_tuning_steps_asked_for_later_are_made(finished, tiny, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    execute.study(tiny({**ANALYSES, "probe.finetune": "{'steps': 4, 'shots': (3, 9), 'halvings': 2}"}), copy)
    found = row_files.read(copy / "results.jsonl")
    assert {r["step"] for r in of(found, "recovery", metric="bits", arm="mixture") if r["n_shot"] is None} == {1, 2, 4}


def test_a_failure_stops_what_has_not_begun():
    begun = []

    def work(task):
        begun.append(task)
        if task == 0:
            raise UserError("task", task, "another one")

    with pytest.raises(UserError):
        jobs.carry_out(
            "test", "task", [[0, *range(1, 50)], list(range(100, 5000))], lambda task: (time.sleep(0.001), work(task))
        )
    assert 1 not in begun and len(begun) < 1000


@pytest.mark.parametrize(
    "overrides, words",
    [
        ({"data.test": "10", "analysis": "{'kinds': ('cka',)}"}, "analysis.kinds"),
        ({"analysis": "{'kinds': ('depth',)}"}, "analysis.kinds"),
        ({"analysis": "{'kinds': ('ladder',), 'layers': ('block9',)}"}, "analysis.layers"),
        ({"analysis": "{'kinds': ('ladder',), 'layers': ('layer1.squeezed',)}"}, "analysis.layers"),
        ({"analysis": "{'kinds': ('cka',), 'layers': ('layer1', 'features.positions')}"}, "analysis.layers"),
        ({"analysis": "{'kinds': ('recovery',)}"}, "analysis.kinds"),
        ({"analysis": "{'kinds': ('cka',), 'batch': 3}"}, "analysis.batch"),
        ({"analysis": "{'halvings': -1}"}, "analysis.halvings"),
        ({"probe.arms": "('sideways',)"}, "probe.arms"),
        (
            {"probe.protocols": "('linear_probe', 'finetune')", "probe.finetune": "{'steps': 4, 'shots': (1000,)}"},
            "probe.finetune.shots",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_written(overrides, words, tiny, tmp_path):
    with pytest.raises(UserError) as error:
        execute.study(tiny(overrides), tmp_path / "none")
    assert error.value.key == words and not (tmp_path / "none").exists()


def test_vectors_have_cka_alone(tiny):
    regression = {
        "components": "{'m': {'source': {'name': 'gaussian', 'index': 0, 'dim': 4, 'outputs': 1}}}",
        "mixture.weights": "{'m': 1.0}",
        "objective.name": "regression",
        "analysis": "{'kinds': ('ladder',)}",
    }
    with pytest.raises(UserError) as error:
        plans.plan(studies.spec(tiny(regression)))
    assert error.value.key == "analysis.kinds"
