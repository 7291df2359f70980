"""The stages of a study. Each reads only what the one before left on disk, so each runs alone, later, elsewhere.

Tasks are content-addressed and idempotent: what is done is not redone, what was killed goes on.
"""
from __future__ import annotations

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bottleneck.evaluation import evaluate
from bottleneck.store import Store


def pretrain(store: Store) -> None:
    """Trains every run of the plan that is not done; a damaged checkpoint is named, removed and made again."""
    waiting = [run for run in store.mine(store.plan.runs) if not store.is_done(run)]
    waiting.sort(key=lambda run: (run.components, run.data))      # runs that share a resident pool together
    batch = store.plan.study.train.batch
    with progress("pretrain", sum(run.steps for run in waiting) * batch, "image") as bar:
        for run in waiting:
            bar.set_postfix_str(f"{run.name} seed {run.seed}")
            store.train(run, store.plan.pool_of(run), on_progress=lambda steps: bar.update(steps * batch))


def transfer(store: Store) -> None:
    """Every evaluation of the plan that has no rows yet: features, probes, fine-tuning."""
    (store.workdir / "rows").mkdir(parents=True, exist_ok=True)
    waiting = [e for e in store.mine(store.plan.evaluations) if not store.rows(e).is_file()]
    # Many small products: a second BLAS thread costs more than it brings, and very much more on a busy machine.
    with progress("transfer", len(waiting), "probe") as bar, threadpool_limits(1, "blas"):
        for evaluation in waiting:
            bar.set_postfix_str(f"{evaluation.arm} on {evaluation.target}")
            evaluate(store, evaluation)
            bar.update()


def progress(stage: str, total: int, unit: str) -> tqdm:
    """A bar with an estimate of the time left; one plain line instead where standard error is not a terminal."""
    bar = tqdm(total=total, desc=stage, unit=unit, unit_scale=True, disable=None, dynamic_ncols=True)
    if bar.disable and total:
        print(f"{stage}: {total:,} {unit}s", flush=True)
    return bar
