"""Rows: always the same keys, plain JSON, written whole; findings become rows in one place."""

import json

import numpy as np
import pytest

import bottleneck
from bottleneck import rows
from bottleneck.analysis.intervals import two_way
from bottleneck.rows import Finding


def row(**at):
    return rows.row(Finding("gap", 1.0, "bits", at), "answer", 2)


def test_a_row_has_every_key_and_refuses_others():
    made = row(arm="mixture", **{"lambda": 0.1})
    assert tuple(made) == rows.KEYS and made["lambda"] == 0.1 and made["n_shot"] is None
    assert (made["metric"], made["value"], made["unit"], made["seed"], made["split"]) == (
        "gap",
        1.0,
        "bits",
        "all",
        "test",
    )
    with pytest.raises(KeyError, match="lamda"):
        row(lamda=1.0)


def test_an_interval_brings_its_ends_its_unit_and_its_numbers():
    interval = two_way(np.random.default_rng(0).normal(size=(3, 7)))
    made = rows.row(Finding("margin", interval, "bits", {"target": "a"}), "answer", 1)
    assert made["value"] == interval.value and made["ci95"] == [interval.low, interval.high]
    assert (made["ci_unit"], made["n_seeds"], made["n_examples"]) == ("seeds and items", 3, 7)


def test_a_row_names_its_kind_and_versions():
    made = row()
    assert made["version"] == f"answer-2 {bottleneck.__version__}" and rows.kind(made) == "answer"


def test_values_become_plain_json(tmp_path):
    at = dict(ci95=np.array([0.0, np.inf]), n_seeds=np.int64(3), grad_norm=float("nan"))
    at["extra"] = {"a": {1: np.nan, "b": (np.bool_(True), np.arange(2))}}
    made = rows.row(Finding("information", np.float32(0.5), "bits", at), "probe", 1)
    rows.write(tmp_path / "t.jsonl", [made])
    (read,) = rows.read(tmp_path / "t.jsonl")
    assert read == made and read["value"] == 0.5 and read["ci95"] == [0.0, None] and read["grad_norm"] is None
    assert read["extra"] == {"a": {"1": None, "b": [True, [0, 1]]}} and read["n_seeds"] == 3
    json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail)


def test_reading_fills_in_whose_rows_they_are(tmp_path):
    rows.write(tmp_path / "t.jsonl", [row(target="a")])
    (read,) = rows.read(tmp_path / "t.jsonl", study="mine", config_hash="0", point={"model.width": 8})
    assert (read["study"], read["config_hash"], read["point"]) == ("mine", "0", {"model.width": 8})
    assert set(rows.BOOKKEEPING) == {"study", "point", "config_hash"}


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "deep" / "t.jsonl"
    rows.write(path, [row(target="a"), row(target="b")])
    rows.write(path, [row(target="c")])
    assert [r["target"] for r in rows.read(path)] == ["c"] and [p.name for p in path.parent.iterdir()] == ["t.jsonl"]


def test_select():
    made = [row(arm=a, seed=s) for a in ("mixture", "direct") for s in (0, 1)]
    assert rows.select(made, arm="direct", seed=1) == [made[3]] and len(rows.select(made, seed=0)) == 2
