"""Which network, in text; and the one line for what is none."""

import pytest

from bottleneck.errors import UserError
from bottleneck.features.networks import uses
from bottleneck.features.networks.uses import Uses

MODULE = "def build():\n    return 7\n\nCONSTANT = 3\n"


@pytest.mark.parametrize(
    "text, made_by",
    [
        ("timm:resnet18:w.safetensors", Uses("timm", "resnet18", "w.safetensors")),
        ("timm:vit_tiny", Uses("timm", "vit_tiny")),
        ("torch:mymodule:build", Uses("torch", "mymodule:build")),
        ("torch:my/net.py:build:w/x.pt", Uses("torch", "my/net.py:build", "w/x.pt")),
        ("flax:m:f:ckpt", Uses("flax", "m:f", "ckpt")),
        ("features", Uses("arrays", "features")),
    ],
)
def test_forms(text, made_by):
    assert uses.parse(text) == made_by


@pytest.mark.parametrize("text", ["", "torch:", "torch:mymodule", "keras:m:f", "timm:"])
def test_what_is_none_is_refused(text):
    with pytest.raises(UserError, match="uses="):
        uses.parse(text)


def test_functions_of_files_and_modules(tmp_path, monkeypatch):
    (tmp_path / "some_networks.py").write_text(MODULE)
    assert uses.function(str(tmp_path / "some_networks.py"), "build")() == 7
    monkeypatch.chdir(tmp_path)
    assert uses.function("some_networks", "build")() == 7


@pytest.mark.parametrize(
    "module, name, expected",
    [
        ("no_such_module_here", "build", "can be imported.*ModuleNotFoundError"),
        ("no/such/file.py", "build", "a file that is there"),
        ("{place}/some_networks.py", "other", "a function of that module: build"),
        ("{place}/some_networks.py", "CONSTANT", "a function of that module"),
        ("{place}/broken.py", "build", "SyntaxError|ZeroDivisionError"),
    ],
)
def test_what_cannot_be_had_is_one_line(module, name, expected, tmp_path):
    (tmp_path / "some_networks.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=expected) as raised:
        uses.function(module.format(place=tmp_path), name)
    assert "\n" not in str(raised.value)
