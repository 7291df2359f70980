"""Durations, and what is and is not part of a run's identity."""

import dataclasses

import numpy as np
import pytest

from bottleneck import identity, models
from bottleneck.errors import UserError
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.run import Run, TrainSpec, duration

UNITS = [
    (300, 300),
    ("300", 300),
    ("300 steps", 300),
    ("1 step", 1),
    ("2 epochs", 12),
    ("2epochs", 12),
    ("1 epoch", 6),
    ("0.5 epochs", 3),
    ("640 examples", 40),
    ("1e3 steps", 1000),
]


@pytest.mark.parametrize(("value", "steps"), UNITS)
def test_duration(value, steps):
    assert duration(value, batch=16, examples=100, key="train.steps") == steps


@pytest.mark.parametrize(
    "value",
    [
        0,
        -5,
        "0 steps",
        "0.01 epochs",
        "3 weeks",
        "many steps",
        "",
        "epochs",
        "nan steps",
        "inf epochs",
        "1e999 steps",
        "1..2 steps",
    ],
)
def test_duration_refused(value):
    with pytest.raises(UserError, match="^train.steps=") as error:
        duration(value, batch=16, examples=100, key="train.steps")
    assert "step" in error.value.expected


def test_batch_log_and_save_are_positive():
    for field in ("batch", "log_every", "save_every"):
        with pytest.raises(UserError, match=f"^{field}=0: expected at least 1"):
            TrainSpec(**{field: 0})


@pytest.fixture(scope="module")
def run(episode):
    return episode().run


def test_identity_is_what_the_parameters_depend_on(run):
    def changed(**values):
        return dataclasses.replace(run, **values).key

    def inside(field, **values):
        return changed(**{field: dataclasses.replace(getattr(run, field), **values)})

    same = [
        changed(name="other"),
        changed(keep=(1, 2)),
        inside("train", log_every=1),
        inside("train", save_every=1),
        inside("train", feed="stream"),
    ]
    assert set(same) == {run.key}
    other = [
        changed(seed=1),
        changed(init="abc@3"),
        changed(label_space="per_component"),
        changed(data=("x", "y")),
        changed(schedule=((0, (0.5, 0.5)),)),
        changed(components=("first", "third")),
        changed(model=dataclasses.replace(run.model, width=9)),
        changed(model=models.spec({"name": "vit"})),
        changed(model=models.spec({"name": "resnet"})),
        changed(parents=("abc@3",)),
        changed(only="first"),
        changed(only="second"),
        inside("train", steps=21),
        inside("train", batch=8),
        inside("train", dtype="bfloat16"),
        inside("optimizer", lr=0.1),
        inside("train", sampling="stratified"),
        inside("objective", dropout=0.1),
        inside("augment", flip=True),
    ]
    assert len({run.key, *other}) == 1 + len(other)


def test_components_of_zero_weight_do_not_enter(run):
    """What a shared classifier is trained on, not what else the study holds."""
    alone = dataclasses.replace(run, schedule=((0, (1.0, 0.0)),))
    other = dataclasses.replace(alone, components=("first", "third"), data=(run.data[0], "another"))
    assert alone.key == other.key != run.key
    later = dataclasses.replace(alone, schedule=((0, (1.0, 0.0)), (5, (0.0, 1.0))))
    assert later.identity["components"] == ["first", "second"]


PINNED = {
    "name": "mixture",
    "seed": 3,
    "components": ("a", "b"),
    "data": ("0f", "1e"),
    "schedule": ((0, (0.5, 0.5)),),
    "label_space": "shared",
    "offset": (0, 0),
    "blocks": (2, 2),
    "outputs": 2,
    "model": models.spec({"name": "mlp", "width": 8}),
    "optimizer": OptimizerSpec(lr=0.05),
    "objective": ObjectiveSpec(),
    "augment": AugmentSpec(),
    "train": TrainSpec(steps=20, batch=16),
}


def test_identity_and_key_are_stable():
    """Another key means that no existing work directory is found again: change it knowingly."""
    pinned = Run(**PINNED)
    assert pinned.identity == {
        "seed": 3,
        "components": ["a", "b"],
        "data": ["0f", "1e"],
        "schedule": [[0, [0.5, 0.5]]],
        "label_space": "shared",
        "offset": [0, 0],
        "blocks": [2, 2],
        "outputs": 2,
        "model": {"name": "mlp", "width": 8},
        "optimizer": {"lr": 0.05},
        "objective": {},
        "augment": {},
        "train": {"steps": 20, "batch": 16},
    }
    assert pinned.key == "ac8e5a786ccb4705" and pinned.folder == f"mixture-s3-{pinned.key}"


def test_a_default_written_out_changes_nothing_and_a_version_changes_all(monkeypatch):
    pinned = Run(**PINNED)
    written = {"name": "mlp", "width": 8, "depth": 2, "activation": "relu", "use_bias": True}
    explicit = Run(
        **{
            **PINNED,
            "model": models.spec(written),
            "objective": ObjectiveSpec("cross_entropy", 0.0, 0.0, 0.0),
            "optimizer": OptimizerSpec("sgd", lr=0.05, schedule="constant", clip=None),
            "train": TrainSpec(20, 16, "iid", "float32"),
        },
        init="",
        parents=(),
        only=None,
        unique=None,
    )
    assert explicit == pinned and hash(explicit) == hash(pinned) and explicit.key == pinned.key
    monkeypatch.setattr(Run, "VERSION", Run.VERSION + 1)
    assert Run(**PINNED).key != pinned.key


def test_new_fields_at_their_default_change_no_key():
    """A later version of a spec has one field more."""
    more = dataclasses.make_dataclass("MoreSpec", [("more", int, 0)], bases=(OptimizerSpec,), frozen=True)
    assert Run(**{**PINNED, "optimizer": more(lr=0.05)}).key == Run(**PINNED).key
    assert Run(**{**PINNED, "optimizer": more(lr=0.05, more=1)}).key != Run(**PINNED).key


def test_every_field_of_the_identity_is_there_or_at_its_default():
    """No part of it: names, kept steps, how often to save, where batches come from, who trains together, what is
    computed again, and sizes, which the data imply."""
    left_out = {
        (cls.__name__, field.name)
        for cls in (Run, TrainSpec, OptimizerSpec, ObjectiveSpec, AugmentSpec)
        for field in dataclasses.fields(cls)
        if not field.metadata.get("identity", True)
    }
    train = {("TrainSpec", name) for name in ("feed", "fleet", "log_every", "remat", "save_every")}
    assert left_out == train | {("Run", name) for name in ("name", "keep", "sizes")}
    assert "steps" in identity.defaults(TrainSpec)


def test_space(run):
    heads = dataclasses.replace(run, label_space="per_component", offset=(0, 2), blocks=(2, 3), outputs=5)
    offset, mask = heads.space()
    np.testing.assert_array_equal(offset, [0, 2])
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert dataclasses.replace(heads, label_space="disjoint").space().mask.all()
