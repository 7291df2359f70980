"""What a thing is: canonical forms and digests, over every spec, and through the plan to the keys of tasks."""

import copy
import dataclasses
import json
import string

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bottleneck import identity, models
from bottleneck import study as studies
from bottleneck.data import source, transforms
from bottleneck.planning import plan as plans
from bottleneck.training.run import Run
from tests.golden import specs

SPECS = specs.specs()
NAMES = st.text(string.printable, max_size=4)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


@dataclasses.dataclass(frozen=True)
class Inner:
    a: int = 1
    b: float = 2.0
    where: str = identity.field(default="here")


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner(a=5)
    factor: float = 1.0
    many: dict = dataclasses.field(default_factory=dict)


# Canonical forms


@given(PLAIN)
def test_a_canonical_form_is_json_and_its_own_canonical_form(value):
    plain = identity.canonical(value)
    assert identity.canonical(plain) == plain
    assert identity.digest(json.loads(json.dumps(plain))) == identity.digest(value)


@given(st.dictionaries(NAMES, PLAIN, max_size=4), st.randoms())
def test_the_order_of_keys_does_not_matter(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert identity.digest({key: value[key] for key in keys}) == identity.digest(value)


@given(PLAIN, PLAIN)
def test_things_are_the_same_if_and_only_if_their_canonical_forms_are(a, b):
    same = json.dumps(identity.canonical(a), sort_keys=True) == json.dumps(identity.canonical(b), sort_keys=True)
    assert (identity.digest(a) == identity.digest(b)) is same


@given(st.lists(st.integers(-(2**31), 2**31)))
def test_sequences_arrays_and_whole_floats_are_one(values):
    expected = identity.digest(values)
    for other in (tuple(values), np.array(values, np.int64), np.array(values, np.float64), [*map(np.float64, values)]):
        assert identity.digest(other) == expected
    assert identity.digest(set(values)) == identity.digest(sorted(set(values)))


def test_true_is_not_one():
    assert identity.digest(True) != identity.digest(1)
    assert identity.canonical(Inner(a=True)) == {"a": True}


@pytest.mark.parametrize("value", [object(), b"bytes", lambda: None, [object()], {"a": object()}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError, match="canonical"):
        identity.digest(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.array([1.0, np.nan])])
def test_no_key_is_made_of_a_number_that_is_none(value):
    with pytest.raises(ValueError):
        identity.digest(value)


def test_digests_are_of_the_length_asked_for():
    assert len(identity.digest("a")) == 16 and identity.digest("a", 12) == identity.digest("a")[:12]


# Defaults of dataclasses


def test_fields_at_their_default_are_left_out():
    assert identity.canonical(Outer("x")) == {"name": "x"}
    assert identity.canonical(Outer("x", factor=3)) == {"name": "x", "factor": 3}
    assert identity.canonical(Outer("x", many={"k": Inner(b=3.0)})) == {"name": "x", "many": {"k": {"b": 3}}}


def test_a_default_is_a_default_however_it_is_written():
    assert identity.canonical(Outer("x", factor=1)) == identity.canonical(Outer("x", factor=np.float64(1)))
    assert identity.canonical(Outer("x", factor=1)) == {"name": "x"}
    assert identity.canonical(Outer("x", inner=Inner(a=5, where="there"))) == {"name": "x"}


def test_a_default_that_is_a_spec_is_not_that_spec_at_its_own_defaults():
    assert identity.canonical(Outer("x", inner=Inner())) == {"name": "x", "inner": {}}


def test_defaults_are_those_of_identity_fields():
    assert identity.defaults(Inner) == {"a": 1, "b": 2}
    assert identity.defaults(Outer) == {"inner": {"a": 5}, "factor": 1, "many": {}}


# Every spec


def extended(cls: type) -> type:
    """`cls` as it would be with one more field, at its default."""
    added = [("added_later", int, dataclasses.field(default=7))]
    made = dataclasses.make_dataclass(cls.__name__, added, bases=(cls,), frozen=True)
    made.__module__ = cls.__module__  # from 3.12 on it would be this one's
    return made


def deep(value):
    """`value` with every dataclass in it extended."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: deep(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return extended(type(value))(**fields)
    if isinstance(value, dict):
        return {key: deep(held) for key, held in value.items()}
    return tuple(map(deep, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("cls", SPECS)
def test_a_field_added_at_its_default_changes_no_digest(cls):
    value = specs.example(cls)
    assert identity.digest(deep(value)) == identity.digest(value)
    assert identity.digest(dataclasses.replace(deep(value), added_later=8)) != identity.digest(value)


@pytest.mark.parametrize("cls", SPECS)
def test_a_default_written_out_changes_no_digest(cls):
    value = specs.example(cls)
    written = {f.name: getattr(value, f.name) for f in dataclasses.fields(cls)}
    assert identity.digest(cls(**written)) == identity.digest(value)


@pytest.mark.parametrize("cls", SPECS)
def test_every_other_field_is_part_of_the_digest_and_no_marked_one_is(cls):
    value = specs.example(cls)
    for spec in dataclasses.fields(cls):
        changed = copy.copy(value)
        object.__setattr__(changed, spec.name, "another value")  # past the spec's own checks
        differs = identity.digest(changed) != identity.digest(value)
        assert differs == spec.metadata.get("identity", True), spec.name


def test_all_specs_of_a_study_are_among_these():
    names = {cls.__name__ for cls in SPECS}
    assert {"StudySpec", "MixtureSpec", "Phase", "DataSpec", "ComponentSpec", "OptimizerSpec", "ProbeSpec"} <= names
    assert {"FactorsSpec", "FolderSpec", "Tint", "Dominoes", "MLPSpec", "ResNetSpec", "Run", "Draws"} <= names


# Keys of tasks


@pytest.fixture(scope="module")
def rich(tiny):
    """A study that has something of everything."""
    config = tiny({"mixture.competitor": "colour"})
    with config.unlocked():
        config.arms = (*studies.StudySpec.arms, "randomised", "wider")
        config.components.second.transforms = {"tint": {}, "blur": {"radius": 0.5}, "label_noise": {"rate": 0.1}}
        config.targets = {"third": {"source": {"name": "factors", "reliability": {"shape": 1.0}, "seed": 9}}}
        config.mixture.schedule = {"late": {"start": "1/2", "weights": {"first": 0.5, "second": 0.5}}}
        config.grid = {"lr": (0.05, 0.1)}
        config.probe.update(
            protocols=("head", "linear_probe", "k_shot", "finetune", "probe_finetune"),
            arms=("mixture", "direct", "random"),
            shots=(1, 2),
            finetune={"steps": 5, "halvings": 1},
        )
        config.analysis = {"kinds": ("ladder", "steps", "seeds", "cka", "relatedness", "recovery"), "halvings": 1}
        config.representations = {"cat2": {"members": "mixture/*@last:features", "n": 2}}
    return studies.spec(config)


def keys(study) -> list[str]:
    return sorted(task.key for task in plans.plan(study).graph)


def written_out(value):
    """A spec as plain data with every field in it."""
    if dataclasses.is_dataclass(value):
        return {f.name: written_out(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: written_out(held) for key, held in value.items()}
    return tuple(map(written_out, value)) if isinstance(value, tuple) else value


def test_defaults_written_out_change_no_key(rich):
    whole = written_out(rich)
    for component in (*whole["components"].values(), *whole["targets"].values()):
        component["source"] = {"name": "factors", **written_out(source.source_spec(component["source"]))}
        component["transforms"] = {key: written_out(t) for key, t in transforms.build(component["transforms"])}
    whole["model"] = written_out(models.spec(rich.model))
    assert len(str(whole)) > 2 * len(str(rich.model) + str(rich.components))
    assert keys(studies.spec(whole)) == keys(rich)


def test_a_field_added_to_every_spec_at_once_changes_no_key(rich, monkeypatch):
    before = keys(rich)
    for name, (module, cls) in source._SOURCES.items():
        spec = dict(zip(source._SOURCES, specs.sources(), strict=True))[name]
        monkeypatch.setattr(f"{module}.{cls}", extended(spec))
    for name, cls in transforms.TRANSFORMS.items():
        monkeypatch.setitem(transforms.TRANSFORMS, name, extended(cls))
    for name, (spec, module) in models.MODULES.items():
        monkeypatch.setitem(models.MODULES, name, (extended(spec), module))
    assert keys(deep(rich)) == before


def test_a_changed_setting_changes_keys(rich):
    """The test of the tests above: keys are not blind."""
    before = set(keys(rich))
    optimizer = dataclasses.replace(rich.optimizer, momentum=0.5)
    assert not before & set(keys(dataclasses.replace(rich, optimizer=optimizer))) - pixels(rich)


def pixels(study) -> set[str]:
    """Keys of what no run is needed for."""
    graph = plans.plan(study).graph
    return {task.key for task in graph if not task.needs or task.KIND == "probe" and task.arm == "pixels"}


def test_identities_leave_out_defaults_of_the_specs_that_the_golden_file_says(rich):
    """A changed default of any other spec changes keys by itself, as its values are stated."""
    allowed = specs.left_out()
    for task in plans.plan(rich).graph:
        assert types_in(stated(task)) <= set(allowed.get(task.KIND, ())), task


def stated(task):
    """What a task's key is made of, but for the outputs it needs."""
    if task.KIND == "train":
        return task.episode
    return task.source.identity if task.KIND == "extract" else task.identity


def types_in(value) -> set[type]:
    """The dataclasses in a value."""
    if dataclasses.is_dataclass(value):
        return {type(value)}.union(*(types_in(getattr(value, f.name)) for f in dataclasses.fields(value)))
    if isinstance(value, dict):
        value = value.values()
    return set().union(*map(types_in, value)) if isinstance(value, list | tuple | type({}.values())) else set()


@settings(deadline=None)
@given(st.sampled_from(["lr", "weight_decay", "momentum", "warmup"]), st.floats(0.0, 0.9))
def test_a_run_states_the_number_it_trains_with(field, number):
    optimizer = specs.example(Run).optimizer
    same = getattr(optimizer, field) == number
    changed = dataclasses.replace(specs.example(Run), optimizer=dataclasses.replace(optimizer, **{field: number}))
    assert (changed.key == specs.example(Run).key) is same
