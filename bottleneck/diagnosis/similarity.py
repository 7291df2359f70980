"""How alike representations are: debiased CKA within components, with everything it must not be printed without."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
from scipy import special

from bottleneck.analysis import cka
from bottleneck.diagnosis.cast import PIXELS, Diagnosis, over_seeds
from bottleneck.features.layers import POSITIONS, samples, tap_and_mode
from bottleneck.features.source import Member
from bottleneck.rows import Finding


@dataclass(frozen=True)
class Items:
    """Test items of some components, and representations of them: name -> [n, p]."""

    x: dict[str, np.ndarray]
    groups: np.ndarray
    ids: np.ndarray  # [n, 2] component and example


@dataclass(frozen=True)
class Compared:
    """One pair: two members, what they are called, floors, and the pair that bounds it from above."""

    a: Member
    b: Member
    names: tuple[str, str]
    seed: int
    floor: Member | None = None  # the first of the pair, untrained
    ceiling: tuple[Member, Member] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(Diagnosis):
    """The records of every pair of one declared comparison (`subject`), over minibatches of `batch` items."""

    batch: int = 64

    KIND = "cka"
    VERSION = 2

    @property
    def component(self):
        raise TypeError("a comparison is about all components")

    @property
    def spatial(self) -> str:
        return tap_and_mode(self.cast.at(layer=self.cast.layers[0])[0].layer)[1]

    @property
    def members(self):
        cast, pairs = self.cast, []
        for name in cast.components:
            pairs += [(m, cast.targets[name]) for m in self.own_members]
            if self.subject in ("steps", "direct"):
                pairs += [(m, cast.targets[name]) for m in cast.direct[name]]
            if not self.positions:
                pairs.append((PIXELS, cast.targets[name]))
        return pairs

    @property
    def positions(self) -> bool:
        return self.subject == "layers" and any(tap_and_mode(layer)[1] == POSITIONS for layer in self.layers)

    @property
    def layers(self) -> list[str]:
        """The layers of a comparison of layers; where positions are asked for, they alone have the same samples."""
        spaced = [layer for layer in self.cast.layers if tap_and_mode(layer)[1] == POSITIONS]
        return spaced or self.cast.layers

    @property
    def own_members(self) -> list[Member]:
        """The subject's members that the comparison is about."""
        cast = self.cast
        if self.subject == "layers":
            each = [(cast.untrained(layer), cast.at(layer=layer)) for layer in self.layers]
            return [m for both in each for members in both for m in members[:2]]
        if self.subject == "steps":
            members = [m for step in cast.steps for m in cast.at(step)]
            return [*members, *(m for m in cast.untrained() if m not in members)]
        return [*cast.at(), *cast.untrained()]

    def findings(self, store):
        compare = {"layers": self.by_layer, "steps": self.by_step, "seeds": self.by_seed, "direct": self.by_direct}
        yield from compare[self.subject](store)

    def gather(self, store, members, names) -> Items:
        """The members' features of the test items of all components `names`, one below the other; positions are
        samples."""
        targets = [self.cast.targets[name] for name in names]
        blocks = {m: [store.features(m.source, m.layer, target)["test"] for target in targets] for m in members}
        positions = {block.shape[1] for each in blocks.values() for block in each if block.ndim == 3}
        groups, ids = [], []
        for j, target in enumerate(targets):
            each = target.splits["test"].ids
            for count in positions:
                each = np.repeat(each, count)
            groups.append(np.full(len(each), j))
            ids.append(np.stack([groups[-1], each], 1))
        x = {
            str(member): np.concatenate([samples(b)[0] if b.ndim == 3 else b for b in each])
            for member, each in blocks.items()
        }
        if not positions:
            pooled = [store.features(PIXELS.source, PIXELS.layer, target)["test"] for target in targets]
            x[str(PIXELS)] = np.concatenate(pooled)
        return Items(x, np.concatenate(groups), np.concatenate(ids))

    def records(self, items: Items, compared: list[Compared], reference: str, target: str | None = None):
        """Rows of the pairs `compared`."""
        if not compared:
            return
        pairs = []
        for pair in compared:
            floors = {"random init": str(pair.floor)} if pair.floor else {}
            floors |= {"pooled input": str(PIXELS)} if str(PIXELS) in items.x else {}
            pairs.append(cka.Pair(str(pair.a), str(pair.b), floors, pair.ceiling and tuple(map(str, pair.ceiling))))
        how = dict(ids=items.ids, eval_mode=True, spatial=self.spatial, batch=self.batch)
        for pair, record in zip(compared, cka.records(items.x, items.groups, pairs, **how), strict=True):
            extra = {"x": pair.names[0], "y": pair.names[1], "record": dataclasses.asdict(record)}
            at = dict(
                arm=self.cast.arm,
                target=target,
                reference=reference,
                members=[str(pair.a), str(pair.b)],
                seed=pair.seed,
                selected_on=None,
                ci95=list(record.ci95),
                ci_unit="minibatches",
                n_seeds=1,
                n_examples=record.n,
                layer=pair.a.layer,
                step=getattr(pair.a.source, "step", None),
                extra=extra,
            )
            yield Finding("cka", record.value, None, at)

    def untrained_like(self, member: Member) -> Member | None:
        """The untrained network of a member's seed, at its layer."""
        position = next(
            i for step in self.cast.steps for i, m in enumerate(self.cast.at(step, member.layer)) if m == member
        )
        untrained = self.cast.untrained(member.layer)
        return untrained[position] if untrained and untrained[position] != member else None

    def by_layer(self, store):
        """Layers x layers of one network, beside the same layers of an untrained one and of a second seed."""
        cast = self.cast
        items = self.gather(store, self.own_members, cast.components)
        each = [cast.at(layer=layer) for layer in self.layers]
        compared = [
            Compared(
                a[0], b[0], (a[0].layer, b[0].layer), cast.seeds[0], self.untrained_like(a[0]), b[:2] if b[1:] else None
            )
            for a, b in itertools.combinations(each, 2)
        ]
        yield from self.records(items, compared, "layers")

    def by_seed(self, store):
        """Seed x seed at the last step: how alike two networks of one recipe are, the ceiling of the others."""
        cast = self.cast
        items = self.gather(store, self.own_members, cast.components)
        named = list(zip(cast.seeds, cast.at(), strict=True))
        compared = [
            Compared(a, b, (f"seed {s}", f"seed {t}"), s, self.untrained_like(a))
            for (s, a), (t, b) in itertools.combinations(named, 2)
        ]
        yield from self.records(items, compared, "seeds")

    def by_direct(self, store):
        """The mixture's features beside those of direct training, on the items of each component.

        Both have the same untrained network, which is the floor; the two direct networks of the ceiling do not.
        """
        cast = self.cast
        for name in cast.components:
            direct = cast.direct[name]
            items = self.gather(store, [*cast.at(), *direct, *cast.untrained()], [name])
            ceiling = direct[:2] if len(direct) > 1 else None
            compared = [
                Compared(a, b, (cast.arm, f"direct-{name}"), seed, self.untrained_like(a), ceiling)
                for seed, a, b in zip(cast.seeds, cast.at(), direct, strict=False)
            ]
            yield from self.records(items, compared, "direct", name)

    def by_step(self, store):
        """Step x step of one seed; and for all seeds, step by step, to the start, the end, another seed and direct
        training."""
        cast = self.cast
        items = self.gather(store, self.own_members, cast.components)
        compared = []
        for s, t in itertools.combinations(cast.steps, 2):
            a, b = cast.at(s), cast.at(t)
            ceiling = b[:2] if b[1:] else None
            compared.append(Compared(a[0], b[0], (str(s), str(t)), cast.seeds[0], self.untrained_like(a[0]), ceiling))
        yield from self.records(items, compared, "steps")
        items.x.pop(str(PIXELS), None)
        yield from self.over_steps(cka.minibatch(items.x, items.groups, self.batch), len(items.groups))
        for j, name in enumerate(cast.components):
            mask, component = items.groups == j, cast.targets[name]
            x = {member: x[mask] for member, x in items.x.items()}
            x |= {str(d): store.features(d.source, d.layer, component)["test"] for d in cast.direct[name]}
            alone = cka.minibatch(x, None, self.batch)
            for step in cast.steps:
                values = [alone.value(str(m), str(d)) for m, d in zip(cast.at(step), cast.direct[name], strict=False)]
                at = dict(arm=cast.arm, target=name, step=step, layer=cast.layer, reference="direct")
                yield over_seeds("cka", None, values, int(mask.sum()), **at)

    def over_steps(self, whole, n: int):
        """Every step beside the untrained network, the last step and the same step of other seeds, on all components'
        items."""
        cast = self.cast
        for step in cast.steps:
            at = dict(arm=cast.arm, step=step, layer=cast.layer)
            for reference, others in (("init", cast.untrained()), ("last", cast.at())):
                values = [whole.value(str(m), str(o)) for m, o in zip(cast.at(step), others, strict=True)]
                yield over_seeds("cka", None, values, n, reference=reference, **at)
            if len(cast.seeds) > 1:
                members = cast.at(step)
                table = np.array([[whole.value(str(a), str(b)) for b in members] for a in members])
                mean = {**pairs_of_seeds(table), "n_seeds": len(table), "n_examples": n}
                value = mean.pop("value")
                yield Finding("cka", value, None, {**at, **mean, "reference": "seed", "selected_on": None})


def pairs_of_seeds(table: np.ndarray) -> dict:
    """Mean over the pairs of S seeds of a symmetric `table` [S, S]; jackknife over seeds (S > 2), which pairs share."""
    count = len(table)

    def mean(kept):
        return table[np.ix_(kept, kept)][np.triu_indices(len(kept), 1)].mean()

    value = mean(np.arange(count))
    if count < 3:
        return {"value": value}
    left = np.array([mean(np.delete(np.arange(count), s)) for s in range(count)])
    half = special.stdtrit(count - 1, 0.975) * np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    return {"value": value, "ci95": [value - half, value + half], "ci_unit": "seeds"}
