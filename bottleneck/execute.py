"""Carries out a plan on a work directory: order, shards, threads, progress, lock, and what is left in the end."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import pathlib
import sys

import jax

from bottleneck import jobs, kinds, lock, pretraining, processes, results, signals, typed, workers
from bottleneck.dryrun import describe
from bottleneck.errors import UserError
from bottleneck.features.extract import Extract
from bottleneck.features.source import Kept
from bottleneck.graph import SETTLED, Graph, Outcomes
from bottleneck.planning.plan import Plan
from bottleneck.store import Store
from bottleneck.sweep import Sweep
from bottleneck.tasks import STAGES, Empty, Task
from bottleneck.training import loop

DONE, UNFINISHED = 0, 3  # exit codes
MOST_PROGRAMS = 4  # kept compiled in one process; a study of one model has two or three

_compiled: set = set()  # programs that this process has trained with since it let go of them


def study(
    config,
    workdir: pathlib.Path | None,
    stage: str | tuple[str, ...] = "all",
    shard: tuple[int, int] = (0, 1),
    dry_run: bool = False,
    speed: float | None = None,
    retrain: bool = False,
    output: pathlib.Path | None = None,
    printed: bool = True,
) -> int:
    """Runs `stage` (or several, or all of them) of the study `config` asks for; returns the exit code. `speed`:
    training images a second, for the hours that a dry run tells; `printed`: whether the answer is printed, beside the
    report.

    Raises UserError, before anything is written; signals.Stopped after a signal, with everything saved.
    """
    check_retrain(retrain, stage, shard)
    stages = STAGES if stage == "all" else (stage,) if isinstance(stage, str) else stage
    spec = kinds.spec(config)
    workdir = workdir or pathlib.Path("runs") / spec.name
    if output is not None:
        results.usable(output, "--output")
    with signals.graceful() as stop:
        try:
            plan = kinds.plan(config)
        except UserError as error:
            if dry_run or retrain or stage == "pretrain" or not results.is_complete(workdir, config):
                raise
            return without_data(error, config, workdir, stages, output, printed)
        if dry_run:
            if processes.first():
                print(describe(plan, workdir, speed))
            return DONE
        store = opened(plan, workdir, stop)
        settled = output is not None and not retrain and processes.decided(not store.outcomes.left())
        if stages == ("report",) or settled:
            return processes.primary(lambda: finish(plan, store, config, output, write=False, printed=printed))
        results.usable(workdir)
        return work(plan, store, config, output, stages, shard, retrain, printed)


def work(plan: Plan | Sweep, store: Store, config, output, stages, shard, retrain: bool, printed: bool) -> int:
    """Carries out these stages, the first of several processes under the lock, and leaves what was found."""
    workdir, stop = store.workdir, store.stop
    with processes.lost():
        processes.shared(workdir)
        workers.share_among(processes.beside())
    if processes.first():
        print("\n".join(line for lines in plan.reading.values() for line in lines), flush=True)
    compilation_cache(workdir)
    with processes.lost(), lock.hold(workdir, shard) if processes.first() else contextlib.nullcontext():
        processes.primary(lambda: results.record(workdir, plan, config))
        if retrain:
            processes.primary(lambda: results.forget_runs(plan, store))
            store = opened(plan, workdir, stop)  # what the first one knows is of what was there
        if store.outcomes.left():
            processes.primary(lambda: results.sign(workdir, plan, config))
        with stop.noted(), processes.together(stop):
            carry_out(plan.graph, store, stages, shard)
        return processes.primary(lambda: finish(plan, store, config, output, True, stages, shard, printed))


def without_data(error: UserError, config, workdir: pathlib.Path, stages, output, printed: bool) -> int:
    """Stages of a finished study whose data or networks cannot be read any more: the report, or nothing that is left to
    do."""
    print(f"the data or networks cannot be read ({error}); what was found is on disk", file=sys.stderr)
    if "report" not in stages:
        return DONE
    return report(results.from_disk(workdir, config), output or workdir, printed)


def check_retrain(retrain: bool, stage: str, shard: tuple[int, int]) -> None:
    """Raises UserError where runs cannot be made again: by a stage that trains none, or beside other shards, from under
    which they would be taken."""
    if retrain and (stage not in ("pretrain", "all") or shard[1] > 1):
        given = f"--stage={stage} --shard={shard[0]}/{shard[1]}"
        raise UserError("--retrain", given, "--stage=pretrain or all, and no shards until the runs are there again")


def opened(plan: Plan | Sweep, workdir: pathlib.Path, stop: signals.Stop) -> Store:
    """The store of a plan's outputs, with what has become of its tasks."""
    store = Store(workdir)
    store.retains_features = all(each.study.retain_features for each in (plan, *(point.plan for point in plan.points)))
    store.outcomes, store.stop = Outcomes(plan.graph, store), stop
    return store


def carry_out(graph: Graph, store: Store, stages, shard: tuple[int, int] = (0, 1)) -> None:
    """Every task of these stages and this shard whose needs are there, until none is left. Raises signals.Stopped once
    `store.stop` is asked for.

    Of several processes the first says what is next: runs, which all of them train together, or other tasks, of which
    each takes a share.
    """
    store.outcomes = outcomes = store.outcomes or Outcomes(graph, store)
    dealt = graph.deal(shard[1])
    mine = [task for task in graph if dealt[task.key] == shard[0] and task.STAGE in stages]
    share = graph.deal(processes.count(), mine)
    own = [task for task in mine if share[task.key] == processes.index()]
    while True:
        outcomes.refresh()
        if not store.retains_features:
            drop_features(own, store)
        ready = [task for task in mine if outcomes.of(task) == "ready" and outcomes.wanted(task)]
        trained = [task for task in mine if task.ALONE and outcomes.of(task) == "done"]
        fleets = pretraining.fleets([task for task in ready if task.ALONE], trained, store)
        runs = processes.decided([[task.key for task in fleet] for fleet in fleets])
        if runs:
            one_by_one([[graph.tasks[key] for key in fleet] for fleet in runs], store)
        elif processes.decided(bool(ready)):
            with processes.turn(store.stop):
                side_by_side(own, store)
        else:
            return


def side_by_side(tasks: list[Task], store: Store) -> None:
    """Tasks that can be done now, each with those that then can be."""

    def work(task: Task) -> None:
        make(task, store)

    def holds(task: Task) -> int:
        return task.holds(store)

    if groups := few_programs(chains(tasks, store.outcomes)):
        jobs.carry_out(stage_of(groups), "task", groups, work, store.stop, holds)


def drop_features(passes: list[Task], store: Store) -> None:
    """Removes the features of those of `passes` that nothing is left to read."""
    for task in passes:
        if task.PASSING and not store.outcomes.wanted(task):
            store.forget(task)


def one_by_one(fleets: list[list[Task]], store: Store) -> None:
    """Training runs and fleets of them, those that share a resident pool one after the other."""
    fleets = sorted(fleets, key=lambda fleet: (fleet[0].episode.components, fleet[0].episode.data))
    images = sum(task.episode.steps * task.episode.train.batch for fleet in fleets for task in fleet)
    with jobs.progress("pretrain", images, "image") as bar:
        for fleet in fleets:
            run, more = fleet[0].episode, len(fleet) - 1
            bar.set_postfix_str(f"{run.name} seed {run.seed}" + (f" and {more} more" if more else ""))
            _make_room({loop.program(run, None, len(fleet))})
            batch = run.train.batch * len(fleet)

            def on_progress(steps, batch=batch):
                bar.update(steps * batch)

            if more:
                pretraining.together(fleet, store, on_progress)
            else:
                make(fleet[0], store, on_progress)


def few_programs(groups: list[list[Task]]) -> list[list[Task]]:
    """The first groups, as many as few enough programs make features for; the others' turn comes."""
    programs: set = set()
    for count, group in enumerate(groups):
        sources = [task.source for task in group if isinstance(task, Extract)]
        programs |= {loop.program(source.run, None) for source in sources if isinstance(source, Kept)}
        if count and len(programs) > MOST_PROGRAMS:
            return groups[:count]
        _make_room(programs)
    return groups


def _make_room(programs: set) -> None:
    """Lets go of what was compiled before it is too much: JAX keeps every executable as long as the process lives, and
    the C library the memory in which it was compiled."""
    if len(_compiled | programs) > MOST_PROGRAMS:
        jax.clear_caches()
        gc.collect()  # what was traced goes in circles
        with contextlib.suppress(AttributeError):  # other C libraries than glibc have no such call
            ctypes.CDLL(None).malloc_trim(0)
        _compiled.clear()
    _compiled.update(programs)


def chains(tasks: list[Task], outcomes: Outcomes) -> list[list[Task]]:
    """Tasks that can be done now, each with those that then can be: what one pass brings is read while in memory."""
    group_of: dict[str, int] = {}
    groups: list[list[Task]] = []
    for task in tasks:
        if task.ALONE or outcomes.of(task) in SETTLED or not outcomes.wanted(task):
            continue
        if outcomes.of(task) == "ready":
            group_of[task.key] = len(groups)
            groups.append([task])
            continue
        waits_for = outcomes.unsettled(task)
        homes = {group_of.get(key) for key in waits_for or ()}
        if not task.JOINS and waits_for and len(homes) == 1 and None not in homes:
            (home,) = homes
            group_of[task.key] = home
            groups[home].append(task)
    return groups


def stage_of(groups: list[list[Task]]) -> str:
    return max((task.STAGE for group in groups for task in group), key=STAGES.index)


def make(task: Task, store: Store, *watched) -> None:
    """Carries out a task; `watched`: what a long one reports to."""
    try:
        task.run(store, *watched)
    except Empty as reason:
        store.leave_empty(task, str(reason))


def finish(
    plan: Plan | Sweep, store: Store, config, output, write: bool, stages=("report",), shard=(0, 1), printed=True
) -> int:
    """What is left, in one line; the union of rows and the report where nothing is."""
    store.outcomes.refresh()
    left = store.outcomes.left()
    relevant = [task for task in left if task.STAGE in stages] if "report" not in stages else left
    if write:
        results.leave(plan, store, config, complete=not left)
    if not left and "report" in stages:
        return report(results.of_plan(plan, store, config), output or store.workdir, printed)
    if relevant:
        print(waiting(relevant, shard), flush=True)
        return UNFINISHED
    return DONE


def waiting(left: list[Task], shard: tuple[int, int]) -> str:
    """What is not done, by stage, and who has to do it."""
    counts = [(stage, sum(stage == task.STAGE for task in left)) for stage in STAGES]
    parts = ", ".join(f"{count} of {stage}" for stage, count in counts if count)
    others = "other shards or stages" if shard[1] > 1 else "other stages"
    return f"unfinished: {parts} wait for {others}; run again when they are done"


def report(outcome: results.Outcome, directory: pathlib.Path, printed: bool = True) -> int:
    """Writes the report, then prints the summary where it is to be `printed`. Raises UserError where `directory` cannot
    be written."""
    from bottleneck.report import html, tables  # loads matplotlib, which training on a pod does not need

    results.usable(directory)
    path = html.write(directory, outcome.rows, outcome.provenance, outcome.reading)
    if printed:
        print(tables.terminal(outcome.rows))
        print(f"\nreport: {path}")
    return DONE


def compare(first: tuple, second: tuple, output: pathlib.Path | None = None) -> None:
    """Sets two finished studies, each (config, work directory), side by side: printed, and compare.html in `output`, or
    the first one's directory. Raises UserError where that cannot be written."""
    from bottleneck.report import compare as pages

    results.usable(*((first[1],) if output is None else (output, "--output")))
    sides = []
    for config, workdir in (first, second):
        outcome = results.from_disk(workdir, config)
        made_by = {**outcome.provenance, "config": typed.to_dict(config), "meant": kinds.meant(config)}
        place = workdir.absolute().name
        name = outcome.name if outcome.name == place else f"{outcome.name} ({place})"
        sides.append((name, outcome.rows, made_by))
    path = pages.write((output or first[1]) / "compare.html", *sides)
    print(pages.terminal(*sides))
    print(f"comparison: {path}")


def compilation_cache(workdir: pathlib.Path) -> None:
    """Compiled steps outlive the process: in JAX_COMPILATION_CACHE_DIR, else in the work directory."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str((workdir / ".jax_cache").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
