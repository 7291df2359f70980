"""Which kind of job a config asks for: a study, one at all points of a sweep, or an audit of networks."""

from __future__ import annotations

from collections.abc import Iterable

import ml_collections

from bottleneck import config as configs
from bottleneck import study, sweep, typed
from bottleneck.auditing import plan as audits
from bottleneck.auditing.plan import AuditPlan
from bottleneck.auditing.spec import AuditSpec
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.planning import plan as plans
from bottleneck.planning.plan import Plan
from bottleneck.study import StudySpec
from bottleneck.sweep import Sweep


def schema(config) -> type:
    """The dataclass of a config: one that has networks is an audit."""
    return AuditSpec if "networks" in config else StudySpec


def spec(config) -> StudySpec | AuditSpec:
    """The typed study or audit of a config. Raises UserError."""
    return audits.spec(config) if schema(config) is AuditSpec else sweep.spec(config)


def plan(config) -> Plan | Sweep | AuditPlan:
    """All tasks of what a config asks for. Raises UserError."""
    return audits.plan(spec(config)) if schema(config) is AuditSpec else sweep.plan(config)


def components(config) -> dict[str, Component]:
    """The components and targets of a study or an audit, their items, splits and ids as it sees them. Raises
    UserError."""
    asked = spec(config)
    return plans.load(asked.study if isinstance(asked, AuditSpec) else asked).targets


def meant(config) -> dict:
    """The config as plain data, with the default of every key that it leaves out; one that this version cannot read, as
    it is."""
    try:
        return configs.written(spec(config), study.spec_of)
    except UserError:
        return typed.to_dict(config)


def load(path_and_arg: str, overrides: Iterable[tuple[str, str]] = ()) -> ml_collections.ConfigDict:
    """The config of `FILE.py:ARGUMENTS` with overrides as on the command line, locked. Raises UserError."""
    return overridden(configs.load(path_and_arg), overrides)


def overridden(config: ml_collections.ConfigDict, overrides: Iterable[tuple[str, str]]) -> ml_collections.ConfigDict:
    """`config` itself with overrides as on the command line, locked. Raises UserError."""
    return configs.overridden(config.unlock(), overrides, schema(config), study.spec_of)
