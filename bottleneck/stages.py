"""The stages of a study. Each reads only what the one before left on disk, so each runs alone, later, elsewhere.

Tasks are content-addressed and idempotent: what is done is not redone, what was killed goes on.
"""

from __future__ import annotations

from bottleneck import answer, checkpoint, jobs
from bottleneck.diagnosis import tasks
from bottleneck.evaluation import evaluate, finetuning
from bottleneck.plan import FINETUNES, Evaluation
from bottleneck.store import Store


def pretrain(store: Store) -> None:
    """Trains every run of the plan that is not done; a damaged checkpoint is named, removed and made again."""
    waiting = [run for run in store.mine(store.plan.runs) if not store.is_done(run)]
    waiting.sort(key=lambda run: (run.components, run.data))  # runs that share a resident pool together
    batch = store.plan.study.train.batch
    with jobs.progress("pretrain", sum(run.steps for run in waiting) * batch, "image") as bar:
        for run in waiting:
            bar.set_postfix_str(f"{run.name} seed {run.seed}")
            store.train(run, store.plan.pool_of(run), on_progress=lambda steps: bar.update(steps * batch))


def transfer(store: Store) -> None:
    """Every evaluation of the plan that has no rows yet: features, probes; then fine-tuning, one run after the other."""
    (store.workdir / "rows").mkdir(parents=True, exist_ok=True)
    waiting = [e for e in store.mine(store.plan.evaluations) if not done(store, e)]
    tuned = [e for e in waiting if e.protocol in FINETUNES]
    probes = [[e] for e in waiting if e.protocol not in FINETUNES]
    for unit, groups in (("probe", probes), ("fine-tuning", [tuned] * bool(tuned))):
        jobs.carry_out("transfer", unit, groups, lambda evaluation: evaluate(store, evaluation))


def done(store: Store, evaluation: Evaluation) -> bool:
    """Whether an evaluation has its rows and, where it fine-tunes, every step the run is asked to keep."""
    if not store.rows(evaluation).is_file() or evaluation.protocol not in FINETUNES:
        return store.rows(evaluation).is_file()
    run, _ = finetuning(store.plan, evaluation)
    return set(run.keep) <= set(checkpoint.steps(store.directory(run) / "checkpoints"))


def analyze(store: Store) -> None:
    """The declared analyses of this shard; and the study's answer, once all of them are there."""
    tasks.run(store)
    left = sum(not store.rows(analysis).is_file() for analysis in store.plan.analyses)
    if left:
        print(
            f"analyze: {left} analyses are left to the other shards; any of them answers when all are done", flush=True
        )
    else:
        answer.analyze(store)
