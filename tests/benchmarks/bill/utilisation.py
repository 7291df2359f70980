"""Model-FLOPs utilisation: operations of a training step over its time, beside a measured matrix-product ceiling.

Operations are counted on the traced network, three forward passes an image (bottleneck.models.cost). The ceiling is
the best of square matrix products in the same precision on the same device. Meant for an accelerator; on a CPU it shows
that it runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from bill import hardware, study
from bill.cases import ACCELERATOR, QUICK
from bill.worker import Side, environment

PER_IMAGE = 3  # forward passes that a step costs: going backward is two


def part(quick: bool, only: str = "", repetitions: int = 5) -> Iterator[dict]:
    """A row a network, in bfloat16."""
    if not quick and not hardware.accelerator():
        yield {"what": "utilisation", "unmeasured": "no accelerator here (--quick runs it on the CPU)"}
        return
    ceiling = ceiling_of(256 if quick else 8192)
    yield {"what": "bfloat16 matrix product", "tflops": ceiling / 1e12}
    for name, case in list(QUICK.items())[1:] if quick else ACCELERATOR.items():
        if only not in name:
            continue
        side = Side("ours", os.cpu_count(), case)
        took = [side.time(case.steps)["seconds"] for _ in range(1 + (1 if quick else repetitions))][1:]
        side.close()
        speed = case.batch * case.steps / statistics.median(took)
        used = PER_IMAGE * operations(case) * speed
        found = {"what": name, "batch": case.batch, "steps_per_call": case.steps, "images_per_second": speed}
        yield found | {"tflops": used / 1e12, "utilisation": used / ceiling}


def operations(case) -> int:
    """Of one forward pass of one image; two a multiply-add."""
    from bottleneck import models
    from bottleneck.features.layers import LOGITS
    from bottleneck.models.cost import cost

    shape = (case.size, case.size, 3)
    module = models.build(models.resolved(models.spec(case.model), shape), study.CLASSES)
    return cost(module, shape, (LOGITS,)).flops


def ceiling_of(side: int) -> float:
    """Operations per second, measured in a process of its own: a device may be held by one alone."""
    command = [sys.executable, "-m", "bill.utilisation", str(side)]
    return float(subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout)


def products(side: int) -> float:
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(jax.random.key(0), (side, side)).astype(jnp.bfloat16)
    many = 10

    @jax.jit
    def chain(x):
        return jax.lax.fori_loop(0, many, lambda _, y: (y @ x) * jnp.bfloat16(side**-0.5), x)

    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        chain(x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return many * 2 * side**3 / best


if __name__ == "__main__":
    print(products(int(sys.argv[1])))
