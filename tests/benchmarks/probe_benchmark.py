"""Solved probes beside scikit-learn's and PyTorch's, in the same process, one after the other, at equal objective.

    python tests/benchmarks/probe_benchmark.py [--sizes=10000x512x10,60000x2304x10,50000x2048x100] [--lam=1e-3]
        [--limit=120] [--threads=1] [--quick] [--json=FILE]

One multinomial logistic regression a size (items x features x classes, at least 3), on standardised features: mean
log-loss + (lam / 2) |W|^2 in float64. Ours: eigenbasis and solver, to the gradient of a probe. PyTorch: L-BFGS over the
whole batch (strong Wolfe, history 20) from zeros, stopped as soon as its objective is within 1e-6 (relative) of ours.
scikit-learn shows no iterates: the time is of the first of tol = 1e-3, 1e-4, ... 1e-8, each from zeros, that is as
near. Who has not come there within `limit` seconds is said to have not, and the excess is how far it came. Ratios are
of seconds: above 1, this package is faster. Accuracy and bits are of 100 test items a class, at most 20,000, without
calibration. At the first size also ridge over the whole grid of penalties, beside `RidgeClassifierCV`.

Features are made: singular values fall as the inverse square root of their rank, in a random rotation, and labels are
drawn from a planted linear classifier. What is not installed is left out.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import signal
import time
import warnings
from collections.abc import Iterator

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from threadpoolctl import threadpool_limits

from bottleneck.analysis import eigenbasis, information, logistic, ridge

SIZES = "10000x512x10,60000x2304x10,50000x2048x100"
QUICK = {"sizes": "300x10x3", "limit": 5.0}
HEAD = "      n     p     K  solver         seconds   ratio    excess  accuracy     bits"
EQUAL = 1e-6  # relative excess of an objective that counts as equal


def data(n, p, classes, seed=0):
    """Features float32 and labels of n probe items, and of test items."""
    rng, tested = np.random.default_rng(seed), min(100 * classes, 20_000)
    spectrum = np.float32(1.0) / np.sqrt(np.arange(1, p + 1, dtype=np.float32))
    latent = rng.standard_normal((n + tested, p), np.float32)
    planted = 3.0 * rng.standard_normal((p, classes), np.float32) * spectrum[:, None]
    labels = (latent @ planted + rng.gumbel(size=(n + tested, classes))).argmax(1)
    x = (latent * spectrum) @ np.linalg.qr(rng.standard_normal((p, p), np.float32))[0]
    return (x[:n], labels[:n]), (x[n:], labels[n:])


class Reached(Exception):
    """A solver has come to the objective that was asked for, or to the end of its time."""


class Watch:
    """The least objective seen of a solver from outside: its classifier, and when it was seen."""

    def __init__(self, target: float, limit: float):
        self.target, self.limit, self.begun = target, limit, time.perf_counter()
        self.best, self.weights, self.bias, self.seconds = np.inf, None, None, 0.0

    def see(self, value: float, weights, bias) -> None:
        now = time.perf_counter() - self.begun
        if value < self.best:
            self.best, self.weights, self.bias, self.seconds = value, weights.copy(), bias.copy(), now
        if value <= self.target * (1 + EQUAL) or now > self.limit:
            raise Reached


@contextlib.contextmanager
def ended_after(seconds: float):
    """Raises Reached in what takes longer: a solver that does not come back between its iterations."""

    def end(*_):
        raise Reached

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 1.1 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ours(x, labels, classes, lam):
    start = time.perf_counter()
    space = eigenbasis.basis(x, "standardised")
    based = time.perf_counter() - start
    fit = logistic.logistic(space, labels, lam, num_classes=classes)
    seconds = time.perf_counter() - start
    kernel = space.vectors @ fit.weights  # of standardised features
    return fit, kernel, seconds, based


def by_torch(z, labels, classes, lam, watch):
    import torch

    x, y = torch.from_numpy(z), torch.from_numpy(labels)
    weights = torch.zeros(z.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    settings = dict(lr=1.0, max_iter=10_000, max_eval=20_000, tolerance_grad=0, tolerance_change=0, history_size=20)
    solver = torch.optim.LBFGS([weights, bias], line_search_fn="strong_wolfe", **settings)

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weights + bias, y) + 0.5 * lam * (weights**2).sum()
        loss.backward()
        watch.see(float(loss), weights.detach().numpy(), bias.detach().numpy())
        return loss

    solver.step(closure)


def by_sklearn(z, labels, classes, lam, watch):
    for tolerance in np.logspace(-3, -8, 6):
        watch.begun = time.perf_counter()
        model = LogisticRegression(C=1.0 / (lam * len(z)), tol=tolerance, max_iter=10_000).fit(z, labels)
        taken = time.perf_counter() - watch.begun
        value = objective(z, labels, model.coef_.T, model.intercept_, lam)
        watch.begun = time.perf_counter() - taken
        watch.see(value, model.coef_.T, model.intercept_)


def objective(z, labels, weights, bias, lam):
    loss = information.log_loss(information.log_softmax(z @ weights + bias), labels)
    return loss + 0.5 * lam * float((weights**2).sum())


def said(z, labels, weights, bias):
    """Accuracy, and mean bits beyond equal classes, of test items."""
    logits = z @ weights + bias
    prior = np.full(logits.shape[1], 1.0 / logits.shape[1])
    bits = information.bits(information.log_softmax(logits), labels, prior)
    return float((logits.argmax(1) == labels).mean()), float(bits.mean())


def compared(n, p, classes, lam, limit) -> Iterator[dict]:
    """A row of each solver at one size."""
    (x, labels), (x_test, test_labels) = data(n, p, classes)
    fit, kernel, seconds, based = ours(x, labels, classes, lam)
    mean, spread = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    z, z_test = ((part.astype(np.float64) - mean) / spread for part in (x, x_test))
    del x
    target = objective(z, labels, kernel, fit.intercept, lam)
    accuracy, bits = said(z_test, test_labels, kernel, fit.intercept)
    size = dict(n=n, p=p, classes=classes)
    told = dict(basis_seconds=based, iterations=fit.iterations, grad_norm=fit.grad_norm, objective=target)
    own = dict(seconds=seconds, ratio=1.0, excess=0.0, reached=True, accuracy=accuracy, bits=bits)
    yield dict(solver="ours", **own, **told, **size)
    for name, solve in (("torch", by_torch), ("scikit-learn", by_sklearn)):
        watch = Watch(target, limit)
        try:
            with ended_after(limit):
                solve(z, labels, classes, lam, watch)
        except Reached:
            pass
        except ImportError as error:
            yield dict(solver=name, missing=str(error), **size)
            continue
        if watch.weights is None:
            yield dict(solver=name, missing=f"no result in {limit:g} s", **size)
            continue
        accuracy, bits = said(z_test, test_labels, watch.weights, watch.bias)
        excess = watch.best / target - 1.0
        found = dict(seconds=watch.seconds, excess=excess, reached=excess <= EQUAL, accuracy=accuracy, bits=bits)
        yield dict(solver=name, ratio=watch.seconds / seconds, **found, **size)


def ridges(n, p, classes) -> dict:
    """Every penalty of the grid, one decomposition each side: ours on a validation split, theirs by leave-one-out."""
    (x, labels), (x_test, test_labels) = data(n, p, classes)
    start = time.perf_counter()
    space = eigenbasis.basis(x)
    weights, intercept = ridge.ridge(space, labels, classes=classes)
    ridge.squared_errors(weights, space.project(x_test), np.eye(classes)[test_labels] - intercept)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    RidgeClassifierCV(alphas=np.array(ridge.GRID) * n).fit(x.astype(np.float64), labels)
    theirs = time.perf_counter() - start
    return dict(n=n, p=p, classes=classes, seconds=seconds, sklearn_seconds=theirs, ratio=theirs / seconds)


def hardware() -> dict:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    versions = dict(python=platform.python_version(), numpy=np.__version__, sklearn=sklearn.__version__)
    try:
        import torch

        versions["torch"] = torch.__version__
    except ImportError:
        pass
    return dict(processor=", ".join(models) or platform.processor(), cores=os.cpu_count(), **versions)


@contextlib.contextmanager
def threads(count: int):
    """As many for everybody's products."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(count)
    with threadpool_limits(count):
        yield


def line(row: dict) -> str:
    place = f"{row['n']:>7} {row['p']:>5} {row['classes']:>5}  {row['solver']:<13}"
    if "missing" in row:
        return f"{place}left out: {row['missing']}"
    numbers = f"{row['seconds']:>9.2f}{row['ratio']:>8.2f}{row['excess']:>10.1e}{row['accuracy']:>10.4f}"
    return f"{place}{numbers}{row['bits']:>9.4f}{'' if row['reached'] else '  not reached'}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=SIZES, help="items x features x classes, several")
    parser.add_argument("--lam", type=float, default=1e-3)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that each of the others may take at a size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tiny size in place of all: shows that it runs")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    vars(args).update(QUICK if args.quick else {})
    warnings.simplefilter("ignore")  # scikit-learn says when its iterations were not enough
    sizes = [tuple(map(int, size.split("x"))) for size in args.sizes.split(",")]
    found = dict(hardware=hardware() | dict(threads=args.threads, lam=args.lam), rows=[])
    print(", ".join(f"{key} {value}" for key, value in found["hardware"].items()))
    print(HEAD, flush=True)
    with threads(args.threads):
        list(compared(200, 8, 3, args.lam, args.limit))  # what a library loads at its first call is not counted
        for size in sizes:
            for row in compared(*size, args.lam, args.limit):
                print(line(row), flush=True)
                found["rows"].append(row)
        paths = found["ridge"] = ridges(*sizes[0])
    print(
        f"ridge, {len(ridge.GRID)} penalties, first size: {paths['seconds']:.2f} s, RidgeClassifierCV "
        f"{paths['sklearn_seconds']:.2f} s, ratio {paths['ratio']:.1f}"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
