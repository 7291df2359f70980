"""How alike the networks of an audit are on one component: CKA of every two, with its record."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from bottleneck.diagnosis.cast import PIXELS
from bottleneck.diagnosis.similarity import Compared, Similarity
from bottleneck.features.source import Member

REFERENCE = "networks"


@dataclass(frozen=True, eq=False, repr=False)
class Between(Similarity):
    """`subject` is a component. `networks`: (name, the members of its seeds, those of the same untrained)."""

    networks: tuple[tuple[str, tuple[Member, ...], tuple[Member, ...]], ...] = ()

    @property
    def identity(self):
        named = [(name, [m.identity for m in (*seeds, *blank)]) for name, seeds, blank in self.networks]
        return [REFERENCE, self.subject, self.batch, named]

    @property
    def members(self):
        each = [m for _, seeds, blank in self.networks for m in (*seeds[:2], *blank)]
        return [(member, self.cast.targets[self.subject]) for member in (*each, PIXELS)]

    def findings(self, store):
        items = self.gather(store, [m for m, _ in self.members if m != PIXELS], [self.subject])
        compared = [
            Compared(a[0], b[0], (one, other), 0, blank[0] if blank else None, a[:2] if a[1:] else None)
            for (one, a, blank), (other, b, _) in itertools.combinations(self.networks, 2)
        ]
        yield from self.records(items, compared, REFERENCE, self.subject)
