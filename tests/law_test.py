"""A law over a sweep of mixture weights: fitted to points that are not held out, worth what it says of the others."""

import numpy as np
import pytest

from bottleneck import execute, sweep
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.law import Law
from bottleneck.report import law as chapter
from bottleneck.report import law_figure, tables
from tests.sweep_test import WEIGHT, swept, weights

SIX = (0.02, 0.1, 0.5, 2.0, 10.0, 50.0)
HELD_OUT = (0.05, 0.2, 1.0, 5.0, 20.0)


class Planted:
    """A store whose probes lose `loss(target, weight)` bits a seed, of labels that are worth about 1 bit."""

    def __init__(self, made, loss):
        self.items_of = {}
        for point in made.points:
            for probe in point.plan.probes_of("mixture", "direct"):
                rng = np.random.default_rng([probe.seed, *probe.key.encode()])
                lost = (loss(probe.target, point.at[WEIGHT]) if probe.arm == "mixture" else 0.1) * np.exp(
                    0.01 * rng.normal()
                )
                labels = probe.component.splits["test"].labels
                information = -np.log2(probe.null)[labels] - lost
                self.items_of[probe.key] = {"information": information[None].astype(np.float32)}

    def present(self, task):
        return True

    def items(self, probe):
        return self.items_of[probe.key]


def planted(target: str, weight: float) -> float:
    share = weight / (0.7 + weight)
    return 0.05 + 0.95 / (1 + share / 0.1) if target == "second" else 0.02 + 0.6 * np.exp(-3 * (1 - share))


def told(loss=planted, held_out=HELD_OUT) -> list[dict]:
    config = swept([("seeds", "4")], axes=weights(*SIX, *HELD_OUT), held_out=weights(*held_out))
    made = sweep.plan(config)
    (task,) = (task for task in made.tasks if isinstance(task, Law))
    return [row_files.row(finding, "law", 1) for finding in task.findings(Planted(made, loss))]


@pytest.fixture(scope="module")
def rows():
    return told()


def find(rows, **keys):
    (row,) = row_files.select(rows, **keys)
    return row


def test_the_loss_is_the_probe_s_own(rows):
    for value in (*SIX, *HELD_OUT):
        for target in ("first", "second"):
            row = find(rows, metric="loss", target=target, point={WEIGHT: value})
            assert row["value"] == pytest.approx(planted(target, value), rel=0.03) and row["unit"] == "bits"
            assert row["extra"]["held_out"] == (value in HELD_OUT) and row["n_seeds"] == 4 and row["n_examples"] == 37
    assert find(rows, metric="loss", target="second", point={WEIGHT: 10.0})["extra"]["share"] == pytest.approx(
        10 / 10.7, abs=0.05
    )


def test_a_planted_law_tells_what_was_held_out(rows):
    forms = {r["target"]: r["extra"]["form"] for r in row_files.select(rows, metric="predicted_loss")}
    assert forms == {"first": "exponential", "second": "saturating"}
    for target in ("first", "second", None):
        where = dict(target=target, point=None, unit="fraction")
        law, nearest = (find(rows, metric=f"{by}_error", **where) for by in ("law", "nearest"))
        assert law["value"] < 0.03 < 0.1 < nearest["value"] and law["ci_unit"] == "held-out mixtures"
        gain = find(rows, metric="law_gain", reference="nearest", **where)
        assert gain["value"] == pytest.approx(nearest["value"] - law["value"])
        said = law["extra"]["sentence"]
        assert ("the law is better" in said) == (gain["ci95"][0] > 0) and f"at {len(HELD_OUT)} others" in said
        assert find(rows, metric="law_error", target=target, point=None, unit="bits")["value"] < 0.02
    assert "the law is better" in said  # of all components


def test_means_are_of_the_single_errors(rows):
    single = [find(rows, metric="law_error", target="second", point={WEIGHT: value})["value"] for value in HELD_OUT]
    whole = find(rows, metric="law_error", target="second", point=None, unit="fraction")
    assert whole["value"] == pytest.approx(np.abs(single).mean())


def test_where_a_component_falls_off(rows):
    """Direct training loses .1 bits: what loses more than about .19 is lost, at shares of `second` below about .6."""
    states = {r["point"][WEIGHT]: r["extra"]["state"] for r in row_files.select(rows, metric="margin", target="second")}
    assert all(states[w] == "lost" for w in (0.02, 0.05, 0.1, 0.2, 0.5)) and states[50.0] == states[20.0] == "kept"
    (edge,) = row_files.select(rows, metric="edge")
    lost, kept = edge["extra"]["edges"]["second"]
    assert 0.4 < lost < kept < 0.95 and f"kept from {kept:.2%} on" in edge["extra"]["sentence"]


def test_what_is_held_out_is_never_fitted(rows):
    """Other losses at held-out points change no prediction, only the errors."""
    other = told(lambda target, weight: planted(target, weight) * (3.0 if weight in HELD_OUT else 1.0))
    for row in row_files.select(rows, metric="predicted_loss"):  # of the same seeds
        again = find(other, metric="predicted_loss", target=row["target"], point=row["point"])
        assert again["value"] == row["value"] and again["ci95"] == row["ci95"]
        assert again["extra"]["left_out"] == row["extra"]["left_out"]
    assert find(other, metric="law_error", target=None, point=None, unit="fraction")["value"] > 0.6


def test_a_law_is_another_task_when_other_points_are_held_out():
    def key(*held_out):
        made = sweep.plan(swept(axes=weights(*SIX), held_out=weights(*held_out)))
        return made.tasks[1].key

    assert len({key(0.1), key(2.0), key(0.1, 2.0)}) == 3
    assert len(sweep.plan(swept(axes=weights(*SIX))).tasks) == 1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (dict(axes=weights(*SIX), held_out=weights(0.3)), rf"sweep.held_out.{WEIGHT}=0.3: .*a value of this axis"),
        (dict(axes=weights(*SIX), held_out=weights(*SIX[1:])), r"at least one point, and 4 others"),
        (dict(axes=weights(*SIX), held_out=dict(model=dict(width=(8,)))), r"sweep.held_out.model.width"),
        (dict(axes=weights(*SIX) | dict(seeds=(1, 2)), held_out=weights(0.1)), r"a sweep of mixture.weights alone"),
        (dict(held_out=weights(0.1)), r"sweep.held_out.*nothing is swept"),
    ],
)
def test_a_mistake_is_one_line(keys, said):
    with pytest.raises(UserError, match=said) as met:
        sweep.plan(swept(**keys))
    assert "\n" not in str(met.value)


# Its section of the report


def test_the_section_shows_every_component_and_point(rows):
    shown = law_figure.section({"law": rows})
    figure, summary, points = shown.parts
    assert len(figure.panels) == 2 and [line[0] for line in summary.rows] == ["first", "second", "all"]
    assert len(points.rows) == 2 * (len(SIX) + len(HELD_OUT))
    assert [line[2] for line in points.rows].count("held out") == 2 * len(HELD_OUT)
    assert "From 6 trained mixtures the components' loss at 5 others is told" in shown.sentence
    assert shown.sentence.startswith("By their own share of the mixture") and points.rows[0][-1] == "lost"
    assert law_figure.section({}) is None and chapter.tables({}) == [] and chapter.sentences({}) == []
    assert "Data-mixture law" in tables.terminal(rows)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("law")
    config = swept([("train.steps", "6")], axes=weights(0.1, 0.2, 0.4, 0.8, 1.6), held_out=weights(0.4))
    assert execute.study(config, workdir) == execute.DONE
    return workdir, row_files.read(workdir / "results.jsonl")


def test_a_sweep_ends_in_a_law(finished):
    workdir, found = finished
    laws = [r for r in found if row_files.kind(r) == "law"]
    assert {r["target"] for r in laws} == {"first", "second", None} and all(tuple(r) == row_files.KEYS for r in laws)
    loss = find(laws, metric="loss", target="second", point={WEIGHT: 0.4})
    probes = dict(arm="mixture", target="second", metric="information", protocol="linear_probe", seed="all")
    information = [r["value"] for r in row_files.select(found, **probes, point={WEIGHT: 0.4}) if r["unit"] == "bits"]
    assert loss["value"] == pytest.approx(1.0 - information[0], abs=0.1)  # test labels are nearly balanced
    report = (workdir / "report.html").read_text()
    assert "Data-mixture law" in report and (workdir / "tables" / "law.csv").is_file()
