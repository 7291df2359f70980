"""All ridge probes of one (step, layer) beside scikit-learn's probes over the same grid, in the same process.

    python tests/benchmarks/screen_benchmark.py [--n=10000] [--p=512] [--threads=1] [--stride=1] [--quick]

Five targets of the same standardised features, three of 2 classes and two of 10, 45 penalties. Ours: `screen.screen`,
whitened, from the features to calibrated bits of the test split, all targets at once. `RidgeClassifierCV`: its
leave-one-out shortcut, all penalties per target. `LogisticRegression`: as it comes (lbfgs, 100 iterations), one fit per
target and penalty, chosen by accuracy on val, on float32 features (faster) and on float64 (what ours computes in);
with a `stride` every so-many-th penalty is fitted and its seconds are scaled up. Prints seconds, ratios (above 1: ours
is faster) and test accuracies. Best on an otherwise idle machine.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from threadpoolctl import threadpool_limits

from bottleneck.analysis import nonlinear, screen
from bottleneck.analysis.ridge import GRID

CLASSES = (2, 2, 2, 10, 10)


def data(n, p, seed=0):
    """Rectified features, correlated as trained ones are, in which five labels shift the hidden means; n, n/2, n/2
    items."""
    rng = np.random.default_rng(seed)
    sizes = {"probe": n, "val": n // 2, "test": n // 2}
    total, hidden = sum(sizes.values()), p // 4
    labels = [rng.integers(0, classes, total) for classes in CLASSES]
    latent = rng.normal(size=(total, hidden))
    for classes, values in zip(CLASSES, labels):
        latent += 0.3 * rng.normal(size=(classes, hidden))[values]
    latent /= np.sqrt(np.arange(1, hidden + 1))
    x = np.maximum(latent @ rng.normal(size=(hidden, p)) / np.sqrt(hidden) + 0.05 * rng.normal(size=(total, p)), 0)
    edges = np.cumsum(list(sizes.values()))[:-1]

    def split(values):
        return dict(zip(sizes, np.split(values, edges)))

    return split(x.astype(np.float32)), {i: (split(values), k) for i, (k, values) in enumerate(zip(CLASSES, labels))}


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def ridge_cv(x, targets):
    """Test accuracy per target."""
    alphas = np.array(GRID) * len(x["probe"])
    return [
        RidgeClassifierCV(alphas=alphas).fit(x["probe"], y["probe"]).score(x["test"], y["test"])
        for y, _ in targets.values()
    ]


def logistic(x, targets, stride):
    """Test accuracy per target at the penalty of the best validation accuracy."""
    found = []
    for y, classes in targets.values():
        scores = []
        for lam in GRID[::stride]:
            c = (2.0 if classes == 2 else 1.0) / (
                lam * len(x["probe"])
            )  # one sigmoid for two classes: half the penalty
            model = LogisticRegression(C=c).fit(x["probe"], y["probe"])
            scores.append((model.score(x["val"], y["val"]), model.score(x["test"], y["test"])))
        found.append(max(scores)[1])
    return found


def show(name, seconds, ours, accuracies):
    ratio = f"{seconds / ours:8.1f}x" if seconds != ours else " " * 9
    print(f"{name:34s} {seconds:9.2f} s {ratio}   accuracy " + " ".join(f"{a:.3f}" for a in accuracies), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("n", 10_000), ("p", 512), ("threads", 1), ("stride", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--quick", action="store_true", help="n=500, p=32, every 8th penalty")
    args = parser.parse_args()
    if args.quick:
        args.n, args.p, args.stride = 500, 32, 8
    warnings.simplefilter("ignore")  # scikit-learn says when 100 iterations were not enough
    x, targets = data(args.n, args.p)
    mean, std = x["probe"].mean(0), x["probe"].std(0)
    single = {split: (values - mean) / std for split, values in x.items()}
    double = {split: values.astype(np.float64) for split, values in single.items()}
    print(f"n={args.n} p={args.p} classes={CLASSES} penalties={len(GRID)} BLAS threads={args.threads}")
    with threadpool_limits(args.threads, "blas"):
        screen.screen(x, targets)  # warms up
        readings, ours = min((timed(lambda: screen.screen(x, targets)) for _ in range(3)), key=lambda run: run[1])
        show("screen", ours, ours, [reading.correct.mean() for reading in readings.values()])
        found, seconds = timed(lambda: ridge_cv(double, targets))
        show("RidgeClassifierCV", seconds, ours, found)
        scale = len(GRID) / len(GRID[:: args.stride])
        for kind, features in (("float32", single), ("float64", double)):
            found, seconds = timed(lambda features=features: logistic(features, targets, args.stride))
            show(f"LogisticRegression, {kind}" + (", scaled" if scale > 1 else ""), seconds * scale, ours, found)
        found, seconds = timed(lambda: nonlinear.probe(x, targets))
        print(
            f"for comparison, nonlinear.probe: {seconds:.2f} s, accuracy "
            + " ".join(f"{reading.correct.mean():.3f}" for reading in found.values())
        )


if __name__ == "__main__":
    main()
