"""Published results as configs write them: a study of one component under somebody's protocol, and claims about it.

Plain data throughout, which `study.StudySpec` and `claims.ClaimSpec` read.
"""

from __future__ import annotations

from collections.abc import Mapping


def lone(name: str, source: dict, sizes: dict, seeds: int, claims: dict, **study) -> dict:
    """A study of the one component `name`, whose run is that of direct training.

    `sizes`: config.data; `transforms`: the component's; `randomise`: target -> blocks that say nothing of its label.
    """
    component = dict(source=source) | ({"transforms": study.pop("transforms")} if "transforms" in study else {})
    variants = {target: dict(component, randomise=blocks) for target, blocks in study.pop("randomise", {}).items()}
    return dict(
        components={name: component},
        mixture=dict(weights={name: 1.0}),
        targets=variants | study.pop("targets", {}),
        data=sizes,
        seeds=seeds,
        claims=claims,
        **study,
    )


def sgd(lr: float, momentum: float = 0.0, decay: float = 0.0) -> dict:
    """SGD as PyTorch has it: its weight decay is half of ours, of all parameters and part of the loss."""
    options = dict(momentum=momentum, nesterov=False, weight_decay=decay / 2, decay="coupled_all")
    return dict(name="sgd", lr=lr, **options)


def claim(says: str, target: str, published=None, source="", arm="mixture", protocol="head", **how) -> dict:
    """A claim about one reading; `minus`: (target, arm, protocol) of another; `how`: other fields of a ClaimSpec."""
    reads = dict(target=target, arm=arm, protocol=protocol)
    if "minus" in how:
        how["minus"] = dict(zip(("target", "arm", "protocol"), (*how["minus"], "head")))
    said = dict(published=published, source=source) if published is not None else dict(source=source)
    return dict(says=says, reads=reads, **said, **how)


def randomised(key: str, what: str, published: Mapping[str, float], words: Mapping[str, str], source: str, **how):
    """Claims about test sets in which some coordinates say nothing of the label.

    `published`: target -> number; `words`: target -> what is done there; a target without reads its items as they are.
    """
    return {
        f"{key}_{target}": claim(
            f"{what}, test items {words.get(target, 'as they are')}", target, number, source, **how
        )
        for target, number in published.items()
    }


def probed(who: str, key: str, what: str, target: str, protocols: tuple[str, ...]) -> dict:
    """What probes on frozen features read where the network itself reads nothing, and beyond an untrained network's."""
    claims = {}
    for protocol in protocols:
        probe = protocol.replace("_", " ").replace("nonlinear", "non-linear")
        words = f"{who}, a {probe} on frozen features finds {what}"
        untrained = (target, "random", protocol)
        claims[f"{key}_{protocol}"] = claim(words, target, protocol=protocol)
        more = claim(f"{words}, beyond an untrained network's", target, protocol=protocol, minus=untrained)
        claims[f"{key}_{protocol}_trained"] = more
    return claims
