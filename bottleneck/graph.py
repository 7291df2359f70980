"""The graph of a plan: tasks in an order in which each comes after what it needs, which shard does which, what waits
for what."""

from __future__ import annotations

from collections.abc import Iterable

from bottleneck.tasks import Task

SETTLED = {"done", "empty"}


class Graph:
    """Tasks by key, in topological order. Raises ValueError where a need has no maker or needs go in a circle."""

    def __init__(self, tasks: Iterable[Task]):
        given = {task.key: task for task in tasks}
        self.maker: dict[str, Task] = {output: task for task in given.values() for output in task.makes}
        self.tasks: dict[str, Task] = {}
        self._readers: dict[str, list[Task]] = {}
        for task in given.values():
            self._place(task)

    def _place(self, task: Task) -> None:
        stack = [(task, iter(self.parents(task)))]
        open_keys = {task.key}
        while stack:
            current, parents = stack[-1]
            if current.key in self.tasks:
                stack.pop()
                open_keys.discard(current.key)
                continue
            for parent in parents:
                if parent.key in open_keys:
                    raise ValueError(f"{parent} needs itself")
                if parent.key not in self.tasks:
                    stack.append((parent, iter(self.parents(parent))))
                    open_keys.add(parent.key)
                    break
            else:
                self.tasks[current.key] = current
                open_keys.discard(current.key)
                stack.pop()

    def parents(self, task: Task) -> list[Task]:
        """What makes a task's needs, and the choices that say whether it is asked."""
        outputs = (*task.needs, *(ask.chooser for ask in task.asks))
        missing = [output for output in outputs if output not in self.maker]
        if missing:
            raise ValueError(f"{task} needs {missing[0]}, which nothing makes")
        return list({self.maker[output].key: self.maker[output] for output in outputs}.values())

    def readers(self, task: Task) -> list[Task]:
        """The tasks that need an output of this one."""
        if not self._readers:
            for each in self:
                for output in dict.fromkeys(each.needs):
                    self._readers.setdefault(self.maker[output].key, []).append(each)
        return self._readers.get(task.key, [])

    def downstream(self, tasks: Iterable[Task]) -> list[Task]:
        """`tasks` and all that is made of their outputs, in order."""
        keys = {task.key for task in tasks}
        for task in self:
            if any(self.maker[output].key in keys for output in task.needs):
                keys.add(task.key)
        return [task for task in self if task.key in keys]

    def __iter__(self):
        return iter(self.tasks.values())

    def __len__(self):
        return len(self.tasks)

    def of(self, kind: type) -> list:
        """The tasks of one class."""
        return [task for task in self if isinstance(task, kind)]

    def deal(self, shards: int, among: Iterable[Task] | None = None) -> dict[str, int]:
        """Task key -> shard, of `among` (all tasks). Roots (a run, a pass over images) are dealt; what follows from one
        chain stays with it, and what joins chains goes to the first of their shards. So no backbone runs twice,
        whatever the number of shards.
        """
        keys = {task.key for task in (self if among is None else among)}
        shard, dealt = {}, 0
        for task in (task for task in self if task.key in keys):
            parents = [parent for output in task.needs if (parent := self.maker[output]).key in keys]
            if parents:
                shard[task.key] = min(shard[parent.key] for parent in parents)
            else:
                shard[task.key] = dealt % shards
                dealt += 1
        return shard


class Outcomes:
    """What has become of a graph's tasks on one store: "done", "empty", "ready" or "waiting"."""

    def __init__(self, graph: Graph, store):
        self.graph, self.store = graph, store
        self._states: dict[str, str] = {}

    def refresh(self) -> None:
        """Looks again at what was not settled."""
        self._states = {key: state for key, state in self._states.items() if state in SETTLED}

    def of(self, task: Task) -> str:
        """The state of the graph's task of this key, whoever asks."""
        if task.key not in self._states:
            self._states[task.key] = self._state(self.graph.tasks.get(task.key, task))
        return self._states[task.key]

    def present(self, task: Task) -> bool:
        """Whether a task was carried out and is asked for by its own `asks`: of several studies in one graph, one may
        have asked for what another did not."""
        return self.of(task) == "done" and self._gate(task) is True

    def _state(self, task: Task) -> str:
        gate = self._gate(task)
        if gate is not True:
            return "waiting" if gate is None else "empty"
        parents = {self.of(self.graph.maker[output]) for output in task.needs}
        if parents == {"empty"} or "empty" in parents and not task.JOINS or task.empty(self.store):
            return "empty"
        if task.done(self.store):
            return "done"
        return "ready" if parents <= SETTLED else "waiting"

    def _gate(self, task: Task) -> bool | None:
        """Whether anybody asks for a task; None while the choices are not there."""
        answers = [self._answer(ask) for ask in task.asks]
        return True if not answers or True in answers else None if None in answers else False

    def _answer(self, ask) -> bool | None:
        state = self.of(self.graph.maker[ask.chooser])
        if state == "empty":
            return False
        return ask.choice in self.store.choices(ask.chooser) if state == "done" else None

    def unsettled(self, task: Task) -> set[str] | None:
        """The keys of what a task still waits for; None where nobody knows yet whether it is asked."""
        if self._gate(task) is not True:
            return None
        parents = {self.graph.maker[output] for output in task.needs}
        return {parent.key for parent in parents if self.of(parent) not in SETTLED}

    def wanted(self, task: Task) -> bool:
        """Whether a task that is not settled has to be made: of passing ones, only while a reader of them is not
        settled."""
        if not task.PASSING:
            return True
        return any(self.of(reader) not in SETTLED for reader in self.graph.readers(task))

    def left(self) -> list[Task]:
        """What remains to be done, in order."""
        return [task for task in self.graph if self.of(task) not in SETTLED and self.wanted(task)]
