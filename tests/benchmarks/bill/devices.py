"""One run on 1, 2 and 4 devices: the same batch, shared out. Fake devices of a CPU share its cores: what they cost.

On accelerators the first so many of the real ones, as far as there are.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator

from bill import hardware
from bill.cases import ACCELERATOR, CPU, QUICK
from bill.worker import Side, peak


def part(quick: bool, only: str = "", repetitions: int = 5) -> Iterator[dict]:
    """A row a case and number of devices; `ratio` is the speed beside that on one."""
    names = ("ResNet-20, 32 px",) if hardware.accelerator() else ("MLP 3x512, 32 px", "ResNet-20, 32 px")
    every = ACCELERATOR if hardware.accelerator() else CPU
    for name, case in list(QUICK.items())[:1] if quick else [(name, every[name]) for name in names]:
        if only not in name:
            continue
        sides = {}
        try:
            for count in counts(quick):
                sides[count] = Side("ours", os.cpu_count(), case, **shown(count))
            timed = {count: [] for count in sides}
            for repetition in range(repetitions + 1):  # the first one warms up
                for count, side in sides.items():
                    took = side.time(case.steps)
                    timed[count] += [took] if repetition else []
        finally:
            for side in sides.values():
                side.close()
        yield from rows(name, case, timed, {count: side.ready["devices"] for count, side in sides.items()})


def counts(quick: bool) -> tuple[int, ...]:
    """Numbers of devices: of accelerators no more than there are; fake ones as wanted."""
    wanted = (1, 2) if quick else (1, 2, 4)
    there = hardware.devices()[1]
    return tuple(count for count in wanted if count <= there) if there else wanted


def shown(count: int) -> dict[str, str]:
    """The environment in which JAX has so many devices: of those that this process was given, the first."""
    if hardware.accelerator():
        every = ",".join(map(str, range(count)))
        names = ("CUDA_VISIBLE_DEVICES", "TPU_VISIBLE_DEVICES")
        return {name: ",".join((os.environ.get(name) or every).split(",")[:count]) for name in names}
    return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"}


def rows(name: str, case, timed: dict, seen: dict) -> Iterator[dict]:
    """`seen`: the devices that each side says it has, by the number it was to have."""
    seconds = {count: statistics.median(each["seconds"] for each in times) for count, times in timed.items()}
    for count, times in timed.items():
        speed = case.batch * case.steps / seconds[count]
        found = {"what": name, "devices": seen[count], "batch": case.batch, "images_per_second": speed}
        yield found | {"ratio": seconds[1] / seconds[count], **peak(times[-1])}
