"""The defaults of every spec and the VERSION of every kind of task, as tests/golden/defaults.json holds them.

Keys leave out what is at its default. So a default that is *changed* would serve old runs as new ones, unless the
VERSION of the kinds whose keys leave it out is raised too. After any change of a default, a field or a VERSION write
the file again,

    python -m tests.golden_test --write

which refuses while a VERSION is missing, and says which. A new field needs none: at its default nothing has changed.
"""

import json
import pathlib
import sys

import pytest

from tests.golden import specs

FILE = pathlib.Path(__file__).parent / "golden" / "defaults.json"


def current() -> dict:
    return {"versions": specs.versions(), "defaults": specs.defaults()}


def missing_versions(old: dict, new: dict) -> list[str]:
    """What was changed without a new VERSION, one line each."""
    kinds = {cls.__name__: [k for k, left in specs.left_out().items() if cls in left] for cls in specs.specs()}
    lines = []
    for name, defaults in old["defaults"].items():
        after = new["defaults"].get(name, {})
        for field in defaults:
            if field in after and after[field] != defaults[field]:
                for kind in kinds.get(name, ()):
                    if not new["versions"].get(kind, 0) > old["versions"].get(kind, 0):
                        change = f"{name}.{field} was {defaults[field]!r} and is {after[field]!r}"
                        lines.append(f"{change}: raise the VERSION of {kind!r}")
    for kind, version in old["versions"].items():
        if new["versions"].get(kind, version) < version:
            lines.append(f"the VERSION of {kind!r} fell from {version} to {new['versions'][kind]}")
    return lines


def write() -> int:
    """Writes the file; 1 where something is missing, which is printed."""
    new = current()
    lines = missing_versions(json.loads(FILE.read_text()), new) if FILE.exists() else []
    if not lines:
        FILE.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
    print("\n".join(lines) or f"wrote {FILE}")
    return 1 if lines else 0


def test_defaults_and_versions_are_those_of_the_golden_file():
    golden, now = json.loads(FILE.read_text()), json.loads(json.dumps(current()))
    assert not missing_versions(golden, now)
    assert now == golden, "defaults, fields or versions have changed: see the docstring of this file"


def changed(spec: str, field: str, value, **versions) -> dict:
    """What is now, but for one default and some versions."""
    new = json.loads(json.dumps(current()))
    new["defaults"][spec][field] = value
    new["versions"].update(versions)
    return new


@pytest.mark.parametrize(
    "spec, field, kinds",
    [
        ("OptimizerSpec", "momentum", ["train"]),
        ("TrainSpec", "batch", ["train"]),
        ("MLPSpec", "depth", ["train"]),
        ("FactorsSpec", "noise", ["train", "extract"]),
        ("Tint", "strength", ["train", "extract"]),
        ("MixtureSpec", "competitor", ["answer"]),
        ("ProbeSpec", "draws", []),  # every task that draws says how often
    ],
)
def test_a_changed_default_needs_a_version_of_every_kind_that_leaves_it_out(spec, field, kinds):
    new = changed(spec, field, "changed")
    lines = missing_versions(current(), new)
    assert len(lines) == len(kinds) and all(f"{spec}.{field}" in line for line in lines)
    assert [kind for line, kind in zip(lines, kinds, strict=True) if repr(kind) in line] == kinds
    raised = {kind: specs.versions()[kind] + 1 for kind in kinds}
    assert not missing_versions(current(), changed(spec, field, "changed", **raised))
    if kinds:
        assert missing_versions(current(), changed(spec, field, "changed", **dict(list(raised.items())[1:])))


def test_a_field_added_or_removed_needs_no_version():
    assert not missing_versions(current(), changed("OptimizerSpec", "added_later", 7))
    assert not missing_versions(changed("OptimizerSpec", "taken_away", 7), current())


def test_a_version_never_falls():
    assert missing_versions(changed("TrainSpec", "batch", 128, probe=99), current())


def test_what_only_says_where_things_lie_is_not_pinned():
    defaults = specs.defaults()
    assert "log_every" not in defaults["TrainSpec"] and "batch" in defaults["TrainSpec"]
    assert "metadata" not in defaults["FolderSpec"] and "keep" not in defaults["Run"]


if __name__ == "__main__":
    sys.exit(write() if sys.argv[1:] == ["--write"] else __doc__)
