"""Overrides, config files and typed building: what works, and the one line a user reads when it does not."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import ml_collections
import pytest

from bottleneck import config as configs
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1

    def __post_init__(self):
        if self.rate < 0:
            raise UserError("rate", self.rate, "at least 0")


@dataclasses.dataclass(frozen=True)
class Spec:
    count: int
    name: str = "x"
    flag: bool = False
    limit: float | None = None
    size: int | tuple[int, int] = 1
    steps: int | str = 1
    choice: Literal["a", "b"] = "a"
    many: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    inner: Inner = Inner()
    inners: dict[str, Inner] = dataclasses.field(default_factory=dict)
    anything: Any = None


BUILT = [
    ("count", 3, 3),
    ("name", "y", "y"),
    ("flag", True, True),
    ("limit", None, None),
    ("limit", 2, 2.0),
    ("size", 4, 4),
    ("size", [4, 5], (4, 5)),
    ("steps", "5 epochs", "5 epochs"),
    ("choice", "b", "b"),
    ("many", ["p", "q"], ("p", "q")),
    ("pair", (3, 4), (3, 4.0)),
    ("weights", {"a": 1}, {"a": 1.0}),
    ("inner", {"rate": 2}, Inner(2.0)),
    ("inners", {"p": {}}, {"p": Inner()}),
    ("anything", {"x": [1]}, {"x": (1,)}),
]


@pytest.mark.parametrize(("key", "value", "expected"), BUILT)
def test_build(key, value, expected):
    found = getattr(configs.build(Spec, ml_collections.ConfigDict({"count": 1, key: value})), key)
    assert found == expected and type(found) is type(expected)


REFUSED = [
    ("count", "3", "an integer"),
    ("count", True, "an integer"),
    ("count", 1.0, "an integer"),
    ("name", 3, "text"),
    ("flag", 1, "True or False"),
    ("flag", "yes", "True or False"),
    ("limit", "big", "a number or None"),
    ("limit", float("nan"), "a number or None"),
    ("size", (1, 2, 3), "an integer or a sequence"),
    ("choice", "c", "one of 'a', 'b'"),
    ("many", "p", "a sequence of text"),
    ("pair", (1, "2"), None),
    ("weights", {"a": "heavy"}, "a number"),
    ("weights", 3, "a dictionary"),
    ("inner", 3, "a dictionary of rate"),
    ("inner", {"rat": 1}, "a known key; here: rate"),
    ("inner", {"rate": -1}, "at least 0"),
    ("inners", {"p": {"rate": "fast"}}, "a number"),
    ("nonsense", 1, "a known key; here: count"),
    ("count", None, "an integer"),
]
WHERE = {
    ("weights", "{'a': 'heavy'}"): "weights.a",
    ("inner", "{'rat': 1}"): "inner.rat",
    ("inner", "{'rate': -1}"): "inner.rate",
    ("inners", "{'p': {'rate': 'fast'}}"): "inners.p.rate",
    ("pair", "(1, '2')"): "pair",
}


@pytest.mark.parametrize(("key", "value", "expected"), REFUSED)
def test_build_refuses_in_one_line(key, value, expected):
    with pytest.raises(UserError) as error:
        configs.build(Spec, {"count": 1, key: value}, "study")
    line = str(error.value)
    assert line.startswith("study." + WHERE.get((key, str(value)), key) + "=") and "\n" not in line
    assert expected is None or f": expected {expected}" in line


def test_build_names_what_is_missing():
    with pytest.raises(UserError, match="^count=None: expected an integer$"):
        configs.build(Spec, {})


def test_error_line_is_one_line_and_not_endless():
    line = str(UserError("key", "a\nb" + "x" * 5000, "some\nthing"))
    assert "\n" not in line and len(line) < 300 and line.startswith("key='a") and line.endswith("expected some thing")


@pytest.fixture
def config():
    return ml_collections.ConfigDict(
        dict(
            name="n",
            seeds=5,
            lr=0.1,
            flip=False,
            nothing=None,
            arms=("mixture", "direct"),
            shots=(1, 4),
            source=dict(path=None, weights=dict(a=0.5)),
        )
    )


OVERRIDES = [
    ("name", "None", None),
    ("name", "none", "none"),
    ("name", "3", "3"),
    ("seeds", "3", 3),
    ("seeds", "2 epochs", "2 epochs"),
    ("lr", "1", 1.0),
    ("lr", "1e-3", 1e-3),
    ("flip", "True", True),
    ("flip", "true", True),
    ("nothing", "3", 3),
    ("nothing", "0.5", 0.5),
    ("nothing", "text", "text"),
    ("nothing", "(1, 2)", (1, 2)),
    ("nothing", "None", None),
    ("nothing", "true", True),
    ("arms", "('mixture',)", ("mixture",)),
    ("arms", "mixture", ("mixture",)),
    ("arms", "mixture,direct, longer", ("mixture", "direct", "longer")),
    ("shots", "2", (2,)),
    ("shots", "[2, 3]", (2, 3)),
    ("source.path", "/a/b.npz", "/a/b.npz"),
    ("source.weights.a", "2", 2.0),
    ("source.weights.b", "0.5", 0.5),
    ("lr", "None", None),
    ("absent.key", "5", 5),
    ("source.weights", "{'c': 1}", {"c": 1}),
    ("nothing", "{[]: 1}", "{[]: 1}"),
]


@pytest.mark.parametrize(("key", "text", "value"), OVERRIDES)
def test_override(key, text, value, config):
    configs.override(config, key, text)
    for part in key.split("."):
        config = config[part]
    found = configs.to_dict(config)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("flip", "1", "a bool"),
        ("lr", "(1,)", "a float"),
        ("source", "3", "a dictionary literal"),
        ("source", "{'a.b': 1}", "a dictionary literal (names without dots)"),
        ("seeds.x", "3", "an existing key ('seeds' holds 5"),
        ("nothing.x", "3", "an existing key ('nothing' holds None"),
    ],
)
def test_override_refuses(key, text, expected, config):
    with pytest.raises(UserError) as error:
        configs.override(config, key, text)
    line = str(error.value)
    assert line.startswith(f"--config.{key}={text!r}: expected {expected}")


def test_config_argument():
    found = configs.parse_arg("smoke,model=resnet20,width=2", smoke=False, model="mlp", width=1.0, seeds=5)
    assert found.to_dict() == {"smoke": True, "model": "resnet20", "width": 2.0, "seeds": 5}
    for wrong in ("speed=3", "model", "smoke=maybe"):
        with pytest.raises(UserError, match="^config argument"):
            configs.parse_arg(wrong, smoke=False, model="mlp")


FILES = {
    "syntax": ("def get_config(:\n", "SyntaxError"),
    "import": ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    "no function": ("x = 1\n", "a file that defines get_config"),
    "raises": ("def get_config(arg=''):\n    return {}['a']\n", "line 2: KeyError"),
    "no argument": ("def get_config():\n    return {}\n", "TypeError"),
    "no config": ("def get_config(arg=''):\n    return 3\n", "returns int"),
}


@pytest.mark.parametrize("name", FILES)
def test_config_file_that_does_not_run(name, tmp_path):
    text, expected = FILES[name]
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        configs.load(f"{path}:arg")
    assert str(error.value).startswith(f"--config='{path}'") and expected in str(error.value)


def test_config_file_without_suffix_with_argument_and_missing(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(arg='none'):\n    return {'name': arg, 'sub': {'k': 1}}\n")
    assert configs.load(f"{tmp_path}/mine").name == "none"
    assert configs.load(f"{tmp_path}/mine.py:abc,d=e:f").name == "abc,d=e:f"
    assert configs.load(f"{tmp_path}/mine.py", [("sub.k", "2"), ("sub.k", "3")]).sub.k == 3
    (tmp_path / "locked.py").write_text(
        "import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict({'a': 1}).lock()\n"
    )
    assert configs.load(f"{tmp_path}/locked.py", [("b.c", "2")]).b.c == 2
    with pytest.raises(UserError, match="^--config='.*/absent.py': expected a Python file"):
        configs.load(f"{tmp_path}/absent.py")
