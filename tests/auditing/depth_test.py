"""Networks whose weights are written by hand: where an audit finds what they drop, and whom they fail."""

import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bottleneck import audit
from bottleneck.rows import read, select

NETS = """
import flax.linen as nn
import jax.numpy as jnp

class Stem(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(self.width, name="dense")(x))

class Net(nn.Module):
    '''Images whose upper and lower half may be bright -> a layer of `width` units -> `size` features of these and of
    the right edge, where there is nothing but noise.'''
    width: int
    size: int

    @nn.compact
    def __call__(self, x, train=False):
        edge = x[:, :, -3:].reshape(len(x), -1)
        x = Stem(self.width, name="stem")(x[:, :, :-3].reshape(len(x), -1))
        return None, nn.Dense(self.size, name="last")(jnp.hstack([x, edge]))

def keeps(): return Net(4, 4)
def drops(): return Net(4, 4)
def wide(): return Net(32, 4)
def upper(): return Net(4, 4)
"""
SIDE, EDGE = 12, 3


def halves(size, seed):
    """Images, and whether their upper and lower halves are bright."""
    rng = np.random.default_rng(seed)
    above, below = rng.integers(0, 2, (2, size))
    x = rng.integers(0, 120, (size, SIDE, SIDE, 3))
    x[:, : SIDE // 2, :-EDGE] += 100 * above[:, None, None, None]
    x[:, SIDE // 2 :, :-EDGE] += 100 * below[:, None, None, None]
    return x.astype(np.uint8), above, below


def stem():
    """Weights [SIDE (SIDE - EDGE) 3, 4]: upper less lower half, lower less upper, upper, lower."""
    upper = np.zeros((SIDE, SIDE - EDGE, 3))
    upper[: SIDE // 2] = 2 / upper.size
    upper = upper.ravel()
    lower = 2 / upper.size - upper
    return np.stack([upper - lower, lower - upper, upper, lower], 1)


def variables(net, kept, units):
    """`net`'s: its stem has these `units` of `stem()`, or is as it is drawn where that is None; its features are those
    of the stem that are `kept`, and else the edge's."""
    drawn = net.init(jax.random.key(3), jnp.zeros((1, SIDE, SIDE, 3)))["params"]
    first = drawn["stem"]["dense"]
    if units is not None:
        bias = np.array([0.0, 0, 6, 6])  # above 0 whatever the mean of the images
        first = {"kernel": 10 * stem()[:, units], "bias": bias[units]}
    last = np.array(drawn["last"]["kernel"])
    last[: net.width] = 0
    for unit in kept:
        last[:, unit] = 0
        last[unit, unit] = 1
    last = {"kernel": last, "bias": drawn["last"]["bias"]}
    return {"params": jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), {"stem": {"dense": first}, "last": last})}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """An audit of `keeps`, whose features have all, `drops` and `wide`, whose features have nothing of what the stem
    reads, and `upper`, whose features have the upper half alone and whose stem has no parity; on the parity of both
    halves, on the upper half, and on three classes of which two differ in the lower half."""
    place = tmp_path_factory.mktemp("depth")
    (place / "halves.py").write_text(NETS)
    sys.path.insert(0, str(place))
    import halves as nets

    sys.path.remove(str(place))
    every = (0, 1, 2, 3)
    stems = {"keeps": (every, every), "drops": ((), every), "wide": ((), None), "upper": ((0,), (2, 3, 2, 3))}
    for name, (kept, units) in stems.items():
        made = variables(getattr(nets, name)(), kept, None if units is None else list(units))
        (place / f"{name}.msgpack").write_bytes(flax.serialization.msgpack_serialize(made))
    for i, name in enumerate(("parity", "bright", "three")):
        x, above, below = halves(1000, i)
        y = {"parity": above ^ below, "bright": above, "three": above * (1 + below)}[name]
        keep = (y != 2) | (np.arange(1000) % 3 == 0)  # the third class is rare, so that a guess is the second
        x, y = x[keep], y[keep]
        np.savez(place / f"{name}.npz", x_train=x[300:], y_train=y[300:], x_test=x[:300], y_test=y[:300])
    uses = [f"{name}=flax:{place}/halves.py:{name}:{place}/{name}.msgpack" for name in stems]
    argv = ["audit", "--networks", *uses, "--data", *(f"{place}/{n}.npz" for n in ("parity", "bright", "three"))]
    argv += [f"--config.networks.{name}.layers=stem" for name in stems]
    argv += [f"--workdir={place}/work", "--config.shots=2", "--config.draws=2", "--config.kinds=ladder"]
    assert audit.main(argv) == 0
    return read(place / "work" / "results.jsonl")


def sentence(rows, target, arm):
    (row,) = select(rows, metric="served", target=target, arm=arm)
    return row["extra"]["sentence"]


def test_what_the_features_drop_is_found_at_the_layer_that_has_it(rows):
    said = sentence(rows, "parity", "drops")
    assert "parity is not served by drops" in said
    assert "it is readable at stem and no more at the features" in said


def test_what_the_same_network_untrained_reads_is_not_called_learned(rows):
    said = sentence(rows, "bright", "wide")
    assert "it is readable at stem, where the same network untrained reads it too" in said


def test_what_no_layer_has_is_said_of_all_layers(rows):
    said = sentence(rows, "parity", "upper")
    assert "is not served by upper" in said and "none of 2 layers that were looked at reads it in full" in said


def test_the_group_that_a_network_fails_is_the_lowest(rows):
    groups = {
        arm: {r["extra"]["group"]: r for r in select(rows, metric="group_accuracy", target="three", arm=arm)}
        for arm in ("keeps", "upper")
    }
    lowest = [group for group, row in groups["upper"].items() if row["extra"]["lowest"]]
    assert lowest == ["class 2"] and groups["upper"]["class 2"]["value"] < 0.2
    assert groups["upper"]["class 0"]["value"] > 0.95
    assert min(row["value"] for row in groups["keeps"].values()) > 0.95
