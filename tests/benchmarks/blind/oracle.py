"""The truth about a draw: closed forms where there are, else ten fresh seeds of the study, and of the study with a
cause taken away.

Verdicts are conditional on the training data and the probe split, and so is the truth: fresh runs see the same
training, probe and validation items, and are read on test items that the study did not have.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib

import numpy as np

from blind.studies import Draw
from bottleneck import execute, lock
from bottleneck import study as studies
from bottleneck.analysis import intervals
from bottleneck.arms import CAUSES
from bottleneck.choose import entropy
from bottleneck.graph import Graph
from bottleneck.items import PROTOCOL, Items
from bottleneck.planning import plan as plans
from bottleneck.probing import Probe
from bottleneck.store import Store
from bottleneck.tasks import STAGES

FRESH, SEEDS, ITEMS = 1000, 10, 3000  # the first fresh run seed, how many, and the test items of their own
MORE = 8  # times the steps or the width that take a cause away
VARIANT = "variant"  # the target on which competition is read
MARGIN = 0.9


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is true of one component. Intervals are (value, low, high); of a closed form all three are one number.

    `seed_sd`: the standard deviation over seeds of the margin D = 0.9 I_direct - I_mixture, read on `items` test items.
    """

    direct: tuple[float, float, float]
    mixture: tuple[float, float, float]
    margin: tuple[float, float, float]
    seed_sd: float
    entropy: float
    closed: bool
    apart: float | None  # the largest distance of a seed's direct or mixture from the closed form; None without one


class Oracle:
    """Fresh runs of one draw in `workdir`; runs that are the same are trained once."""

    def __init__(self, draw: Draw, workdir: pathlib.Path):
        self.draw, self.workdir = draw, workdir
        self.tested = draw.config["data"]["test"]

    def truths(self) -> dict[str, Truth]:
        """Of every component."""
        names = list(self.draw.config["components"])
        held, entropies = self.tables(self.draw.config, [(arm, n) for arm in ("mixture", "direct") for n in names])
        return {
            name: truth(
                held["direct", name], held["mixture", name], entropies[name], self.tested, self.draw.known.get(name)
            )
            for name in names
        }

    def closes(self, component: str, cause: str) -> dict:
        """What taking `cause` away closes of the gap of `component`: its share, the gap, and the interval of what is
        closed less half of it. Competition is read where the competitor says nothing.
        """
        if cause == "competition":
            before, after, direct = self.on_variant(component)
        else:
            before, direct = self.read(self.draw.config, component, "mixture", "direct")
            if cause == "scarcity":  # a part of exposure: what direct training on as few examples lacks
                (few,) = self.read(removed(self.draw, component, cause), component, "direct")
                after = before + direct - few
            else:
                (after,) = self.read(removed(self.draw, component, cause), component, "mixture")
        share = float((after.mean() - before.mean()) / (direct.mean() - before.mean()))
        gap = intervals.contrast([(1.0, direct), (-1.0, before)])
        half = intervals.contrast([(1.0, after), (-0.5, before), (-0.5, direct)])
        return {"share": share, "gap": three(gap), "half": [half.low, half.high]}

    def on_variant(self, component: str) -> tuple:
        """The mixture as planted, the mixture without the competitor, and direct training as planted: the mixture of
        this component alone.
        """
        without, planted = removed(self.draw, component, "competition"), copy.deepcopy(self.draw.config)
        planted["targets"] = {VARIANT: without["components"][component]}
        alone = copy.deepcopy(planted)
        alone["components"] = {component: planted["components"][component]}
        alone["mixture"]["weights"] = {component: 1.0}
        (before,), (direct,) = (self.read(config, VARIANT, "mixture") for config in (planted, alone))
        (after,) = self.read(without, component, "mixture")
        return before, after, direct

    def read(self, config: dict, target: str, *arms: str) -> list[np.ndarray]:
        """Tables [seeds, fresh test items] of these arms."""
        held, _ = self.tables(config, [(arm, target) for arm in arms])
        return [held[arm, target] for arm in arms]

    def tables(self, config: dict, wanted: list[tuple[str, str]]) -> tuple[dict, dict[str, float]]:
        """(arm, target) -> [seeds, fresh test items] of the probes that are wanted, and target -> H(y); no others are
        made.
        """
        plan = plans.plan(studies.spec(fresh(config)))
        chosen = [p for p in plan.graph.of(Probe) if (p.arm, p.target) in wanted and p.protocol == PROTOCOL]
        store = Store(self.workdir)
        execute.compilation_cache(self.workdir)
        with lock.hold(self.workdir, (0, 1)):
            execute.carry_out(before_and(plan.graph, chosen), store, STAGES)
        items = Items(store, chosen)
        held = {place: items.table(*place)[:, self.tested :] for place in wanted}
        return held, {target: entropy(plan.targets[target]) for _, target in wanted}


def fresh(config: dict) -> dict:
    """The same study with other seeds and more test items: the first items are those of the study itself."""
    config = copy.deepcopy(config)
    config |= dict(seeds=SEEDS, seed_offset=FRESH, arms=("mixture", "direct"))
    config["mixture"]["competitor"] = None
    config["data"]["split_seed"] -= FRESH  # the offset is added to it
    config["data"]["test"] += ITEMS
    return config


def removed(draw: Draw, component: str, cause: str) -> dict:
    """The study with one cause taken away for one component, where it can be otherwise than the tool's own arm does.

    Scarcity cannot be taken away and leave the numbers of draws as they are: here the component itself has no more
    training examples than the mixture draws of it.
    """
    if cause not in CAUSES:
        raise KeyError(cause)
    config = copy.deepcopy(draw.config)
    weights = config["mixture"]["weights"]
    if cause == "competition":
        config["components"][component]["randomise"] = (config["mixture"]["competitor"],)
    elif cause == "label conflict" and component in draw.planted and draw.partner:
        del config["components"][draw.partner]["transforms"]  # the two agree
    elif cause == "label conflict":
        config["mixture"]["label_space"] = "per_component"
    elif cause == "dilution":
        equal, rest = 1 / len(weights), 1 - weights[component]
        for name in weights:
            weights[name] = equal if name == component else weights[name] * (1 - equal) / rest
    elif cause == "scarcity":
        config["components"][component]["sizes"] = {"train": drawn(draw, component)}
    elif cause == "unfinished training":
        config["train"]["steps"] *= MORE
    elif cause == "capacity":
        config["model"]["width"] *= MORE
    return config


def drawn(draw: Draw, component: str) -> int:
    """The expected number of different examples of a component that the mixture draws."""
    episodes = plans.load(studies.spec(draw.config))
    return max(1, round(episodes.unique_share(component) * len(episodes.components[component].splits["train"])))


def before_and(graph: Graph, tasks) -> Graph:
    """The part of a graph that makes these tasks."""
    chosen, waiting = {}, list(tasks)
    while waiting:
        task = waiting.pop()
        if task.key not in chosen:
            chosen[task.key] = task
            waiting += graph.parents(task)
    return Graph(chosen.values())


def truth(direct, mixture, entropy: float, items: int, known=None) -> Truth:
    """Of tables [seeds, fresh items], or of the closed form (I_direct, I_mixture) where it is known."""
    margins = MARGIN * direct - mixture
    read = [three(intervals.two_way(table)) for table in (direct, mixture, margins)]
    apart = None
    if known is not None:
        apart = max(float(np.abs(t.mean(1) - value).max()) for t, value in zip((direct, mixture), known))
        read = [(value,) * 3 for value in (*known, MARGIN * known[0] - known[1])]
    return Truth(*read, seed_sd(margins, items), entropy, known is not None, apart)


def three(interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def seed_sd(table, items: int) -> float:
    """Standard deviation over seeds of a mean over `items` items, from a table [seeds, other items]."""
    seeds, _, residual = intervals.mean_squares(table)
    between = max(float(seeds - residual), 0.0) / table.shape[1]
    return float(np.sqrt(between + float(residual) / items))
