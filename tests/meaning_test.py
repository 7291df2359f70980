"""What the words mean: studies in which one thing alone costs a component something are read as that thing."""

import pathlib

import ml_collections
import numpy as np
import pytest

from bottleneck import config as configs
from tests.cases.carried import Answer
from tests.cases.single import TARGET

ROOT = pathlib.Path(__file__).parents[1]
SINGLE = ROOT / "tests" / "cases" / "single.py"
SIDE = 8


# A component alone


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(name="sgd", lr=0.05, weight_decay=5e-4, clip=1.0),
        dict(name="adamw", lr=0.002, weight_decay=0.01, schedule="cosine"),
        dict(name="adamw", lr=0.002, weight_decay=0.0),
    ],
    ids=["sgd", "adamw", "adam"],
)
@pytest.mark.parametrize("label_space", ["shared", "disjoint", "per_component"])
def test_a_lone_component_has_no_gap_and_no_part_of_one(tiny, tmp_path, optimizer, label_space):
    config = tiny({"mixture.label_space": label_space})
    with config.unlocked():
        config.components = {"first": config.components.first}
        config.mixture.weights = {"first": 0.3}
        config.optimizer = optimizer
        config.objective.dropout = 0.1  # draws of its own, the same in every arm
        config.arms, config.arms_for = ("mixture", "direct", "alone"), "all"
    answer = Answer(config, tmp_path)
    for metric in ("gap", "exposure", "interference"):
        for row in answer.rows:
            if row["metric"] == metric:
                assert row["value"] == 0 and row["ci95"] == [0, 0], row
    assert answer.verdict("first") in ("retained", "untestable", "inconclusive")
    assert answer.mean("alone", "first") == answer.mean("direct", "first") == answer.mean("mixture", "first")


# Normalisation


def gratings(count: int, seed: int):
    """Stripes across or along the image [n, SIDE, SIDE], of any phase, in noise: no pixel tells by itself."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    wave = 0.2 * np.sin(np.arange(SIDE) * np.pi / 2 + rng.uniform(0, 2 * np.pi, (count, 1)))
    stripes = np.where(labels[:, None, None] == 0, wave[:, :, None], wave[:, None, :])
    return np.clip(0.5 + stripes + 0.12 * rng.standard_normal((count, SIDE, SIDE)), 0, 1), labels


def dimmed(folder: pathlib.Path) -> ml_collections.ConfigDict:
    """Two components of one kind of image, the second's pixels multiplied by 0.03; BatchNorm in every layer."""
    for seed, (name, scale) in enumerate((("plain", 1.0), ("dimmed", 0.03))):
        (x, y), (x_test, y_test) = gratings(2000, 10 + seed), gratings(600, 20 + seed)
        x, x_test = (np.rint(255 * scale * images).astype(np.uint8) for images in (x, x_test))
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    names = ("plain", "dimmed")
    return ml_collections.ConfigDict(
        dict(
            name="normalisation",
            seeds=3,
            components={name: dict(source=dict(name="arrays", path=str(folder / f"{name}.npz"))) for name in names},
            mixture=dict(weights=dict(plain=0.9, dimmed=0.1)),
            data=dict(image_size=SIDE, mean=(0.0, 0.0, 0.0), probe=600, val=300),
            model=dict(name="resnet", depth=20, width=0.25),
            optimizer=dict(name="sgd", lr=0.1, weight_decay=1e-4, schedule="cosine"),
            train=dict(steps=100, batch=32),
            probe=dict(protocols=("linear_probe",)),
            arms=("mixture", "direct", "alone"),
            arms_for=("dimmed",),
        )
    )


@pytest.mark.slow
def test_a_component_that_is_only_dimmed_loses_by_normalisation(tmp_path):
    answer = Answer(dimmed(tmp_path), tmp_path / "work")
    assert answer.verdict("plain") == "retained" and answer.verdict("dimmed") == "lost"
    gap, *parts = (answer.part(m, "dimmed") for m in ("gap", "normalisation", "exposure", "interference"))
    assert sum(part["value"] for part in parts) == pytest.approx(gap["value"], abs=1e-9)
    normalisation, others = parts[0], parts[1]["value"] + parts[2]["value"]
    assert normalisation["ci95"][0] > 0.5 * gap["value"] and abs(others) < 0.1 * gap["value"]
    assert {part["protocol"] for part in parts} == {"linear_probe_bn"}
    # With statistics of its own the mixture reads all that direct training does, though it hardly trained on it.
    own = answer.one(metric="information", arm="mixture", target="dimmed", protocol="linear_probe_bn")
    assert own["value"] > 0.9 * answer.mean("direct", "dimmed")


# One cause at a time


def single(cause: str, tmp_path) -> Answer:
    return Answer(configs.load(f"{SINGLE}:{cause}"), tmp_path)


def read_alone(answer: Answer, cause: str) -> None:
    """That a study's lost component reads this cause, and that no other is named."""
    target, named = TARGET[cause], cause.replace("_", " ")
    statuses = answer.statuses(target)
    assert answer.verdict(target) == "lost", answer.said(target)
    assert statuses.pop(named) in ("named", "likely"), answer.said(target)
    assert "named" not in statuses.values(), answer.said(target)


@pytest.mark.slow
def test_capacity_is_read_alone(tmp_path):
    answer = single("capacity", tmp_path)
    read_alone(answer, "capacity")
    interference, exposure = (answer.part(metric, "c3")["value"] for metric in ("interference", "exposure"))
    assert interference > 0.95 * answer.part("gap", "c3")["value"] and abs(exposure) < 0.01
    assert [answer.verdict(f"c{j}") for j in range(3)] == ["retained"] * 3  # Baldi & Hornik (1989)


@pytest.mark.slow
def test_dilution_is_read_alone(tmp_path):
    answer = single("dilution", tmp_path)
    read_alone(answer, "dilution")
    assert [answer.verdict(f"c{j}") for j in range(3)] == ["retained"] * 3  # their weights are above the decay
    assert answer.mean("balanced", "c3") > 0.9 and answer.mean("longer", "c3") < 0.1


def test_unfinished_training_is_read_alone(tmp_path):
    answer = single("unfinished_training", tmp_path)
    read_alone(answer, "unfinished_training")
    assert answer.statuses("c1")["capacity"] == "undecided"  # the wider network reads it untrained


@pytest.mark.slow
def test_scarcity_is_read_alone(tmp_path):
    answer = single("scarcity", tmp_path)
    read_alone(answer, "scarcity")
    assert answer.part("exposure", "c0")["value"] > 0.5 * answer.part("gap", "c0")["value"]  # a part of it


@pytest.mark.slow
def test_label_conflict_is_read_alone(tmp_path):
    answer = single("label_conflict", tmp_path)
    read_alone(answer, "label_conflict")
    assert answer.verdict("plus") == "lost" and answer.part("exposure", "minus")["value"] < 0.05


@pytest.mark.slow
def test_competition_is_read_alone(tmp_path):
    answer = single("competition", tmp_path)
    read_alone(answer, "competition")
    assert answer.verdict("easy") == "retained"
    row = next(row for row in answer.restored("shadowed") if row["extra"]["cause"] == "competition")
    assert row["factor"] == "background" and row["arm"] == "randomised"
    assert answer.mean("mixture", "shadowed", "background") < 0.5 * answer.mean("direct", "shadowed", "background")


@pytest.mark.slow
def test_the_solvable_study_of_the_configs_names_capacity(tmp_path):
    answer = Answer(configs.load(f"{ROOT / 'configs' / 'solvable.py'}:seeds=4", [("analysis.kinds", "()")]), tmp_path)
    for j in range(3, 6):
        target = f"mode{j}"
        assert answer.verdict(target) == "lost" and answer.statuses(target)["capacity"] == "named", answer.said(target)
    assert [answer.verdict(f"mode{j}") for j in range(3)] == ["retained"] * 3
