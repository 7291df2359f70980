"""Networks side by side under one linear classifier: what a concatenated representation is while it is trained.

Concatenation of networks trained apart is Zhang & Bottou 2023 (CAT_n); trained together from random numbers the same
network is their control of one wide one.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bottleneck.errors import UserError
from bottleneck.models import cnn1d, mlp, resnet, vit
from bottleneck.models.head import classify

MEMBERS = {
    "mlp": (mlp.MLPSpec, mlp.MLP),
    "cnn1d": (cnn1d.CNN1dSpec, cnn1d.CNN1d),
    "resnet": (resnet.ResNetSpec, resnet.ResNet),
    "vit": (vit.ViTSpec, vit.ViT),
}


@dataclasses.dataclass(frozen=True)
class JoinedSpec:
    """The `members`, each a network of its own, of one kind or of several."""

    name: Literal["joined"]
    members: tuple[mlp.MLPSpec | cnn1d.CNN1dSpec | resnet.ResNetSpec | vit.ViTSpec, ...]

    def __post_init__(self):
        if not self.members:
            raise UserError("members", self.members, "at least one network")

    @property
    def use_bias(self) -> bool:
        """Whether the classifier has a bias: it does if any member's own has."""
        return any(getattr(member, "use_bias", True) for member in self.members)

    def resolved(self, image_shape: tuple[int, ...]) -> JoinedSpec:
        """With what members leave to the images written out. Raises UserError where one cannot see such images."""
        return dataclasses.replace(self, members=tuple(member.resolved(image_shape) for member in self.members))


class Joined(nn.Module):
    """Taps: those of every member as member1_stem, ..., and features, the members' side by side [B, sum of p_i].

    A member's parameters are in the collection `member1`, ..., as in the network it is alone, without its head.
    """

    spec: JoinedSpec
    outputs: int
    dtype: Any
    binary: bool = False
    remat: bool = False
    batch_norm_momentum = resnet.ResNet.batch_norm_momentum

    @property
    def convolutional(self) -> bool:
        return any(MEMBERS[member.name][1].convolutional for member in self.spec.members)

    @nn.compact
    def __call__(self, x, train: bool = False, dropout=0.0):
        taps = collections.OrderedDict()
        for name, spec in zip(names(len(self.spec.members)), self.spec.members):
            module = MEMBERS[spec.name][1]
            options = {"remat": True} if self.remat and hasattr(module, "remat") else {}
            _, own = module(spec=spec, outputs=0, dtype=self.dtype, name=name, **options)(x, train)
            taps |= {f"{name}_{tap}": value for tap, value in own.items()}
        each = [taps[f"{name}_features"] for name in names(len(self.spec.members))]
        taps["features"] = jnp.concatenate(each, axis=1)
        return classify(self, taps["features"], self.spec.use_bias, train=train, dropout=dropout), taps


def names(count: int) -> list[str]:
    """What members are called among the variables: member1, member2, ..."""
    return [f"member{i + 1}" for i in range(count)]


def side_by_side(members: Sequence[Mapping]) -> dict:
    """Variables of the joined network, without a head, from those of its members, of which one may have BatchNorm."""
    whole: dict = {"params": {}}
    for name, variables in zip(names(len(members)), members):
        for collection, tree in variables.items():
            trunk = {key: leaves for key, leaves in tree.items() if key != "head"}
            whole.setdefault(collection, {})[name] = trunk
    return whole


def averaging_head(heads: Sequence[Mapping]) -> dict:
    """The classifier of the joined network whose logits are the mean of the members': W = [W_1 .. W_n] / n, b = mean
    b_i. `heads`: kernel [p_i, K] and, unless it has none, bias [K]."""
    head = {"kernel": np.concatenate([np.asarray(h["kernel"]) for h in heads]) / len(heads)}
    biases = [np.asarray(h["bias"]) for h in heads if "bias" in h]
    return {**head, "bias": sum(biases) / len(heads)} if biases else head
