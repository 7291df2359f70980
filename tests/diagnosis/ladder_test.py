"""The penalty at which a feature stands out is that of the items it was read on, and is worked out once for them."""

import numpy as np
import pytest

from bottleneck import workers
from bottleneck.analysis import screen
from bottleneck.diagnosis.ladder import Ladder
from bottleneck.planning import plan as plans
from bottleneck.study import spec
from tests.planted import Held, label_features

ANALYSED = {"analysis": "{'kinds': ('ladder',)}", "seeds": "1"}


def ladder(config) -> Ladder:
    return next(task for task in plans.plan(spec(config)).graph.of(Ladder) if task.subject == "first")


@pytest.mark.parametrize("split", ["probe", "val"])
def test_points_that_differ_in_the_items_read_have_a_penalty_each(split, tiny, tmp_path, monkeypatch):
    asked, store = [], Held(tmp_path)

    def errors(x, y, classes):
        asked.append(len(y[split]))
        return np.eye(1, 45, len(asked) - 1)[0] * -1.0  # another penalty at every call

    monkeypatch.setattr(workers, "_pool", None)
    monkeypatch.setattr(screen, "errors", errors)
    found = []
    for count in (40, 44, 40):
        task = ladder(tiny({**ANALYSED, f"data.{split}": str(count)}))
        member = task.cast.at()[0]
        store.given = {member.source.name: label_features(task.component)}
        found.append(task.penalty(store, member))
    assert asked == [40, 40, 44, 44]  # both components of each point, and nothing twice
    assert found[0] == found[2] != found[1]
