"""From bytes and versions to keys: what a change on disk or in the code redoes, and what it leaves alone."""

import collections
import json
import time

import numpy as np
import pytest
from PIL import Image

import bottleneck
from bottleneck import execute, pretraining, results
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.answer import Answer
from bottleneck.choose import Choose
from bottleneck.features import extract
from bottleneck.graph import Outcomes
from bottleneck.planning import plan as plans
from bottleneck.probing import Probe
from bottleneck.store import Store
from bottleneck.tasks import STAGES
from bottleneck.training.run import Run
from tests.golden import specs

SIDE = 8
HEADER = 54  # bytes of a bitmap before its pixels


def images(folder, seed):
    """Two classes, the first with a bright left half, as uncompressed bitmaps."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 24), ("test", 12)):
        for label, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)
                image[:, : SIDE // 2] += np.uint8(50 * (1 - label))
                Image.fromarray(image).save(folder / split / name / f"{i}.bmp")
    return str(folder)


@pytest.fixture
def study(tiny, tmp_path, monkeypatch):
    """A study of two folders; a third component sees the first folder through a tint."""
    monkeypatch.setenv("BOTTLENECK_CACHE", str(tmp_path / "cache"))
    first, second = images(tmp_path / "first", 0), images(tmp_path / "second", 1)
    config = tiny({"train.steps": "4", "seeds": "1", "mixture.label_space": "disjoint"})
    with config.unlocked():
        config.data = {"image_size": SIDE, "probe": 12, "val": 12}
        config.components = {
            "first": {"source": {"name": "folder", "path": first}},
            "second": {"source": {"name": "folder", "path": second}},
            "tinted": {"source": {"name": "folder", "path": first}, "transforms": {"tint": {}}},
        }
        config.mixture.weights = {"first": 0.5, "second": 0.5, "tinted": 0.0}
    return config


class Done:
    """What carrying out a study did: the runs that were trained, and the passes over images."""

    def __init__(self, config, workdir, monkeypatch):
        self.trained, self.passes = [], []
        with monkeypatch.context() as patch:
            train, extracted = pretraining.loop.train, Store.extract

            def counted_train(members, *args, **options):
                self.trained.extend(member.run.name for member in members)
                return train(members, *args, **options)

            def counted_pass(store, source, component, *args, **options):
                self.passes.append((source.name, component.name))
                return extracted(store, source, component, *args, **options)

            patch.setattr(pretraining.loop, "train", counted_train)
            patch.setattr(Store, "extract", counted_pass)
            self.plan = plans.plan(studies.spec(config))
            store = Store(workdir)
            execute.carry_out(self.plan.graph, store, STAGES)
            store.outcomes = Outcomes(self.plan.graph, store)
            assert not store.outcomes.left()
            results.leave(self.plan, store, config, complete=True)
        self.trained.sort()


def flip(path):
    """Changes one byte of a picture, at equal size."""
    time.sleep(0.02)  # file systems count time in ticks
    size, content = path.stat().st_size, bytearray(path.read_bytes())
    content[HEADER + 7] ^= 64
    path.write_bytes(content)
    assert path.stat().st_size == size


def items(plan, component, split):
    return list(plan.targets[component].splits[split].items.names)


def on_disk(tmp_path, folder, name):
    matches = [path for path in (tmp_path / folder).rglob("*.bmp") if path.as_posix().endswith(name)]
    assert len(matches) == 1
    return matches[0]


def test_a_changed_image_redoes_what_saw_it_and_nothing_else(study, tmp_path, monkeypatch):
    workdir = tmp_path / "work"
    first = Done(study, workdir, monkeypatch)
    assert first.trained == ["direct-first", "direct-second", "direct-tinted", "mixture"]
    again = Done(study, workdir, monkeypatch)
    assert (again.trained, again.passes) == ([], [])

    for split in ("test", "probe", "val"):  # the latter two are held out of the folder's training images
        flip(on_disk(tmp_path, "second", items(first.plan, "second", split)[0]))
    held_out = Done(study, workdir, monkeypatch)
    assert held_out.trained == [] and {component for _, component in held_out.passes} == {"second"}

    flip(on_disk(tmp_path, "second", items(first.plan, "second", "train")[0]))
    train = Done(study, workdir, monkeypatch)
    assert train.trained == ["direct-second", "mixture"]
    assert {source.partition("/")[0] for source, _ in train.passes} == {"direct-second", "mixture"}

    flip(on_disk(tmp_path, "first", items(first.plan, "first", "train")[0]))
    assert Done(study, workdir, monkeypatch).trained == ["direct-first", "direct-tinted", "mixture"]


def test_a_file_touched_or_moved_redoes_nothing(study, tmp_path, monkeypatch):
    workdir = tmp_path / "work"
    Done(study, workdir, monkeypatch)
    for path in (tmp_path / "first").rglob("*.bmp"):
        path.write_bytes(path.read_bytes())
    (tmp_path / "second").rename(tmp_path / "elsewhere")
    with study.unlocked():
        study.components.second.source.path = str(tmp_path / "elsewhere")
    moved = Done(study, workdir, monkeypatch)
    assert (moved.trained, moved.passes) == ([], [])


# Versions


@pytest.fixture
def analysed(tiny):
    """A study with tasks of every kind, never carried out."""
    config = tiny({"seeds": "2"})
    with config.unlocked():
        config.arms = studies.StudySpec.arms
        config.probe.update(
            protocols=("head", "linear_probe", "finetune"), arms=("mixture", "random"), finetune={"steps": 5}
        )
        config.analysis = {"kinds": ("ladder", "steps", "seeds", "cka", "relatedness", "recovery"), "halvings": 1}
        config.grid = {"lr": (0.05, 0.1)}
        config.claims = {"first": {"says": "it is learned", "reads": {"target": "first"}, "above": 60.0}}
        config.recipes = {"diverse": {"rounds": 2}}
    return studies.spec(config)


def bump(kind, monkeypatch):
    """One version more of a kind, as in a later version of this package."""
    monkeypatch.setattr(extract, "_keys", {})  # a process has one version of each kind
    for cls in {Run} if kind == "train" else specs.kinds()[kind]:
        if "VERSION" in vars(cls):
            monkeypatch.setattr(cls, "VERSION", cls.VERSION + 1)


@pytest.mark.parametrize(
    "kind", [kind for kind in specs.versions() if kind not in ("sweep", "law", "spread", "audit")]
)  # of sweeps and audits alone
def test_a_version_changes_the_keys_of_its_kind_and_of_what_reads_it_only(kind, analysed, monkeypatch):
    before = [(type(task), task.key) for task in plans.plan(analysed).graph]
    bump(kind, monkeypatch)
    graph = plans.plan(analysed).graph
    after, redone = list(graph), set()
    assert [type(task) for task in after] == [cls for cls, _ in before]
    for task in after:
        if kind == task.KIND or any(graph.maker[output].key in redone for output in task.needs):
            redone.add(task.key)
    assert any(kind == task.KIND for task in after)
    for (_, old), task in zip(before, after, strict=True):
        assert (old != task.key) == (task.key in redone), task


def test_a_version_redoes_its_kind_and_results_hold_live_rows_only(study, tmp_path, monkeypatch):
    workdir = tmp_path / "work"
    Done(study, workdir, monkeypatch)
    runs = {path: path.stat().st_mtime_ns for path in workdir.rglob("runs/*/checkpoints/*/manifest.json")}
    old = {path.stem for path in (workdir / "rows").glob("*.jsonl")}
    bump("probe", monkeypatch)
    redone = Done(study, workdir, monkeypatch)
    assert redone.trained == [] and redone.passes == []
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
    live = {task.key for task in redone.plan.graph}
    assert {path.stem for path in (workdir / "rows").glob("*.jsonl")} <= live
    assert {path.stem for path in (workdir / "rows" / "superseded").glob("*.jsonl")} == old - live != set()
    rows = row_files.read(workdir / "results.jsonl")
    (tasks,) = (workdir / "configs").glob("*.tasks")
    count = sum(len(row_files.read(workdir / "rows" / f"{key}.jsonl")) for key in json.loads(tasks.read_text())["rows"])
    assert len(rows) == count
    assert {row["version"] for row in rows if row_files.kind(row) == "probe"} == {
        f"probe-{Probe.VERSION} {bottleneck.__version__}"
    }


def test_every_row_names_the_version_of_its_kind(study, tmp_path, monkeypatch):
    plan = Done(study, tmp_path / "work", monkeypatch).plan
    store = Store(tmp_path / "work")
    seen = collections.Counter()
    for task in plan.graph:
        for row in store.rows(task):
            assert row["version"] == f"{task.KIND}-{task.VERSION} {bottleneck.__version__}"
            seen[task.KIND] += 1
    assert set(seen) == {Probe.KIND, Choose.KIND, Answer.KIND}
    joined = row_files.read(tmp_path / "work" / "results.jsonl")
    assert collections.Counter(map(row_files.kind, joined)) == seen


def test_a_second_study_in_a_work_directory_takes_no_row_from_the_first(study, tmp_path, monkeypatch):
    workdir = tmp_path / "work"
    Done(study, workdir, monkeypatch)
    alone = set((workdir / "results.jsonl").read_text().splitlines())
    with study.unlocked():
        study.name, study.train.steps = "longer", 6
    Done(study, workdir, monkeypatch)
    both = (workdir / "results.jsonl").read_text().splitlines()
    assert alone < set(both) and {json.loads(line)["study"] for line in both} == {"tiny", "longer"}
    assert not (workdir / "rows" / "superseded").exists()
