"""What is live in a work directory, its union, what made it, and what a finished study needs to report again."""

import json
import os
import types

import pytest

from bottleneck import results, seal
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.rows import Finding

CONFIG = {"name": "tiny", "seeds": 2, "data": {"path": "images.npz"}}


def leave_rows(workdir, key, *values):
    findings = [Finding("gap", value, "bits", {"target": key}) for value in values]
    row_files.write(workdir / "rows" / f"{key}.jsonl", [row_files.row(f, "answer", 2) for f in findings])


def leave_tasks(workdir, name, rows, complete=True, config=CONFIG, runs=()):
    hashed = results.config_hash(config)
    tasks = {"study": name, "points": [None], "complete": complete, "rows": rows, "runs": list(runs)}
    tasks |= {"reading": {}}
    (workdir / "configs").mkdir(exist_ok=True)
    (workdir / "configs" / f"{hashed}.tasks").write_text(seal.sealed(tasks))
    return hashed


def test_the_hash_of_a_config_is_of_where_its_data_lie_however_that_is_written(tmp_path, monkeypatch):
    def at(path):
        return results.config_hash({**CONFIG, "data": {"path": path}})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    here = results.config_hash(CONFIG)
    assert here == at(f"{tmp_path}/images.npz") == at("~/images.npz")
    assert here != at("/elsewhere/images.npz") and here != results.config_hash({**CONFIG, "seeds": 3})
    monkeypatch.chdir("/")
    assert results.config_hash(CONFIG) != here


def test_a_config_is_kept_with_paths_that_hold_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results.record(tmp_path / "study", types.SimpleNamespace(points=(), tasks=()), CONFIG)
    (path,) = (tmp_path / "study" / "configs").glob("*.json")
    assert path.stem == results.config_hash(CONFIG) == results.config_hash(json.loads(path.read_text()))
    assert json.loads(path.read_text()) == {**CONFIG, "data": {"path": str(tmp_path / "images.npz")}}


def test_the_union_is_sorted_and_says_whose_rows_they_are(tmp_path):
    leave_rows(tmp_path, "b", 0.2, 0.1)
    leave_rows(tmp_path, "a", 0.3)
    first = leave_tasks(tmp_path, "one", ["a", "b"])
    second = leave_tasks(tmp_path, "two", ["a"], config={**CONFIG, "seeds": 3})
    results.union(tmp_path, aside=True)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert lines == sorted(lines) and len(lines) == 4
    rows = row_files.read(tmp_path / "results.jsonl")
    owners = {(r["study"], r["config_hash"], r["target"]) for r in rows}
    assert owners == {("one", first, "a"), ("one", first, "b"), ("two", second, "a")}


@pytest.mark.parametrize("complete", [True, False])
def test_rows_that_nobody_has_are_set_aside_once_a_study_is_complete(complete, tmp_path):
    leave_rows(tmp_path, "a", 0.3)
    leave_rows(tmp_path, "old", 0.1)
    (tmp_path / "rows" / "old.npz").write_bytes(b"items")
    (tmp_path / "rows" / "old.empty").write_text("{}")
    leave_tasks(tmp_path, "one", ["a"], complete)
    results.union(tmp_path, aside=complete)
    assert {r["target"] for r in row_files.read(tmp_path / "results.jsonl")} == {"a"}
    aside = {p.name for p in tmp_path.glob("rows/superseded/*")}
    assert aside == ({"old.jsonl", "old.npz"} if complete else set())
    assert (tmp_path / "rows" / "a.jsonl").is_file()


def planned(*keys):
    """A plan of these rows."""
    tasks = tuple(types.SimpleNamespace(key=key, makes=(f"rows/{key}",)) for key in keys)
    return types.SimpleNamespace(points=(), tasks=tasks)


def test_rows_of_a_study_that_was_cut_short_are_left_to_it(tmp_path):
    other = {**CONFIG, "name": "other"}
    results.record(tmp_path, planned("b", "c"), other)
    leave_rows(tmp_path, "a", 0.3)
    leave_rows(tmp_path, "b", 0.1)
    leave_tasks(tmp_path, "one", ["a"])
    results.union(tmp_path, aside=True)
    assert (tmp_path / "rows" / "b.jsonl").is_file()
    assert {r["target"] for r in row_files.read(tmp_path / "results.jsonl")} == {"a"}
    results.record(tmp_path, planned("c"), other)  # begun again, as another version of its code has it
    results.union(tmp_path, aside=True)
    assert {p.name for p in tmp_path.glob("rows/*.jsonl")} == {"a.jsonl"}


def test_a_finished_study_that_is_begun_again_is_still_complete(tmp_path):
    leave_rows(tmp_path, "a", 0.3)
    leave_tasks(tmp_path, "one", ["a"])
    results.record(tmp_path, planned("a", "nobody asks"), CONFIG)
    assert results.is_complete(tmp_path, CONFIG) and results.from_disk(tmp_path, CONFIG).name == "one"


def test_two_shards_that_end_together_set_the_same_rows_aside(tmp_path, monkeypatch):
    leave_rows(tmp_path, "old", 0.1)
    leave_rows(tmp_path, "older", 0.1)
    leave_tasks(tmp_path, "one", [])
    replace = os.replace

    def after_the_other(source, target):
        if "superseded" in str(target):
            replace(source, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_the_other)
    results.union(tmp_path, aside=True)
    assert not list(tmp_path.glob("rows/*.jsonl")) and len(list(tmp_path.glob("rows/superseded/*"))) == 2


def test_a_study_is_complete_when_all_its_rows_are_there(tmp_path):
    assert not results.is_complete(tmp_path, CONFIG)
    leave_rows(tmp_path, "a", 0.3)
    leave_tasks(tmp_path, "one", ["a"], complete=False)
    assert not results.is_complete(tmp_path, CONFIG)
    leave_tasks(tmp_path, "one", ["a"])
    assert results.is_complete(tmp_path, CONFIG) and not results.is_complete(tmp_path, {**CONFIG, "seeds": 3})
    (tmp_path / "rows" / "a.jsonl").unlink()
    assert not results.is_complete(tmp_path, CONFIG)
    with pytest.raises(UserError, match="--stage=all"):
        results.from_disk(tmp_path, CONFIG)


def provenance(workdir, key, **changes):
    folder = workdir / "runs" / f"mixture-s0-{key}"
    folder.mkdir(parents=True)
    made = {"versions": {"jax": "0.10", "numpy": "2"}, "python": "3.11", "history": [], **changes}
    (folder / "provenance.json").write_text(seal.sealed(made))


def test_what_made_a_study_is_that_of_its_own_runs(tmp_path):
    leave_rows(tmp_path, "a", 0.3)
    provenance(tmp_path, "one")
    provenance(tmp_path, "two", versions={"jax": "0.11", "numpy": "2"})
    provenance(tmp_path, "other", python="3.13")
    leave_tasks(tmp_path, "s", ["a"], runs=("one", "two"))
    outcome = results.from_disk(tmp_path, CONFIG)
    assert outcome.provenance["python"] == "3.11"  # not that of another study's runs
    assert outcome.provenance["versions"] == {"jax": ["0.10", "0.11"], "numpy": "2"}  # what differs is listed
    assert outcome.provenance["config"] == results.config_hash(CONFIG)
    assert (outcome.name, [r["value"] for r in outcome.rows]) == ("s", [0.3])


def test_what_cannot_be_a_work_directory_is_refused(tmp_path):
    results.usable(tmp_path / "new" / "below")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="^--workdir="):
            results.usable(path)
