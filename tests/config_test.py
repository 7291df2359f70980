"""Overrides, config files and typed building: what works, and the one line a user reads when it does not."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, Literal

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottleneck import config as configs
from bottleneck import kinds, typed
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
    ("many", "p", "a sequence of texts"),
    ("pair", (1, "2"), None),
    ("weights", {"a": "heavy"}, "a number"),
    ("weights", 3, "a dictionary"),
    ("inner", 3, "a dictionary of rate"),
    ("inner", {"rat": 1}, "a known key (did you mean 'rate'?); here: rate"),
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
        ("flip", "1", "True or False or None"),
        ("lr", "(1,)", "a number or None"),
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


@pytest.fixture
def held():
    """A config that holds values of other types than `Spec` allows for, or none."""
    source = dict(name="file", size=3)
    return ml_collections.ConfigDict(dict(count=1, steps=5, size=4, flag=None, source=source, inners=dict(p=dict())))


@dataclasses.dataclass(frozen=True)
class Source:
    size: int | tuple[int, ...] = 1
    tint: float = 0.5


@dataclasses.dataclass(frozen=True)
class Whole(Spec):
    source: dict[str, Any] = dataclasses.field(default_factory=dict)
    grid: tuple[float, ...] = ()
    keep: tuple[int | str, ...] = ()
    kinds: tuple[Literal["ladder", "cka"], ...] = ()
    shots: tuple[int, ...] = (1, 4)
    members: str | tuple[str, ...] = ()
    note: str | None = None
    maybe: Inner | None = None
    schedule: float | str = 0.1


def source_spec(path, node):
    return Source if path[-1:] == ("source",) and node.get("name") == "file" else None


TYPED = [
    ("count", "1e2", 100),
    ("count", "1_000", 1000),
    ("steps", "1e2", 100),
    ("steps", "5 epochs", "5 epochs"),
    ("steps", "1/2", "1/2"),
    ("size", "4,5", (4, 5)),
    ("size", "7", 7),
    ("flag", "true", True),
    ("flag", "False", False),
    ("limit", "3", 3.0),
    ("limit", "None", None),
    ("choice", "b", "b"),
    ("many", "p", ("p",)),
    ("many", "p, q,", ("p", "q")),
    ("many", "[p,q]", ("p", "q")),
    ("many", "('p',)", ("p",)),
    ("many", "1,2", ("1", "2")),
    ("many", "", ()),
    ("pair", "3,4", (3, 4.0)),
    ("weights.new", "1", 1.0),
    ("weights", "{'a': 1}", {"a": 1}),
    ("inner.rate", "2", 2.0),
    ("inner", "{'rate': 2}", {"rate": 2}),
    ("inners.p.rate", "3", 3.0),
    ("inners.fresh.rate", "3", 3.0),
    ("maybe.rate", "3", 3.0),
    ("anything", "(1, 'a')", (1, "a")),
    ("kinds", "ladder,cka", ("ladder", "cka")),
    ("shots", "4", (4,)),
    ("grid", "1,2e-3", (1.0, 2e-3)),
    ("keep", "1/4,100", ("1/4", 100)),
    ("members", "run/*@last:features", "run/*@last:features"),
    ("members", "a,b", ("a", "b")),
    ("note", "None", None),
    ("note", "none", "none"),
    ("name", "3", "3"),
    ("schedule", "0.2", 0.2),
    ("schedule", "cosine", "cosine"),
    ("source.size", "2,2", (2, 2)),
    ("source.tint", "1", 1.0),
    ("source.name", "None", "None"),
]


@pytest.mark.parametrize(("key", "text", "value"), TYPED)
def test_override_is_typed_by_the_spec(key, text, value, held):
    configs.override(held, key, text, Whole, source_spec)
    for part in key.split("."):
        held = held[part]
    found = configs.to_dict(held)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("count", "2.5", "an integer"),
        ("count", "None", "an integer"),
        ("count", "1e999", "an integer"),
        ("count", "True", "an integer"),
        ("limit", "nan", "a number or None"),
        ("flag", "1", "True or False"),
        ("flag", "maybe", "True or False"),
        ("choice", "c", "one of 'a', 'b'"),
        ("kinds", "ladder,cca", "a sequence of any of 'ladder', 'cka'"),
        ("pair", "1,2,3", "a sequence of an integer and a number"),
        ("weights", "heavy", "a dictionary literal, or a key inside it"),
        ("weights.a", "heavy", "a number"),
        ("inner", "3", "a dictionary of rate literal"),
        ("inner.rat", "3", "a known key (did you mean 'rate'?); here: rate"),
        ("cuont", "3", "a known key (did you mean 'count'?); here: count, "),
        ("count.x", "3", "an existing key ('count' holds 1 and no keys)"),
        ("limit.x", "3", "no key below 'limit', which is a number or None"),
        ("source.sise", "3", "a known key (did you mean 'size'?); here: name, size, tint"),
        ("source.size", "big", "an integer or a sequence of integers"),
        ("", "3", "a known key; here: count"),
        ("inner.", "3", "a known key; here: rate"),
    ],
)
def test_override_refuses_by_the_spec(key, text, expected, held):
    with pytest.raises(UserError) as error:
        configs.override(held, key, text, Whole, source_spec)
    assert str(error.value).startswith(f"--config.{key}={text!r}: expected {expected}")


HINTS = [
    int,
    float,
    bool,
    str,
    int | str,
    float | None,
    str | None,
    Literal["a", "b"],
    tuple[int, ...],
    tuple[int, float],
    int | tuple[int, int],
    tuple[int | str, ...],
    tuple[Literal["a", "b"], ...],
    dict[str, Any],
    str | tuple[str, ...],
    int | float | tuple[float, ...] | None,
]
SAID = [
    (tuple[int, ...], "a sequence of integers"),
    (tuple[int | str, ...], "a sequence of integers or texts"),
    (tuple[float, float, float], "a sequence of 3 numbers"),
    (tuple[int, float], "a sequence of an integer and a number"),
    (tuple[int, float, str], "a sequence of an integer, a number and text"),
    (tuple[tuple[str, ...], ...], "a sequence of sequences of texts"),
    (str | tuple[Inner, ...], "text or a sequence of dictionaries of rate"),
    (tuple[dict[str, float], ...], "a sequence of dictionaries"),
    (tuple, "a sequence"),
]


@pytest.mark.parametrize(("hint", "said"), SAID, ids=str)
def test_annotations_in_words(hint, said):
    assert typed.describe(hint) == said


TEXTS = st.one_of(
    st.text(), st.text("0123456789eE.,-+()[]ab' {}:TrueFalsNo"), st.from_type(int | float | bool).map(str)
)


@given(st.sampled_from(HINTS), TEXTS)
def test_what_is_read_is_what_build_accepts(hint, text):
    """Any text is read as a value of the annotation, or refused in one line."""
    try:
        value = configs.read(hint, text, "key")
    except UserError as error:
        assert "\n" not in str(error)
        return
    if not isinstance(value, dict):
        assert configs.check(hint, value, "key") == value


@given(
    st.sampled_from([int | float | None, tuple[int, ...], tuple[float, ...], bool, int, float, dict[str, Any]]),
    st.data(),
)
def test_values_as_python_writes_them_are_read_back(hint, data):
    drawn = {
        tuple[int, ...]: st.lists(st.integers()).map(tuple),
        dict[str, Any]: st.dictionaries(st.text(), st.integers()),
    }
    finite = st.floats(allow_nan=False, allow_infinity=False)
    drawn |= {tuple[float, ...]: st.lists(finite).map(tuple), float: finite, int: st.integers(), bool: st.booleans()}
    value = data.draw(drawn.get(hint, st.none() | st.integers() | finite))
    assert configs.read(hint, repr(value), "key") == value


def test_places_of_data_hold_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def placed(images, digits, at_home, one, several):
        domino = dict(source=dict(name="arrays", path=digits))
        return dict(
            name="path",
            components=dict(
                photos=dict(source=dict(name="folder", path=images), transforms=dict(dominoes=domino)),
                books=dict(source=dict(name="tfds", dataset="books", data_dir="gs://bucket/data")),
                home=dict(source=dict(name="folder", path=at_home, metadata="")),
                none=dict(source=dict(name="tfds", dataset="none", data_dir=None)),
                path=dict(source=dict(name="factors")),
            ),
            sources=dict(clip=dict(arrays=several), dino=dict(arrays=one), none=dict(arrays="")),
            sweep=dict(points=(dict(sources=dict(clip=dict(arrays=several))),)),
        )

    def at(place):
        several = (f"{place}/clip0", f"{place}/clip1")
        return placed(f"{place}/images", f"{place}/../digits.npz", f"{tmp_path}/home/images", f"{place}/dino", several)

    config = ml_collections.ConfigDict(placed("images", "../digits.npz", "~/images", "dino", ("clip0", "clip1"))).lock()
    before = configs.to_dict(config)
    monkeypatch.chdir(tmp_path)
    here = configs.absolute(config)
    assert configs.to_dict(config) == before
    assert here == at(tmp_path) and configs.absolute(config, tmp_path / "sub") == at(tmp_path / "sub")
    monkeypatch.chdir("/")
    assert configs.absolute(here) == here


@pytest.mark.parametrize(
    ("uses", "found"),
    [
        ("saved", "/here/saved"),
        (("saved0", "saved1"), ("/here/saved0", "/here/saved1")),
        ("timm:resnet18:w.pt", "timm:resnet18:/here/w.pt"),
        ("torch:nets.py:small", "torch:/here/nets.py:small"),
        ("flax:mynets:small:../w.msgpack", "flax:mynets:small:/here/../w.msgpack"),
        ("apply:/there/nets.py:f:~/weights", "apply:/there/nets.py:f:/home/me/weights"),
        ("torch:nets", "torch:nets"),  # refused where it is built, as it was written
        (3, 3),
    ],
    ids=str,
)
def test_files_of_audited_networks_hold_from_anywhere(uses, found, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = dict(networks=dict(a=dict(uses=uses, features="stem")))
    assert configs.absolute(config, "/here") == dict(networks=dict(a=dict(uses=found, features="stem")))


def test_a_config_is_what_it_means(tiny):
    """With all defaults, those of dictionaries that a name says the class of, too."""
    config = tiny()
    with config.unlocked():
        config.components.first.transforms = dict(tint=dict(), turned=dict(name="rotate", degrees=90))
        config.margin = 1.0
    meant, other = kinds.meant(config), tiny()
    tint = dict(name="tint", reliability=1.0, strength=0.3)
    turned = dict(name="rotate", degrees=90.0)
    assert meant["components"]["first"]["transforms"] == dict(tint=tint, turned=turned)
    assert meant["components"]["second"]["source"]["reliability"] == dict(background=1.0)
    assert meant["components"]["second"]["source"]["name"] == "factors"
    assert (meant["margin"], meant["retain_features"], meant["longer"]["factors"]) == (1.0, True, (2, 8))
    with other.unlocked():
        del other.train.dtype, other.recipes, other.augment
    assert kinds.meant(other) == kinds.meant(tiny())
    with other.unlocked():
        other.speed = 3  # of another version: as it is written
    assert kinds.meant(other) == configs.to_dict(other)


@pytest.mark.parametrize("given", [("a.npz", "b.npz"), ["a.npz", "b.npz"], "a.npz,b.npz"], ids=str)
def test_places_of_data_on_an_axis_hold_from_anywhere(given):
    source = dict(name="arrays", path="a.npz")
    axes = dict(components=dict(photos=dict(source=dict(path=given))), name=("a", "b"))
    config = dict(components=dict(photos=dict(source=source)), sweep=dict(axes=axes))
    found = configs.absolute(config, "/data")["sweep"]["axes"]
    assert tuple(found["components"]["photos"]["source"]["path"]) == ("/data/a.npz", "/data/b.npz")
    assert found["name"] == ("a", "b")


def test_config_argument():
    found = configs.parse_arg("smoke,model=resnet20,width=2", smoke=False, model="mlp", width=1.0, seeds=5)
    assert found.to_dict() == {"smoke": True, "model": "resnet20", "width": 2.0, "seeds": 5}
    for wrong in ("speed=3", "model", "smoke=maybe", "smoke,full", "full,smoke,full=True"):
        with pytest.raises(UserError, match="^config argument"):
            configs.parse_arg(wrong, smoke=False, full=False, model="mlp")


def test_a_form_has_its_own_defaults_and_what_is_given_wins():
    forms = dict(smoke=dict(seeds=2), full=dict(seeds=10, model="resnet"))

    def parsed(arg):
        return configs.parse_arg(arg, forms, smoke=False, full=False, seeds=5, model="mlp").to_dict()

    assert parsed("") == dict(smoke=False, full=False, seeds=5, model="mlp")
    assert parsed("full") == dict(smoke=False, full=True, seeds=10, model="resnet")
    assert parsed("seeds=3,full") == dict(smoke=False, full=True, seeds=3, model="resnet")
    assert parsed("smoke=True,full=False,model=cnn") == dict(smoke=True, full=False, seeds=2, model="cnn")


FILES = {
    "syntax": ("def get_config(:\n", "SyntaxError"),
    "import": ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    "no function": ("x = 1\n", "a file that defines get_config"),
    "raises": ("def get_config(arg=''):\n    return {}['a']\n", "line 2: KeyError"),
    "no argument": ("def get_config():\n    return {}\n", "TypeError"),
    "no config": ("def get_config(arg=''):\n    return 3\n", "returns int"),
    "leaves": ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
    "type": (
        "import ml_collections\ndef get_config(arg=''):\n    c = ml_collections.ConfigDict({'a': 1})\n    c.a = 'b'\n",
        "line 4: TypeError",
    ),
    "no text": ("def get_config():\n    return {}\n\0", "a file that runs"),
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


SWEEPS = {
    "points": "dict(points=(dict(point='a', sub=dict(k=1)), dict(point='b', sub=dict(k=2), n=3)))",
    "axes": "dict(axes=dict(sub=dict(k=(1, 2))))",
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_an_override_that_no_point_of_a_sweep_would_see_is_refused(kind, tmp_path):
    text = f"def get_config():\n    return dict(n=0, sub=dict(k=0, other=0), sweep={SWEEPS[kind]})\n"
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError) as error:
        configs.load(f"{tmp_path}/mine.py", [("n", "4"), ("sub.k", "5")])
    expected = "expected a key that the points of this sweep do not set themselves"
    assert str(error.value) == f"--config.sub.k='5': {expected}"
    config = configs.load(f"{tmp_path}/mine.py", [("n", "4"), ("sub.other", "5")])  # of one point alone, and of none
    assert (config.n, config.sub.other) == (4, 5)
    assert configs.load(f"{tmp_path}/mine.py", [("sub.k", "5"), ("sweep", "{}")]).sub.k == 5
    assert configs.load(f"{tmp_path}/mine.py", [("sub.k", "5"), ("sweep.points", "3"), ("sweep.axes", "{}")]).sub.k == 5


def test_config_file_is_read_anew_and_nothing_is_written_beside_it(tmp_path):
    """An edit of the same size within the same second, which Python's own cache of modules does not see."""
    path, modules = tmp_path / "mine.py", set(sys.modules)
    for count in (1, 2):
        path.write_text(
            "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int\n"
            f"seen = []\ndef get_config():\n    seen.append(0)\n    return {{'a': {count}, 'n': len(seen)}}\n"
        )
        for _ in range(2):
            assert configs.load(str(path)).to_dict() == {"a": count, "n": 1}
    assert list(tmp_path.iterdir()) == [path] and set(sys.modules) == modules


def test_config_file_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("def get_config(arg='none'):\n    return {'name': arg}\n")
    assert configs.load("~/mine.py:a").name == "a"
