"""All specs of a study, and the kinds of tasks whose keys leave out what is at its default in them."""

import dataclasses
import importlib
import pkgutil
import typing

import bottleneck
from bottleneck import identity, models, study
from bottleneck.data import source, transforms
from bottleneck.study import MixtureSpec, Phase, StudySpec
from bottleneck.tasks import Task
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.run import Draws, Lesson, Run, TrainSpec

for _module in pkgutil.walk_packages(bottleneck.__path__, "bottleneck."):
    if not _module.name.startswith(("bottleneck.report", "bottleneck.features.networks.")):  # some need PyTorch
        importlib.import_module(_module.name)  # every kind of task there is

REQUIRED = {  # what `example` cannot make up from annotations: values that have to fit together
    "StudySpec": dict(components={"a": study.ComponentSpec({"name": "factors"})}, mixture=MixtureSpec({"a": 1.0})),
    "RepresentationSpec": dict(members="mixture/*@last:features"),
    "Lesson": dict(kind="hard"),
    "Draws": dict(names=("a",), sizes=(9,), component="a"),
}


def sources() -> tuple[type, ...]:
    return tuple(getattr(importlib.import_module(module), name) for module, name in source._SOURCES.values())


def networks() -> tuple[type, ...]:
    return tuple(spec for spec, _ in models.MODULES.values())


def below(cls: type) -> dict[type, None]:
    """`cls` and every dataclass that its annotations lead to, each once."""
    seen, todo = {}, [cls]
    while todo:
        hint = todo.pop()
        if dataclasses.is_dataclass(hint):
            if hint not in seen:
                seen[hint] = None
                todo += typing.get_type_hints(hint).values()
        else:
            todo += [arg for arg in typing.get_args(hint) if not isinstance(arg, str)]
    return seen


def specs() -> tuple[type, ...]:
    """Everything a config may say, and a run, which is made of it; in the order of their names."""
    tables = (*sources(), *transforms.TRANSFORMS.values(), *networks())
    found = dict.fromkeys((*below(StudySpec), *tables, *below(Run)))
    return tuple(sorted(found, key=lambda cls: cls.__name__))


def left_out() -> dict[str, tuple[type, ...]]:
    """kind -> specs of which it states only what is not at its default, so that a changed default needs a new VERSION.

    Of the other specs, such as StudySpec or ProbeSpec, tasks state every value they depend on.
    """
    seen = (*sources(), *transforms.TRANSFORMS.values())  # part of what items look like: see component.fingerprints
    trained = (Run, Draws, Lesson, *networks(), OptimizerSpec, ObjectiveSpec, AugmentSpec, TrainSpec)
    return {"train": (*trained, *seen), "extract": seen, "answer": (MixtureSpec, Phase)}


def defaults() -> dict[str, dict]:
    """Name of a spec -> the defaults of its identity fields."""
    return {cls.__name__: identity.defaults(cls) for cls in specs()}


def kinds() -> dict[str, list[type]]:
    """Kind -> the classes of its tasks."""
    classes, todo = {}, [Task]
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if hasattr(cls, "KIND") and cls.__module__.startswith("bottleneck."):
            classes.setdefault(cls.KIND, []).append(cls)
    return dict(sorted(classes.items()))


def versions() -> dict[str, int]:
    """Kind -> VERSION of every kind of task."""
    each = {kind: {Run.VERSION if kind == "train" else cls.VERSION for cls in of} for kind, of in kinds().items()}
    return {kind: version for kind, (version,) in each.items()}  # one each


def example(cls: type):
    """An instance with every field at its default that has one."""
    given = dict(REQUIRED.get(cls.__name__, {}))
    hints = typing.get_type_hints(cls)
    for spec in dataclasses.fields(cls):
        bare = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if bare and spec.name not in given:
            given[spec.name] = _some(hints[spec.name], spec.name)
    return cls(**given)


def _some(hint, name: str):
    """A value of an annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return example(hint)
    if origin is typing.Literal:
        return args[0]
    if origin is dict or hint is dict:
        return {"a": _some(args[1], name)} if args else {}
    if origin is tuple:
        return tuple(_some(arg, name) for arg in args if arg is not Ellipsis)
    if args:  # a union
        return _some(args[0], name)
    return {str: "some", int: 1, float: 1.0, bool: True}.get(hint, "some")
