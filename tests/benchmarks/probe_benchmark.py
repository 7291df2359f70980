"""Solved probes beside scikit-learn's over the same grid of penalties, in the same process, one after the other.

    python tests/benchmarks/probe_benchmark.py [--n=2000] [--p=128] [--classes=10] [--stride=2] [--quick]

Ridge: every penalty of the grid, on the validation split, against `RidgeClassifierCV` (its leave-one-out shortcut, one
decomposition too). Logistic: every `stride`-th penalty from strong to weak, warm-started, on standardised features,
against `LogisticRegression` as it comes (tol 1e-4, 100 iterations) and converged (tol 1e-10, 10,000 iterations).
Prints seconds, ratios (above 1: this package is faster), the worst relative excess of our objective over
scikit-learn's converged one and the largest difference in test items classified correctly.
Set OPENBLAS_NUM_THREADS=1 where other work shares the cores.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV

from bottleneck.analysis import information, probes, solvers


def data(n, p, classes, seed=0):
    """Correlated rectified features of a noisy label: three splits of n, n/2 and 2n items."""
    rng = np.random.default_rng(seed)
    sizes = {"probe": n, "val": n // 2, "test": 2 * n}
    total = sum(sizes.values())
    labels = rng.integers(0, classes, total)
    hidden = 0.4 * rng.normal(size=(classes, p // 4))[labels] + rng.normal(size=(total, p // 4))
    x = np.maximum(hidden @ rng.normal(size=(p // 4, p)) / np.sqrt(p // 4) + 0.3 * rng.normal(size=(total, p)), 0)
    x = x.astype(np.float32)
    edges = np.cumsum([0, *sizes.values()])
    parts = {name: slice(a, b) for name, a, b in zip(sizes, edges[:-1], edges[1:])}
    return {name: x[part] for name, part in parts.items()}, {name: labels[part] for name, part in parts.items()}


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def objective(z, labels, weights, bias, lam):
    loss = information.log_loss(information.log_softmax(z @ weights + bias), labels)
    return loss + 0.5 * lam * (weights**2).sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("n", 2000), ("p", 128), ("classes", 10), ("stride", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--quick", action="store_true", help="n=300, p=32, every 8th penalty")
    args = parser.parse_args()
    if args.quick:
        args.n, args.p, args.stride = 300, 32, 8
    warnings.simplefilter("ignore")  # scikit-learn says when 100 iterations were not enough
    x, y = data(args.n, args.p, args.classes)
    one_hot = np.eye(args.classes)[y["probe"]]
    print(f"n={args.n} p={args.p} classes={args.classes}")

    def screen():
        space = solvers.basis(x["probe"])
        val = space.project(x["val"])
        weights, intercept = solvers.ridge(space, one_hot, probes.GRID)
        return max(((val @ w + intercept).argmax(1) == y["val"]).mean() for w in weights)

    _, ours = timed(screen)
    alphas = np.array(probes.GRID) * args.n
    _, theirs = timed(lambda: RidgeClassifierCV(alphas=alphas).fit(x["probe"].astype(np.float64), y["probe"]))
    print(f"ridge, {len(alphas)} penalties: {ours:.3f} s; RidgeClassifierCV {theirs:.3f} s; ratio {theirs / ours:.1f}")

    mean, scale = x["probe"].astype(np.float64).mean(0), x["probe"].astype(np.float64).std(0)
    z, z_test = ((x[split] - mean) / scale for split in ("probe", "test"))
    path = probes.GRID[:: args.stride][::-1]

    def solve_path():
        space, fits = solvers.basis(x["probe"], "standardised"), []
        for lam in path:
            fits.append(
                solvers.logistic(space, y["probe"], lam, num_classes=args.classes, start=fits[-1] if fits else None)
            )
        return [(space.vectors @ fit.weights, fit.intercept) for fit in fits], fits

    def sklearn_path(**settings):
        fits = []
        for lam in path:
            binary = args.classes == 2  # one sigmoid: half the penalty
            model = LogisticRegression(C=(2.0 if binary else 1.0) / (lam * args.n), **settings).fit(z, y["probe"])
            sides = np.array([[-0.5, 0.5]]) if binary else np.ones((1, args.classes))
            fits.append((model.coef_.T * sides, model.intercept_ * sides[0]))
        return fits

    (mapped, fits), ours = timed(solve_path)
    references = {
        "as it comes": timed(sklearn_path),
        "converged": timed(lambda: sklearn_path(tol=1e-10, max_iter=10_000)),
    }
    print(
        f"logistic, {len(path)} penalties: {ours:.3f} s, {sum(fit.iterations for fit in fits)} iterations, "
        f"largest gradient {max(fit.grad_norm for fit in fits):.1e}"
    )
    for name, (reference, seconds) in references.items():
        excess, hits = [], []
        for lam, own, other in zip(path, mapped, reference):
            theirs = objective(z, y["probe"], *other, lam)
            excess.append((objective(z, y["probe"], *own, lam) - theirs) / theirs)
            correct = [((z_test @ w + b).argmax(1) == y["test"]).sum() for w, b in (own, other)]
            hits.append(abs(int(correct[0]) - int(correct[1])))
        print(
            f"  LogisticRegression {name}: {seconds:.3f} s; ratio {seconds / ours:.1f}; our objective at most "
            f"{max(excess):+.1e} relative, as low as {min(excess):+.1e}; test items apart {max(hits)}"
        )

    probe, seconds = timed(lambda: probes.linear_probe(x, y, args.classes))
    print(
        f"linear_probe, three scalings, search and calibration: {seconds:.3f} s; accuracy {probe.accuracy:.3f}, "
        f"{probe.bits.mean():.3f} bits, {probe.scaling}, lambda {probe.lam:.1e}, gradient {probe.grad_norm:.0e}"
    )


if __name__ == "__main__":
    main()
