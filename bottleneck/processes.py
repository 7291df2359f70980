"""Several processes of one job: how they find each other, meet, agree on what is next, and end together.

JAX's distributed runtime does the work: it knows SLURM, Open MPI, TPU pods, and Kubernetes where the package
`kubernetes` is installed, and whether a process still lives.
Each process runs under a parent (see supervision).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import secrets
import select
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bottleneck import atomic
from bottleneck.errors import UserError
from bottleneck.signals import HANDLED, Stop, Stopped

JOINING = 50  # seconds in which all processes must have found each other, unless BOTTLENECK_JOINING says how many
HEARTBEAT = 20  # seconds without a sign of life after which a process counts as dead
MEETING = 7 * 86400  # seconds that one process may wait for another's work
SEEN = 15.0  # seconds in which all see what the first has written: network file systems lag
POLL = 1.0  # seconds between looks at whether another process was asked to stop
SUPERVISED = "BOTTLENECK_SUPERVISED"  # in the environment of the process that works: see `parent`
LOST = "another process of this job has ended or cannot be reached; the same command goes on"
_STOP = "bottleneck/stop"
_BLIND = "bottleneck/blind"
_OF_A_PEER = ("gloo", "nccl", "coordination", "heartbeat", "barrier", "connection", "unavailable", "peer")


class Lost(Exception):
    """Another process of the job has ended, or cannot be reached."""


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, and where the first one is met; None: JAX finds it out."""

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None


def place(coordinator: str | None, count: str | None, index: str | None, sharded: bool) -> Place | None:
    """This process's place from the flags, or that of the cluster it finds itself in; None where it works alone.

    `sharded`: whether it was given a share of the tasks, and so works alone wherever it is. Raises UserError where only
    a part is known.
    """
    given = {"--coordinator": coordinator, "--processes": count, "--process": index}
    missing = [name for name, text in given.items() if text is None]
    if not missing:
        return Place(_address(coordinator), *_numbers(count, index))
    if count == "1" and len(missing) == 2 or len(missing) == 3 and sharded:
        return None
    if len(missing) < 3:
        named = ", ".join(name for name in given if name not in missing)
        raise UserError(named, "given", f"--coordinator, --processes and --process together ({', '.join(missing)} not)")
    found = _cluster()
    return Place() if found > 1 else None


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError("--coordinator", text, "HOST:PORT of the first process")
    return text


def _numbers(count: str, index: str) -> tuple[int, int]:
    if not count.isdecimal() or int(count) < 1:
        raise UserError("--processes", count, "a number of processes, at least 1")
    if not index.isdecimal() or int(index) >= int(count):
        raise UserError("--process", index, f"the number of this process, 0 to {int(count) - 1}")
    return int(count), int(index)


def _cluster() -> int:
    """How many processes the cluster has that `jax.distributed.initialize` would find; 1 where it finds none. Raises
    UserError where it finds one and does not know."""
    from jax._src.clusters import ClusterEnv

    for kind in ClusterEnv._cluster_types:
        if kind.opt_in_only_method:
            continue
        try:
            if kind.is_env_present():
                return kind.get_process_count()
        except Exception as error:  # whatever an API of a cluster says
            said = f"to be told: JAX finds itself in {kind.__name__} and cannot read it ({str(error).splitlines()[0]})"
            raise UserError("--processes", "not given", f"{said}; --processes=1 for this process alone") from None
    return 1


def join(where: Place) -> None:
    """Makes this process one of the job's. Raises UserError where they do not find each other: half a pod must not
    train as many single hosts."""
    import jax

    if jax.distributed.is_initialized():
        return
    within = joining()
    jax.config.update("jax_enable_preemption_service", False)  # its handler would keep SIGTERM to itself
    try:
        jax.distributed.initialize(
            where.coordinator,
            where.count,
            where.index,
            initialization_timeout=within,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=JOINING,
        )
    except Exception as error:  # JAX's, gRPC's, the resolver's
        raise unfound(where, f" ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None
    os.write(parent()[1], b"!")


def joining() -> int:
    """Seconds in which all processes must have found each other; more where machines are given one by one."""
    text = os.environ.get("BOTTLENECK_JOINING", str(JOINING))
    if not text.isdecimal() or int(text) < 1:
        raise UserError("BOTTLENECK_JOINING", text, "a number of seconds, at least 1")
    return int(text)


def unfound(where: Place, said: str = "") -> UserError:
    """That the processes did not find each other in time."""
    expected = f"{where.count or 'all'} processes that find each other within {joining()} seconds{said}"
    return UserError("--coordinator", where.coordinator or "of the cluster", expected)


def parent() -> tuple[int, int]:
    """Its number, and the descriptor by which it hears that the processes have found each other."""
    number, _, descriptor = os.environ[SUPERVISED].partition(":")
    return int(number), int(descriptor)


def joined() -> bool:
    """Whether this process is one of several."""
    return "jax" in sys.modules and client() is not None


# Meeting


def count() -> int:
    """How many processes work on this job together."""
    import jax

    return jax.process_count()


def index() -> int:
    import jax

    return jax.process_index()


def first() -> bool:
    return index() == 0


def client():
    from jax._src import distributed

    return distributed.global_state.client


_meetings: dict[str, int] = {}


def meet(name: str) -> None:
    """Waits until every process has come here."""
    if count() == 1:
        return
    _meetings[name] = _meetings.get(name, 0) + 1
    client().wait_at_barrier(f"bottleneck/{name}/{_meetings[name]}", 1000 * MEETING)


def agreed(values):
    """[processes, n]: the n numbers of every process, in all of them."""
    import numpy as np  # not needed to begin, as workers do

    values = np.asarray(values)
    if count() == 1:
        return values[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def beside() -> int:
    """How many processes of this job are on this machine, or in this container."""
    machines = agreed([zlib.crc32(platform.node().encode()) >> 1])  # 31 bits
    return int((machines == machines[index()]).sum())


def decided(what):
    """What the first process says, as plain data."""
    if count() == 1:
        return what
    _meetings["decided"] = number = _meetings.get("decided", 0) + 1
    key = f"bottleneck/decided/{number}"
    if first():
        client().key_value_set(key, json.dumps(what))
    return json.loads(client().blocking_key_value_get(key, 1000 * MEETING))


def primary(action: Callable):
    """What `action` gives, plain data, on the first process, after all have come here; all wait for it."""
    meet("before")
    return decided(action() if first() else None)


def shared(workdir: pathlib.Path) -> None:
    """Raises UserError, in every process, where not all see what the first writes in `workdir`: each would work in a
    directory of its own, and wait for ever for what the others do there."""
    if count() == 1:
        return
    token = workdir / primary(lambda: _leave_token(workdir))
    client().key_value_set(f"{_BLIND}/{token.name}/{index()}", "sees" if _appears(token) else "blind")
    blind = decided(_blind(token) if first() else None)
    if blind:
        names = ", ".join(map(str, blind[:8])) + ", ..." * (len(blind) > 8)
        expected = f"one directory for all {count()} processes: number {names} cannot see what number 0 writes there"
        raise UserError("--workdir", str(workdir), expected)


def _leave_token(workdir: pathlib.Path) -> str:
    """The name of a new file, which no file system can have remembered as not there."""
    token = workdir / f".shared-{secrets.token_hex(8)}"
    with atomic.space(token):
        workdir.mkdir(parents=True, exist_ok=True)
        token.touch()
    return token.name


def _appears(token: pathlib.Path) -> bool:
    until = time.monotonic() + SEEN
    while not token.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _blind(token: pathlib.Path) -> list[int]:
    """The processes that do not see it; it is no longer needed then."""
    said = [client().blocking_key_value_get(f"{_BLIND}/{token.name}/{each}", 1000 * MEETING) for each in range(count())]
    token.unlink(missing_ok=True)
    return [each for each, word in enumerate(said) if word == "blind"]


@contextlib.contextmanager
def turn(stop: Stop) -> Iterator[None]:
    """Around each process's share of some work: at its end all wait for each other. Raises Stopped in all of them where
    one was asked to stop."""
    if count() == 1:
        yield
        return
    with contextlib.suppress(Stopped):
        yield
    meet("turn")
    if agreed([stop.asked]).any():
        raise Stopped(stop.name or "a signal to another process")


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """Raises Lost for an error of JAX's that says that another process is gone."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if count() > 1 and any(word in str(error).lower() for word in _OF_A_PEER):
            raise Lost(str(error).splitlines()[0]) from error
        raise


@contextlib.contextmanager
def together(stop: Stop) -> Iterator[None]:
    """Inside it, a signal to one process asks all of them to stop.

    Python runs the handler of a signal when the main thread comes back from what it waits for, which may be the other
    processes: a thread of its own is told at once, through the wakeup descriptor, and tells them.
    """
    if count() == 1:
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(stop, reading, ended), name="stop of all processes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        ended.set()
        thread.join()
        os.close(reading)
        os.close(writing)


def _watch(stop: Stop, reading: int, ended: threading.Event) -> None:
    with contextlib.suppress(Exception):  # where the others are gone, the runtime ends this process
        while not ended.is_set():
            ready, _, _ = select.select([reading], [], [], POLL)
            asked = [number for number in os.read(reading, 64) if number in HANDLED] if ready else []
            if asked:
                client().key_value_set(_STOP, signal.Signals(asked[0]).name, allow_overwrite=True)
                stop.asked, stop.name = True, signal.Signals(asked[0]).name
            elif not stop.asked and _stopped():
                stop.asked, stop.name = True, "a signal to another process"


def _stopped() -> bool:
    try:
        return bool(client().key_value_try_get(_STOP))
    except Exception:  # nothing there
        return False
