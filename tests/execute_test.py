"""Whole studies, small: from a config to rows, verdicts and a report, again, in stages, elsewhere, and after damage."""

import contextlib
import json
import math
import os
import shutil
import signal

import numpy as np
import pytest

from bottleneck import analyze, execute, lock, signals, sweep
from bottleneck import results as studied
from bottleneck import rows as row_files
from bottleneck.arms import ARMS
from bottleneck.errors import UserError
from bottleneck.probing import Probe
from bottleneck.protocols import PROTOCOLS
from bottleneck.store import Store
from bottleneck.training import loop

EVERYTHING = {
    "probe.protocols": ",".join(PROTOCOLS),
    "probe.arms": "mixture,direct,cat2",
    "probe.finetune": "{'steps': 5, 'head_steps': 3}",
    "probe.released": "{'epochs': 3, 'batch': 16}",
    "probe.shots": "1,2",
    "probe.draws": "2",
    "arms": ",".join(ARMS),
    "arms_for": "all",
    "mixture.competitor": "colour",
    "mixture.weights": "{'first': 0.8, 'second': 0.2}",
    "representations": "{'cat2': {'members': 'mixture/*@last:features', 'n': 2}}",
}
# An opposed pair, of which one network is enough to see that both are lost: every intervention is asked for.
LOST = {
    "seeds": "1,2",
    "components.first.source.reliability": "{'background': 1.0}",
    "components.second.source.reliability": "{'background': 0.0}",
    "mixture.weights": "{'first': 0.8, 'second': 0.2}",
    "model.width": "16",
    "optimizer.lr": "0.1",
    "train.steps": "80",
    "data.test": "97",
    "arms": ",".join(set(ARMS) - {"wider"}),
    "mixture.competitor": "colour",
}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """(config, work directory) of a study with every arm and protocol."""
    config, workdir = tiny(EVERYTHING), tmp_path_factory.mktemp("everything")
    assert execute.study(config, workdir) == execute.DONE
    return config, workdir


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """The same of the smallest study."""
    workdir = tmp_path_factory.mktemp("plain")
    assert execute.study(tiny(), workdir) == execute.DONE
    return tiny(), workdir


@pytest.fixture(scope="module")
def lost(tiny, tmp_path_factory):
    """The same of a study whose interventions are asked for on demand."""
    workdir = tmp_path_factory.mktemp("lost")
    assert execute.study(tiny(LOST), workdir) == execute.DONE
    return tiny(LOST), workdir


@pytest.fixture(scope="module")
def rows(finished):
    return results(finished[1])


def results(workdir):
    return row_files.read(workdir / "results.jsonl")


def select(rows, **values):
    return row_files.select(rows, **values)


def outcome(workdir):
    """The bytes that a study is judged by."""
    return {name: (workdir / name).read_bytes() for name in ("results.jsonl", "report.html")}


def files(workdir, *parts):
    return {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for part in parts for p in (workdir / part).rglob("*") if p.is_file()
    }


def trained(workdir):
    """The kept steps, as they lie on disk, by when they were written."""
    return {p: p.stat().st_mtime_ns for p in workdir.glob("runs/*/checkpoints/*/manifest.json")}


def moved(workdir, place, *without):
    """A copy of a work directory elsewhere, without some of its parts."""
    return shutil.copytree(workdir, place, ignore=shutil.ignore_patterns(*without, ".jax_cache"))


@pytest.fixture
def trainings(monkeypatch):
    """The names of the runs that are trained."""
    names, train = [], loop.train

    def counted(members, *args, **kwargs):
        names.extend(f"{member.run.name}/{member.run.seed}" for member in members)
        return train(members, *args, **kwargs)

    monkeypatch.setattr(loop, "train", counted)
    return names


# What a finished study leaves


def test_every_row_has_every_key_and_every_number_an_n(rows, finished):
    assert rows and all(tuple(r) == row_files.KEYS for r in rows)
    for r in rows:
        counted = r["arm"] != "bayes" and row_files.kind(r) != "choose" and r["value"] is not None
        assert not counted or r["n_examples"], r
    for r in select(rows, metric="accuracy", split="test"):
        assert (r["arm"] == "bayes" or r["n_examples"] == 37) and 0 <= r["value"] <= 1
    assert {r["protocol"] for r in rows} >= set(PROTOCOLS) - {"warm_start"}  # of targets outside the mixture
    assert (finished[1] / "report.html").stat().st_size > 1000


def test_every_arm_is_read(rows):
    read = {(r["arm"], r["target"]) for r in select(rows, metric="information", protocol="linear_probe", factor=None)}
    asked = {(arm, t) for arm in ARMS for t in ("first", "second")} - {("balanced", "first"), ("longest", "first")}
    assert {place for place in asked if place[0] not in ("longest", "randomised", "scarce")} <= read


def test_one_verdict_and_one_sentence_per_target(rows):
    gaps = select(rows, metric="gap", unit="bits")
    assert sorted(r["target"] for r in gaps) == ["first", "second"]
    for r in gaps:
        assert r["extra"]["verdict"] in ("lost", "retained", "inconclusive", "untestable")
        assert r["extra"]["sentence"].startswith(r["target"]) and "provisional" in r["extra"]["sentence"]


@pytest.mark.parametrize("unit, tolerance", [("bits", 1e-12), ("points", 1e-10)])
def test_the_parts_of_a_gap_add_up_to_it_exactly(unit, tolerance, rows):
    for target in ("first", "second"):
        gap, exposure, interference = (
            select(rows, metric=metric, unit=unit, target=target)[0]["value"]
            for metric in ("gap", "exposure", "interference")
        )
        assert gap == pytest.approx(exposure + interference, abs=tolerance)


def test_aggregates_are_means_of_the_seeds(rows):
    for protocol in ("head", "linear_probe"):
        where = dict(arm="mixture", target="first", protocol=protocol, metric="accuracy", factor=None)
        read = [r for r in select(rows, **where) if (r["extra"] or {}).get("chosen", True)]
        seeds = [r["value"] for r in read if r["seed"] != "all"]
        (whole,) = [r["value"] for r in read if r["seed"] == "all"]
        assert len(seeds) == 2 and math.isclose(whole, np.mean(seeds), rel_tol=1e-12)


def test_what_was_chosen_on_test_says_so_and_is_in_no_verdict(rows):
    """The released probe's own reading: a row of a seed, and of all, beside the honest ones."""
    for arm in ("mixture", "direct", "cat2"):
        of = select(rows, arm=arm, target="first", protocol="released_probe", metric="accuracy")
        honest, largest = (select(of, selected_on=split) for split in ("val", "test"))
        seeds = 1 if arm == "cat2" else 2
        assert len(honest) == len(largest) == seeds + 1
        for a, b in zip(honest, largest):
            assert a["seed"] == b["seed"] and a["value"] <= b["value"] and b["ci95"]
    assert {r["protocol"] for r in select(rows, selected_on="test")} == {"released_probe"}


def test_no_probe_is_worse_than_the_head_it_was_pretrained_with(rows):
    guards = [r["extra"]["guard"] for r in rows if r["extra"] and "guard" in r["extra"]]
    assert guards and all(guard["holds"] for guard in guards)


@pytest.mark.parametrize(
    "where, steps",
    [
        ({"arm": "mixture", "protocol": "linear_probe"}, 20),
        ({"arm": "longer"}, 40),
        ({"arm": "direct_half"}, 10),
        ({"arm": "random", "protocol": "linear_probe"}, 0),
        ({"arm": "pixels"}, 0),
        ({"arm": "cat2", "protocol": "linear_probe"}, 40),
        ({"arm": "mixture", "protocol": "finetune"}, 25),
        ({"arm": "mixture", "protocol": "probe_finetune"}, 25),
        ({"arm": "mixture", "protocol": "two_stage"}, 28),
        ({"arm": "cat2", "protocol": "dropout_finetune"}, 45),
        ({"arm": "cat2", "protocol": "two_stage"}, 53),
        ({"arm": "cat2", "protocol": "released_probe"}, 40),
    ],
    ids=str,
)
def test_train_steps_are_summed_over_runs(where, steps, rows):
    read = [r for r in select(rows, metric="information", **where) if row_files.kind(r) == "probe"]
    assert {r["train_steps"] for r in read} == {steps}


def test_the_config_is_kept_as_json(finished):
    (path,) = (finished[1] / "configs").glob("*.json")
    assert json.loads(path.read_text())["name"] == "tiny"


# Again


def test_again_nothing_is_redone(finished, trainings):
    config, workdir = finished
    kept, whole = files(workdir, "runs", "rows", "features"), outcome(workdir)
    assert execute.study(config, workdir) == execute.DONE
    assert files(workdir, "runs", "rows", "features") == kept and outcome(workdir) == whole and not trainings


def test_a_report_changes_nothing_but_itself(plain):
    config, workdir = plain
    made = {workdir / name for name in ("report.html", "tables", "figures")}
    before = {p: held for p, held in files(workdir, ".").items() if made.isdisjoint((p, *p.parents))}
    assert execute.study(config, workdir, "report") == execute.DONE
    after = files(workdir, ".")
    assert before and {p: after[p] for p in before} == before


def test_retrain_makes_all_runs_again_and_they_are_the_same(plain, tmp_path, trainings):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy")
    assert execute.study(config, workdir, retrain=True) == execute.DONE
    assert sorted(trainings) == sorted(f"{n}/{s}" for n in ("mixture", "direct-first", "direct-second") for s in (0, 1))
    assert outcome(workdir) == outcome(plain[1])


def elsewhere(path):
    """Changes what was made of the runs of a work directory, as if other devices had trained them."""
    for file in path.glob("rows/*.jsonl"):
        rows, items = row_files.read(file), file.with_suffix(".npz")
        if all(row["arm"] != "pixels" for row in rows):
            changed = [{**row, "value": 9.0} for row in rows]
            row_files.write(file, changed, items.read_bytes() if items.is_file() else None)
    for features in path.glob("features/*/manifest.json"):
        features.write_text(features.read_text().replace('"sha256": "', '"sha256": "0'))


@pytest.mark.parametrize("place", [None, "pages"])
def test_what_was_made_of_runs_is_made_again_with_them(place, plain, tmp_path, trainings, capsys):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy")
    elsewhere(workdir)
    assert execute.study(config, workdir, retrain=True, output=place and tmp_path / place) == execute.DONE
    assert len(trainings) == 6 and "is damaged" not in capsys.readouterr().out  # no features of before were met
    assert row_files.read(workdir / "results.jsonl") == results(plain[1])


def test_runs_made_again_halfway_are_still_to_be_made(plain, tmp_path, trainings):
    """Some are there, some are not, and somebody has looked at them before they went."""
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy", "mixture-s1-*", "results.jsonl")
    assert execute.study(config, workdir, retrain=True, output=tmp_path / "pages") == execute.DONE
    assert len(trainings) == 6


@pytest.mark.parametrize("given", [{"stage": "report"}, {"stage": "transfer"}, {"shard": (0, 2)}], ids=str)
def test_runs_are_made_again_by_one_process_that_trains(given, plain, tmp_path):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy")
    before = files(workdir, ".")
    with pytest.raises(UserError, match="^--retrain="):
        execute.study(config, workdir, retrain=True, **given)
    assert files(workdir, ".") == before


def test_other_studies_of_runs_that_are_made_again_are_named(plain, tiny, tmp_path, capsys):
    workdir = moved(plain[1], tmp_path / "two")
    assert execute.study(tiny({"name": "other", "seeds": "1", "arms": "mixture,direct,longer"}), workdir) == 0
    capsys.readouterr()
    assert execute.study(plain[0], workdir, "pretrain", retrain=True) == execute.DONE
    said = [line for line in capsys.readouterr().out.splitlines() if "--retrain" in line]
    assert len(said) == 1 and said[0].startswith("other (")


def test_a_dry_run_writes_nothing(tiny, tmp_path, capsys):
    assert execute.study(tiny(), tmp_path / "none", dry_run=True) == execute.DONE
    assert not (tmp_path / "none").exists()
    said = capsys.readouterr().out
    assert "120 steps" in said and "image-forwards" in said and "parameters" in said


@pytest.fixture
def unanswered():
    """SIGTERM that nobody answers is an error, and not the end of the tests."""

    def handler(number, frame):
        raise AssertionError("nobody answered")

    before = signal.signal(signal.SIGTERM, handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "module, moment", [(sweep, "plan"), (studied, "record"), (studied, "leave"), (execute, "report")]
)
def test_a_signal_at_any_moment_is_answered_and_the_same_command_goes_on(
    module, moment, plain, tmp_path, monkeypatch, unanswered
):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy", "rows", "results.jsonl", "report.html")
    done = getattr(module, moment)

    def struck(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return done(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(signals.Stopped):
        patch.setattr(module, moment, struck)
        execute.study(config, workdir)
    assert not (workdir / "report.html").exists() and not list(workdir.glob("locks/*-of-*"))
    assert execute.study(config, workdir) == execute.DONE and outcome(workdir) == outcome(plain[1])


# On demand, and in stages


def test_lost_targets_are_asked_about_and_later_looks_end_empty(lost):
    _, workdir = lost
    rows = results(workdir)
    gaps = select(rows, metric="gap", unit="bits")
    assert {(r["target"], r["extra"]["verdict"], r["look"], r["n_seeds"]) for r in gaps} == {
        (target, "lost", 1, 1) for target in ("first", "second")
    }
    seeds = {json.loads(path.read_text())["seed"] for path in workdir.glob("runs/*/run.json")}
    assert seeds == {0}  # nobody asks for a second look
    causes = {(r["target"], r["extra"]["cause"]): r["extra"]["status"] for r in select(rows, metric="restored")}
    assert causes["first", "label conflict"] == causes["second", "label conflict"] == "named"
    assert causes["first", "dilution"] == "not asked"
    assert all(r["extra"]["reason"] for r in select(rows, metric="restored") if r["extra"]["status"] == "not asked")


@pytest.mark.slow
def test_stages_in_turn_give_the_same_bytes(lost, tmp_path, capsys):
    config, workdir = lost
    stages = ("pretrain", "transfer", "analyze", "report")
    first = {stage: execute.study(config, tmp_path, stage) for stage in stages}
    assert first["pretrain"] == execute.UNFINISHED  # interventions wait for verdicts
    assert first["report"] == execute.UNFINISHED and "unfinished" in capsys.readouterr().out
    rounds = 0
    while execute.study(config, tmp_path, "report") == execute.UNFINISHED and rounds < 6:
        assert not (tmp_path / "report.html").exists()
        rounds += 1
        for stage in stages[:-1]:
            execute.study(config, tmp_path, stage)
    assert 1 <= rounds < 6 and outcome(tmp_path) == outcome(workdir)


def test_a_stage_before_its_time_says_what_it_waits_for(tiny, tmp_path, capsys):
    for stage in ("transfer", "analyze", "report"):
        assert execute.study(tiny(), tmp_path, stage) == execute.UNFINISHED
        assert "unfinished" in capsys.readouterr().out and not list(tmp_path.glob("runs/*"))


def test_stages_of_a_study_without_demands_are_done_one_by_one(tiny, plain, tmp_path):
    assert [execute.study(tiny(), tmp_path, stage) for stage in ("pretrain", "transfer", "analyze", "report")] == [
        0
    ] * 4
    assert outcome(tmp_path) == outcome(plain[1])


# Elsewhere, and after losses


def test_moved_without_features_and_rows_the_bytes_are_the_same(finished, tmp_path, trainings):
    config, workdir = finished
    elsewhere = moved(workdir, tmp_path / "elsewhere", "features", "rows", "results.jsonl", "report.html")
    assert execute.study(config, elsewhere) == execute.DONE
    assert outcome(elsewhere) == outcome(workdir) and not trainings


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def damaged_step(workdir):
    """A kept step of which the largest file is damaged."""
    (step,) = workdir.glob("runs/mixture-s0-*/checkpoints/20")
    inside = (p for p in step.rglob("*") if p.is_file() and p.name != "manifest.json")
    damage(max(inside, key=lambda p: p.stat().st_size))
    return step


def test_a_damaged_checkpoint_is_named_and_trained_again(plain, tmp_path, capsys, trainings):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy", "features", "rows")
    step = damaged_step(workdir)
    assert execute.study(config, workdir, "transfer") == execute.UNFINISHED  # another stage trains
    said = capsys.readouterr().out
    assert str(step) in said and "SHA-256" in said and said.count("training replaces it") == 1 and not trainings
    assert execute.study(config, workdir) == execute.DONE
    assert outcome(workdir) == outcome(plain[1]) and trainings == ["mixture/0"]


@pytest.mark.parametrize("look", [{"dry_run": True}, {"stage": "report"}, {"output": True}], ids=str)
def test_who_only_looks_at_a_damaged_checkpoint_removes_nothing(look, plain, tmp_path, monkeypatch):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy")
    step = damaged_step(workdir)
    before = files(workdir, "runs")
    if "output" in look:  # it would go on to train: what it does before it holds the lock is looked at
        look = {"output": tmp_path / "pages"}
        monkeypatch.setattr(lock, "hold", refused)
    with contextlib.suppress(UserError):
        execute.study(config, workdir, **look)
    assert step.is_dir() and files(workdir, "runs") == before


def refused(workdir, shard):
    raise UserError("workdir", str(workdir), "nobody else")


def test_damaged_features_are_named_and_made_again(plain, tmp_path, capsys, trainings):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy", "rows")
    damaged = sorted(workdir.glob("features/*/features-test.npy"))[0]
    damage(damaged)
    assert execute.study(config, workdir) == execute.DONE
    said = capsys.readouterr().out
    assert f"{damaged} is damaged" in said and "made again" in said and not trainings
    assert outcome(workdir) == outcome(plain[1])


@pytest.fixture
def images(tmp_path):
    """(config overrides, file) of a study of somebody's own images."""
    rng, path = np.random.default_rng(0), tmp_path / "images.npz"
    x, y = rng.integers(0, 256, (160, 8, 8, 3), dtype=np.uint8), np.arange(160) % 2
    np.savez(path, x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    source = {"source": {"name": "arrays", "path": str(path)}}
    components = {"first": source, "second": {**source, "transforms": {"tint": {}}}}
    return {"components": str(components), "data.train": "None", "data.test": "None", "seeds": "1"}, path


def test_a_finished_study_reports_when_its_data_are_gone(tiny, images, tmp_path, capsys):
    overrides, path = images
    config, workdir = tiny(overrides), tmp_path / "study"
    assert execute.study(config, workdir) == execute.DONE
    whole = outcome(workdir)
    path.unlink()
    (workdir / "report.html").unlink()
    assert execute.study(config, workdir) == execute.DONE
    assert outcome(workdir) == whole and "the data or networks cannot be read" in capsys.readouterr().err
    (workdir / "report.html").unlink()
    assert analyze.main(["analyze", str(workdir)]) == execute.DONE
    said = capsys.readouterr().err
    assert (
        outcome(workdir) == whole and said.startswith("the data or networks cannot be read") and said.count("\n") == 1
    )
    for given in ({"stage": "pretrain"}, {"retrain": True}, {"dry_run": True}):
        with pytest.raises(UserError, match="images.npz"):
            execute.study(config, workdir, **given)
    next(workdir.glob("rows/*.jsonl")).unlink()
    for stage in ("transfer", "analyze", "report", "all"):
        with pytest.raises(UserError, match="images.npz"):
            execute.study(config, workdir, stage)


def test_no_study_is_reported_for_data_that_lie_elsewhere(tiny, images, tmp_path):
    """Not even where nothing lies, as after a slip in a directory's name."""
    overrides, path = images
    execute.study(tiny(overrides), tmp_path / "study")
    whole = outcome(tmp_path / "study")
    slip = {**overrides, "components": overrides["components"].replace(str(path), f"/no{path}")}
    with pytest.raises(UserError, match="/no/"):
        execute.study(tiny(slip), tmp_path / "study")
    assert outcome(tmp_path / "study") == whole


def test_data_of_one_name_in_two_directories_are_two_studies(tiny, images, tmp_path):
    overrides, path = images
    (tmp_path / "other").mkdir()
    with np.load(path) as held:
        np.savez(tmp_path / "other" / path.name, **{name: held[name][::-1] for name in held})
    second = {**overrides, "components": overrides["components"].replace(str(tmp_path), str(tmp_path / "other"))}
    workdir = tmp_path / "study"
    for each in (overrides, second):
        assert execute.study(tiny(each), workdir) == execute.DONE
    assert len({r["config_hash"] for r in results(workdir)}) == 2 == len(list(workdir.glob("configs/*.json")))
    assert not (workdir / "rows" / "superseded").exists()


def test_a_finished_study_reports_from_a_directory_that_is_read_only(plain, tmp_path):
    config, workdir = plain[0], moved(plain[1], tmp_path / "archive")
    for path in (workdir, *workdir.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {p: os.stat(p).st_mtime_ns for p in (workdir, *workdir.rglob("*"))}  # for those who may write anyway
    try:
        assert execute.study(config, workdir, output=tmp_path / "pages") == execute.DONE
        assert {p: os.stat(p).st_mtime_ns for p in (workdir, *workdir.rglob("*"))} == before
    finally:
        for path in (workdir, *workdir.rglob("*")):
            path.chmod(0o755)
    assert (tmp_path / "pages" / "report.html").read_bytes() == (workdir / "report.html").read_bytes()


# More than one study


def test_two_studies_in_one_directory(plain, tiny, tmp_path, trainings):
    workdir = moved(plain[1], tmp_path / "two")
    before = trained(workdir)
    other = tiny({"name": "other", "arms": "mixture,direct,longer", "arms_for": "all"})
    assert execute.study(other, workdir) == execute.DONE
    assert {p: trained(workdir)[p] for p in before} == before and sorted(trainings) == ["longer/0", "longer/1"]
    rows = results(workdir)
    for name, alone in (("tiny", results(plain[1])), ("other", None)):
        own = [r for r in rows if r["study"] == name]
        assert own and (alone is None or own == alone)
    assert {r["arm"] for r in rows if r["study"] == "tiny"}.isdisjoint({"longer"})


def test_a_study_that_was_stopped_has_its_rows_still_when_another_ends(plain, tiny, tmp_path, monkeypatch):
    workdir, write, made = moved(plain[1], tmp_path / "two"), Store.write, []

    def cut_short(store, task, *args):
        write(store, task, *args)
        made.append(store.rows_path(task.key))
        raise signals.Stopped

    with monkeypatch.context() as patch, pytest.raises(signals.Stopped):
        patch.setattr(Store, "write", cut_short)
        execute.study(tiny({"name": "other", "probe.scalings": "raw,"}), workdir)
    assert execute.study(plain[0], workdir) == execute.DONE
    assert made and all(path.is_file() for path in made) and not (workdir / "rows" / "superseded").exists()


def test_a_representation_added_later_trains_only_the_steps_it_asks_for(plain, tiny, tmp_path):
    workdir = moved(plain[1], tmp_path / "more")
    before = trained(workdir)
    members = "'members': 'mixture/*@{}:features'"
    added = f"{{'cat2': {{{members.format('last')}, 'n': 2}}, 'half': {{{members.format('1/2')}}}}}"
    execute.study(tiny({"representations": added}), workdir)
    after = trained(workdir)
    assert {p: after[p] for p in before} == before and {p.parent.name for p in set(after) - set(before)} == {"10"}
    gains = select(results(workdir), arm="cat2", metric="excess_gain")
    assert {r["target"] for r in gains} == {"first", "second"}
    assert all("no verdict" in r["extra"]["note"] for r in gains)


def test_another_version_of_a_kind_redoes_it_and_its_old_rows_are_set_aside(plain, tmp_path, trainings, monkeypatch):
    config, workdir = plain[0], moved(plain[1], tmp_path / "copy")
    before = {p.name for p in workdir.glob("rows/*.jsonl")}
    monkeypatch.setattr(Probe, "VERSION", Probe.VERSION + 1)
    assert execute.study(config, workdir) == execute.DONE
    live, aside = ({p.name for p in workdir.glob(pattern)} for pattern in ("rows/*.jsonl", "rows/superseded/*.jsonl"))
    assert not trainings and live.isdisjoint(before) and aside == before
    probed = [r for r in results(workdir) if row_files.kind(r) == "probe"]
    assert {r["version"].split()[0] for r in probed} == {f"probe-{Probe.VERSION}"}


def test_a_grid_is_trained_once_and_paid_for(tiny, tmp_path, trainings):
    config = tiny({"grid": "{'lr': (0.02, 0.05)}", "probe.protocols": "linear_probe,"})
    assert execute.study(config, tmp_path) == execute.DONE
    arms = ("mixture", "direct-first", "direct-second")
    expected = [f"{arm}/{seed}" for arm in arms for seed in (0, 0, 1)]  # two candidates; the others reuse the choice
    assert sorted(trainings) == sorted(expected)
    rows = results(tmp_path)
    read = [r for r in select(rows, protocol="linear_probe", metric="information") if r["arm"] in ("mixture", "direct")]
    assert {r["train_steps"] for r in read} == {60}
    assert {r["arm"] for r in rows if r["seed"] == "all" and r["arm"]}.isdisjoint({"0", "1"})
    losses = select(rows, metric="tuning_loss")
    assert len(losses) == 6 and sum(r["extra"]["chosen"] for r in losses) == 3
    for path in tmp_path.glob("runs/mixture-s*/run.json"):
        assert json.loads(path.read_text())["optimizer"]["lr"] in (0.02, 0.05)


@pytest.mark.parametrize("stage", ["all", "report"])
def test_an_output_that_is_no_directory_is_one_line(stage, plain, tmp_path):
    config, workdir = plain
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output=.*file.*can be written"):
        execute.study(config, workdir, stage, output=tmp_path / "file" / "pages")


def test_a_report_where_nothing_can_be_written_is_one_line(plain, monkeypatch):
    config, workdir = plain
    monkeypatch.setattr(studied.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="--workdir=.*can be written"):
        execute.study(config, workdir, "report")
