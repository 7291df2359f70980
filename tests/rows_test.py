"""Rows: always the same keys, plain JSON, written whole."""

import json

import numpy as np
import pytest

from bottleneck import rows


def test_row_has_every_key_and_refuses_others():
    found = rows.row(arm="mixture", value=1.0, **{"lambda": 0.1})
    assert tuple(found) == rows.KEYS and found["lambda"] == 0.1 and found["seed"] is None
    with pytest.raises(KeyError, match="lamda"):
        rows.row(lamda=1.0)


def test_values_become_plain_json(tmp_path):
    given = rows.row(
        value=np.float32(0.5),
        ci95=np.array([0.0, np.inf]),
        n_seeds=np.int64(3),
        seed="all",
        extra={"a": {1: np.nan, "b": (np.bool_(True), np.arange(2))}},
        metric="bits",
        grad_norm=float("nan"),
    )
    rows.write(tmp_path / "t.jsonl", [given])
    (found,) = rows.read(tmp_path / "t.jsonl")
    assert found == given and found["value"] == 0.5 and found["ci95"] == [0.0, None] and found["grad_norm"] is None
    assert found["extra"] == {"a": {"1": None, "b": [True, [0, 1]]}} and found["n_seeds"] == 3
    json.loads((tmp_path / "t.jsonl").read_text(), parse_constant=pytest.fail)


def test_union_is_sorted_without_duplicates_and_repeatable(tmp_path):
    a, b, c = (rows.row(target=t) for t in "abc")
    rows.write(tmp_path / "rows" / "2.jsonl", [c, a])
    rows.write(tmp_path / "rows" / "1.jsonl", [b, a])
    (tmp_path / "rows" / ".3.jsonl.77").write_text('{"half')  # what a kill leaves of an unfinished write
    for _ in range(2):
        rows.union(tmp_path / "rows", tmp_path / "results.jsonl")
        assert [r["target"] for r in rows.read(tmp_path / "results.jsonl")] == ["a", "b", "c"]


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "deep" / "t.jsonl"
    rows.write(path, [rows.row(target="a"), rows.row(target="b")])
    rows.write(path, [rows.row(target="c")])
    assert [r["target"] for r in rows.read(path)] == ["c"] and [p.name for p in path.parent.iterdir()] == ["t.jsonl"]


def test_select():
    found = [rows.row(arm=a, seed=s) for a in ("mixture", "direct") for s in (0, 1)]
    assert rows.select(found, arm="direct", seed=1) == [found[3]] and len(rows.select(found, seed=0)) == 2
