"""Durations, and what is and is not part of a run's identity."""

import dataclasses
import json

import numpy as np
import pytest

from bottleneck.errors import UserError
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
        return dataclasses.replace(run, **values).hash

    def inside(field, **values):
        return changed(**{field: dataclasses.replace(getattr(run, field), **values)})

    same = [
        changed(name="other"),
        changed(keep=(1, 2)),
        inside("train", log_every=1),
        inside("train", save_every=1),
        inside("train", feed="stream"),
    ]
    assert set(same) == {run.hash}
    other = [
        changed(seed=1),
        changed(init="abc@3"),
        changed(label_space="per_component"),
        changed(data=("x", "y")),
        changed(schedule=((0, (0.5, 0.5)),)),
        changed(components=("first", "third")),
        changed(model={**run.model, "width": 9}),
        inside("train", steps=21),
        inside("train", batch=8),
        inside("train", dtype="bfloat16"),
        inside("optimizer", lr=0.1),
        inside("train", sampling="stratified"),
        inside("objective", dropout=0.1),
        inside("augment", flip=True),
    ]
    assert len({run.hash, *other}) == 1 + len(other)


def test_components_of_zero_weight_do_not_enter(run):
    """What a shared classifier is trained on, not what else the study holds."""
    alone = dataclasses.replace(run, schedule=((0, (1.0, 0.0)),))
    other = dataclasses.replace(alone, components=("first", "third"), data=(run.data[0], "another"))
    assert alone.hash == other.hash != run.hash
    later = dataclasses.replace(alone, schedule=((0, (1.0, 0.0)), (5, (0.0, 1.0))))
    assert later.identity["components"] == ["first", "second"]


def test_identity_and_hash_are_stable(run):
    """Another hash means that no existing work directory is found again: change it knowingly."""
    pinned = Run(
        "mixture",
        3,
        ("a", "b"),
        ("0f", "1e"),
        ((0, (0.5, 0.5)),),
        "shared",
        (0, 0),
        (2, 2),
        2,
        {"name": "mlp", "width": 8},
        run.optimizer,
        run.objective,
        run.augment,
        dataclasses.replace(run.train, steps=20),
    )
    assert pinned.hash == "928190844c87" and pinned.folder == "mixture-s3-928190844c87"
    assert json.loads(json.dumps(pinned.identity)) == json.loads(json.dumps(pinned.identity, sort_keys=True))


def test_identity_does_not_depend_on_where_or_what_else(episode, run):
    again = episode({"seeds": "3", "train.save_every": "5", "keep": "1/2", "probe.scalings": "raw"})
    assert again.run.hash == run.hash and again.run.keep != run.keep


def test_space(run):
    heads = dataclasses.replace(run, label_space="per_component", offset=(0, 2), blocks=(2, 3), outputs=5)
    offset, mask = heads.space()
    np.testing.assert_array_equal(offset, [0, 2])
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert dataclasses.replace(heads, label_space="disjoint").space().mask.all()
