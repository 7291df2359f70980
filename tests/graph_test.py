"""The graph: order, refusals, shards, and what becomes of tasks, on toy tasks and random graphs."""

import dataclasses
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bottleneck.graph import SETTLED, Graph, Outcomes
from bottleneck.tasks import Asked, Empty, Task


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Toy(Task):
    """A task of a name, whose output is its name; `answers`: what it answers yes to, where it is a chooser."""

    name: str
    wants: tuple[str, ...] = ()
    asks: tuple[Asked, ...] = ()
    answers: frozenset = frozenset()
    ends_empty: bool = False

    KIND = "toy"
    VERSION = 1
    STAGE = "transfer"

    @property
    def identity(self):
        return self.name

    @property
    def needs(self):
        return tuple(f"rows/{name}" for name in self.wants)

    @property
    def makes(self):
        return (f"rows/{self.name}",)

    def run(self, store):
        store.runs.append(self.name)
        if self.ends_empty:
            raise Empty("nothing to do")
        store.outputs |= set(self.makes)
        store.answers[self.makes[0]] = self.answers


class Joining(Toy):
    JOINS = True


class Passing(Toy):
    PASSING = True


class Shelf:
    """A store in memory."""

    def __init__(self):
        self.outputs, self.empty, self.answers, self.runs = set(), set(), {}, []

    def has(self, output):
        return output in self.outputs

    def is_empty(self, task):
        return task.key in self.empty

    def choices(self, output):
        return self.answers[output]


def asked(chooser, choice="yes"):
    return Asked(f"rows/{chooser}", choice)


def carry_out(graph, shelf, shard=None, dealt=None):
    """Every task that can be done (of one shard), until none is left; what remains."""
    outcomes = Outcomes(graph, shelf)
    while True:
        outcomes.refresh()
        mine = [task for task in graph if shard is None or dealt[task.key] == shard]
        ready = [task for task in mine if outcomes.of(task) == "ready" and outcomes.wanted(task)]
        if not ready:
            return outcomes.left()
        for task in ready:
            try:
                task.run(shelf)
            except Empty:
                shelf.empty.add(task.key)


def states(graph, shelf):
    outcomes = Outcomes(graph, shelf)
    return {task.name: outcomes.of(task) for task in graph}


def lasting(graph, shelf):
    """What became of all but passes, which are made or not as their readers happen to be settled."""
    outcomes = Outcomes(graph, shelf)
    return {task.name: outcomes.of(task) for task in graph if not task.PASSING}


@st.composite
def chained(draw, most=12):
    """Toy tasks, each of which needs any of those before it; listed in any order."""
    tasks = []
    for i in range(draw(st.integers(1, most))):
        wants = draw(st.lists(st.sampled_from([t.name for t in tasks]), unique=True, max_size=3)) if tasks else []
        kind = draw(st.sampled_from([Toy, Toy, Joining, Passing]))
        tasks.append(kind(f"t{i}", tuple(wants), ends_empty=draw(st.integers(0, 5)) == 0))
    return draw(st.permutations(tasks))


# Order, and what is refused


@given(chained())
@settings(deadline=None)
def test_every_task_comes_once_and_after_what_it_needs(tasks):
    graph = Graph(tasks)
    place = {task.name: i for i, task in enumerate(graph)}
    assert len(graph) == len(tasks) == len(place)
    assert all(place[name] < place[task.name] for task in graph for name in task.wants)


@given(chained())
@settings(deadline=None)
def test_what_is_made_of_tasks_has_one_of_them_among_its_ancestors(tasks):
    graph = Graph(tasks)
    begun = list(graph)[:: max(1, len(graph) // 2)][:2]
    expected = {task.name for task in begun}
    for task in graph:
        if expected & set(task.wants):
            expected.add(task.name)
    assert [task.name for task in graph.downstream(begun)] == [task.name for task in graph if task.name in expected]


@given(chained())
@settings(deadline=None)
def test_readers_are_those_that_need_an_output(tasks):
    graph = Graph(tasks)
    for task in graph:
        assert {r.name for r in graph.readers(task)} == {other.name for other in graph if task.name in other.wants}


def test_a_task_comes_after_the_choice_it_waits_for():
    graph = Graph([Toy("asks", asks=(asked("chooser"),)), Toy("chooser")])
    assert [task.name for task in graph] == ["chooser", "asks"]


def test_tasks_of_one_key_are_one_task():
    assert len(Graph([Toy("a"), Toy("a"), Toy("b", ("a",))])) == 2


@pytest.mark.parametrize(
    "tasks",
    [
        [Toy("a", ("nobody",))],
        [Toy("a"), Toy("b", ("a", "nobody"))],
        [Toy("a", asks=(asked("nobody"),))],
    ],
)
def test_a_need_that_nothing_makes_is_refused(tasks):
    with pytest.raises(ValueError, match="nobody, which nothing makes"):
        Graph(tasks)


@pytest.mark.parametrize(
    "tasks",
    [
        [Toy("a", ("a",))],
        [Toy("a", ("b",)), Toy("b", ("a",))],
        [Toy("root"), Toy("a", ("c", "root")), Toy("b", ("a",)), Toy("c", ("b",))],
        [Toy("a", asks=(asked("b"),)), Toy("b", ("a",))],
    ],
)
def test_needs_that_go_in_a_circle_are_refused(tasks):
    with pytest.raises(ValueError, match="needs itself"):
        Graph(tasks)


def test_a_long_chain_is_no_recursion():
    length = 5000
    chain = [Toy(str(i), (str(i - 1),) if i else ()) for i in range(length)]
    assert [task.name for task in Graph(reversed(chain))] == [str(i) for i in range(length)]


def test_tasks_of_a_class():
    graph = Graph([Toy("a"), Joining("b", ("a",))])
    assert [task.name for task in graph.of(Joining)] == ["b"] and len(graph.of(Toy)) == 2


# Shards


@given(chained(), st.integers(1, 5))
@settings(deadline=None)
def test_every_task_is_dealt_once_and_stays_with_what_it_needs(tasks, shards):
    graph = Graph(tasks)
    dealt = graph.deal(shards)
    assert set(dealt) == {task.key for task in graph} and set(dealt.values()) <= set(range(shards))
    for task in graph:
        homes = {dealt[parent.key] for parent in graph.parents(task)}
        assert not homes or dealt[task.key] == min(homes)  # one chain: its shard; several: the first of theirs


@given(chained(), st.integers(1, 5))
@settings(deadline=None)
def test_roots_are_dealt_evenly(tasks, shards):
    graph = Graph(tasks)
    dealt = graph.deal(shards)
    counts = [sum(dealt[t.key] == shard for t in graph if not t.wants) for shard in range(shards)]
    assert max(counts) - min(counts) <= 1


@given(chained(8), st.integers(1, 4), st.randoms())
@settings(deadline=None, max_examples=50)
def test_shards_do_together_what_one_process_does(tasks, shards, order):
    graph, one, many = Graph(tasks), Shelf(), Shelf()
    assert carry_out(graph, one) == []
    dealt = graph.deal(shards)
    for _ in range(len(tasks) + 1):  # submitted again while one says that something is left
        turns = list(range(shards))
        order.shuffle(turns)
        left = [carry_out(graph, many, shard, dealt) for shard in turns][-1]
        if not left:
            break
    passing = {task.name for task in graph if task.PASSING}
    assert left == [] and lasting(graph, many) == lasting(graph, one)
    assert set(many.runs) - passing == set(one.runs) - passing
    assert len(set(many.runs)) == len(many.runs)  # nothing is done twice


# What becomes of tasks


@given(chained())
@settings(deadline=None)
def test_in_the_end_everything_wanted_is_settled_and_done_is_not_redone(tasks):
    graph, shelf = Graph(tasks), Shelf()
    assert carry_out(graph, shelf) == []
    runs = list(shelf.runs)
    assert carry_out(graph, shelf) == [] and shelf.runs == runs and len(set(runs)) == len(runs)


@given(chained(), st.randoms())
@settings(deadline=None)
def test_a_process_killed_anywhere_goes_on_to_the_same_end(tasks, draws):
    graph, whole, killed = Graph(tasks), Shelf(), Shelf()
    carry_out(graph, whole)
    outcomes = Outcomes(graph, killed)
    for task in graph:  # some first part of the work
        if draws.random() < 0.5:
            outcomes.refresh()
            if outcomes.of(task) == "ready":
                killed.empty |= {task.key} if task.ends_empty else set()
                killed.outputs |= set() if task.ends_empty else set(task.makes)
    assert carry_out(graph, killed) == [] and lasting(graph, killed) == lasting(graph, whole)


@given(chained())
@settings(deadline=None)
def test_empty_spreads_to_what_needs_it_unless_it_joins(tasks):
    graph, shelf = Graph(tasks), Shelf()
    carry_out(graph, shelf)
    outcome = states(graph, shelf)
    for task in graph:
        parents = [outcome[name] for name in task.wants if outcome[name] in SETTLED]
        enough = "done" in parents or not task.wants if task.JOINS else "empty" not in parents
        if outcome[task.name] in SETTLED:
            assert (outcome[task.name] == "done") == (enough and not task.ends_empty)


def test_a_task_waits_then_is_ready_then_done():
    graph, shelf = Graph([Toy("a"), Toy("b", ("a",))]), Shelf()
    assert states(graph, shelf) == {"a": "ready", "b": "waiting"}
    shelf.outputs.add("rows/a")
    assert states(graph, shelf) == {"a": "done", "b": "ready"}


def test_what_is_on_disk_is_done_whatever_became_of_its_needs():
    graph, shelf = Graph([Toy("a"), Toy("b", ("a",))]), Shelf()
    shelf.outputs.add("rows/b")
    assert states(graph, shelf) == {"a": "ready", "b": "done"}


def test_a_settled_state_is_remembered_and_others_are_looked_at_again():
    graph, shelf = Graph([Toy("a"), Toy("b", ("a",))]), Shelf()
    outcomes = Outcomes(graph, shelf)
    a, b = graph
    assert (outcomes.of(a), outcomes.of(b)) == ("ready", "waiting")
    shelf.outputs.add("rows/a")
    assert outcomes.of(a) == "ready"
    outcomes.refresh()
    assert (outcomes.of(a), outcomes.of(b)) == ("done", "ready")


# Questions


def gated(answers=frozenset(), **options):
    return Graph([Toy("chooser", answers=frozenset(answers), **options), Toy("asks", asks=(asked("chooser"),))])


def test_a_question_without_answer_keeps_waiting():
    assert states(gated(), Shelf()) == {"chooser": "ready", "asks": "waiting"}


@pytest.mark.parametrize("answers, outcome", [({"yes"}, "done"), ({"other"}, "empty"), (set(), "empty")])
def test_an_answer_says_whether_there_is_anything_to_do(answers, outcome):
    shelf, graph = Shelf(), gated(answers)
    assert carry_out(graph, shelf) == [] and states(graph, shelf)["asks"] == outcome
    assert ("asks" in shelf.runs) == (outcome == "done")


def test_a_chooser_that_ended_empty_answers_no():
    shelf, graph = Shelf(), gated({"yes"}, ends_empty=True)
    carry_out(graph, shelf)
    assert states(graph, shelf) == {"chooser": "empty", "asks": "empty"} and shelf.runs == ["chooser"]


def test_one_yes_of_several_is_enough_and_need_not_wait_for_the_others():
    shelf = Shelf()
    wanted = Toy("asks", asks=(asked("no"), asked("yes"), asked("late")))
    graph = Graph([Toy("no"), Toy("yes", answers=frozenset({"yes"})), Toy("slow"), Toy("late", ("slow",)), wanted])
    shelf.outputs |= {"rows/no", "rows/yes"}
    shelf.answers |= {"rows/no": frozenset(), "rows/yes": frozenset({"yes"})}
    assert states(graph, shelf)["asks"] == "ready"


def test_what_nobody_asks_for_counts_as_empty_though_it_is_on_disk():
    shelf, graph = Shelf(), gated(())
    shelf.outputs.add("rows/asks")
    carry_out(graph, shelf)
    assert states(graph, shelf)["asks"] == "empty" and "asks" not in shelf.runs


def test_what_a_task_waits_for_is_unknown_while_its_question_is():
    graph, shelf = Graph([Toy("c"), Toy("a", asks=(asked("c"),)), Toy("b", ("a",))]), Shelf()
    named, outcomes = {task.name: task for task in graph}, Outcomes(graph, shelf)
    assert outcomes.unsettled(named["a"]) is None
    assert outcomes.unsettled(named["b"]) == {named["a"].key}


# Joins and passes


@pytest.mark.parametrize("kind, outcome", [(Toy, "empty"), (Joining, "done")])
def test_a_join_reads_whatever_there_is(kind, outcome):
    graph, shelf = Graph([Toy("a"), Toy("gone", ends_empty=True), kind("join", ("a", "gone"))]), Shelf()
    carry_out(graph, shelf)
    assert states(graph, shelf)["join"] == outcome


def test_a_join_of_nothing_is_empty_and_waits_for_all_that_may_come():
    graph, shelf = Graph([Toy("a", ends_empty=True), Toy("b"), Joining("j", ("a", "b"))]), Shelf()
    shelf.empty.add(next(task for task in graph if task.name == "a").key)
    assert states(graph, shelf)["j"] == "waiting"
    shelf.empty |= {task.key for task in graph if task.name == "b"}
    assert states(graph, shelf)["j"] == "empty"


def test_a_pass_is_not_made_again_once_all_its_readers_are_done():
    graph, shelf = Graph([Passing("pass"), Toy("first", ("pass",)), Toy("second", ("pass",))]), Shelf()
    carry_out(graph, shelf)
    shelf.outputs.remove("rows/pass")
    assert carry_out(graph, shelf) == [] and shelf.runs.count("pass") == 1
    shelf.outputs.remove("rows/second")
    assert carry_out(graph, shelf) == []
    assert shelf.runs.count("pass") == 2 and shelf.runs.count("first") == 1 and shelf.runs.count("second") == 2


def test_a_pass_that_nobody_reads_is_not_made():
    question = (asked("c"),)
    shelf = Shelf()
    graph = Graph([Passing("pass", asks=question), Toy("reader", ("pass",), asks=question), Toy("c")])
    assert carry_out(graph, shelf) == [] and shelf.runs == ["c"]
    alone = Shelf()
    assert carry_out(Graph([Passing("pass")]), alone) == [] and alone.runs == []


def test_what_is_left_is_in_order_and_without_passes_nobody_needs():
    tasks = [Toy("b", ("a",)), Toy("a"), Passing("spare")]
    random.Random(0).shuffle(tasks)
    assert [task.name for task in Outcomes(Graph(tasks), Shelf()).left()] == ["a", "b"]
