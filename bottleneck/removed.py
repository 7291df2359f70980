"""What recipes give back of what interference took, at every point of a sweep: on each target and over all of them.

Interference is `alone` less the mixture; what a recipe removes of it is its own information less the mixture's. Its
rivals are all other arms that are one network for the whole mixture: what has to be told the component (`heads`,
`balanced`), and other recipes.
"""

from __future__ import annotations

from collections.abc import Iterator

from bottleneck.items import PROTOCOL
from bottleneck.points import Reading, over_targets
from bottleneck.rows import Finding

RIVALS = ("heads", "balanced", "longer", "longest", "wider")  # arms that are one network for the whole mixture


def findings(together: list[Reading]) -> Iterator[Finding]:
    """Rows `removed` of the recipes of one point, whose targets are `together`, beside the mixture and every rival;
    those over all targets, where there are several, have none. Nothing where the interference is read with BatchNorm
    statistics of the component: recipes are not."""
    split = [held for held in together if "interference" in held.measures and held.adapted is None]
    for recipe in split[0].place.recipes if split else ():
        for held in split:
            yield from removed(recipe, [held])
        yield from removed(recipe, split) if len(split) > 1 else ()


def removed(recipe: str, readings: list[Reading]) -> Iterator[Finding]:
    """The rows of one recipe on some targets: their means."""
    arms = [arm for arm in readings[0].arms if all(_has(held, arm) for held in readings)]
    if recipe not in arms:
        return
    first, target = readings[0], readings[0].target if len(readings) == 1 else None
    where = dict(arm=recipe, target=target, protocol=PROTOCOL, point=first.place.at)
    interference = _mean(readings, {"alone": 1.0, "mixture": -1.0})
    ours, half = (_mean(readings, {recipe: 1.0, "mixture": c - 1.0, "alone": -c}) for c in (0.0, 0.5))
    extra = {
        "interference": [interference.value, interference.low, interference.high],
        "beyond_half": [half.value, half.low, half.high],
        "share": ours.value / interference.value if interference.low > 0 else None,
    }
    yield Finding("removed", ours, first.unit, {**where, "reference": "mixture", "extra": extra})
    for rival in (arm for arm in arms if arm in (*RIVALS, *first.place.recipes) and arm != recipe):
        beyond = _mean(readings, {recipe: 1.0, rival: -1.0})
        yield Finding("removed", beyond, first.unit, {**where, "reference": rival})


def _has(held: Reading, arm: str) -> bool:
    return arm in held.arms and held.arms[arm].shape == held.arms["mixture"].shape


def _mean(readings: list[Reading], shares: dict[str, float]):
    return over_targets(readings, [sum(c * held.arms[arm] for arm, c in shares.items()) for held in readings])
