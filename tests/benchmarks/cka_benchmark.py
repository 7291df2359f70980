"""CKA between all layers of a network beside a feature-space PyTorch implementation, in one process, one after the
other.

    python tests/benchmarks/cka_benchmark.py [--n=10000] [--p=512] [--layers=12] [--steps=3] [--threads=1] [--quick]

Needs `pip install torch` (CPU is enough), which the package itself does not. Every contender computes the debiased
linear CKA of layers x layers at every step, from float32 features held in memory. Exact, over all examples:

    pairwise        this package, float32 products summed over chunks in float64
    torch cells     a function of two representations, called for every cell: centring and three products, float64
    torch shared    representations centred once, self terms once, cell (i, j) also (j, i), float64 and float32

and `minibatch` of this package, with a jackknife interval for every pair. Prints seconds over all steps, the ratio to
`pairwise` (above 1: this package is faster), the largest difference from torch's float64 cells, and the peak of memory
above the features (Linux; freed memory that the allocator keeps counts for whoever runs later).
"""

import argparse
import collections
import time
from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bottleneck.analysis import cka


def features(n, p, layers, step, seed=0):
    """Rectified features float32 [n, p] of a random residual network whose weights depend on `step`."""
    rng = np.random.default_rng((seed, step))
    hidden = np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)  # the inputs are the same at every step
    found = {}
    for layer in range(layers):
        weights = rng.normal(size=(p, p)).astype(np.float32) * np.float32(0.7 / np.sqrt(p))
        hidden = hidden + np.maximum(hidden @ weights, 0)
        found[f"layer{layer}"] = np.maximum(hidden, 0)
    return found


def debiased(product, norms_x, norms_y):
    """Unbiased HSIC times n (n - 3), of centred features: `product` is |X^T Y|^2, the norms [n] are of the examples."""
    n = len(norms_x)
    return product - n / (n - 2) * (norms_x @ norms_y) + norms_x.sum() * norms_y.sum() / ((n - 1) * (n - 2))


def centre(x, dtype):
    x = torch.from_numpy(x).double()
    return (x - x.mean(0)).to(dtype)


def norms(x):
    return x.double().square().sum(1)


def torch_cells(layers):
    def cell(x, y):
        x, y = centre(x, torch.float64), centre(y, torch.float64)
        a, b = norms(x), norms(y)
        xy, xx, yy = ((u.T @ v).square().sum() for u, v in ((x, y), (x, x), (y, y)))
        return float(debiased(xy, a, b) / torch.sqrt(debiased(xx, a, a) * debiased(yy, b, b)))

    return np.array([[cell(x, y) for y in layers.values()] for x in layers.values()])


def torch_shared(layers, dtype):
    xs = [centre(x, dtype) for x in layers.values()]
    lengths = [norms(x) for x in xs]
    hsic = np.empty((len(xs), len(xs)))
    for i, x in enumerate(xs):
        for j, y in enumerate(xs[: i + 1]):
            product = (x.T @ y).double().square().sum()
            hsic[i, j] = hsic[j, i] = float(debiased(product, lengths[i], lengths[j]))
    own = np.sqrt(np.diag(hsic))
    return hsic / own / own[:, None]


def memory(key):
    """VmRSS or VmHWM of this process in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def measured(function):
    """Result, seconds, and MiB that the peak was above what was held before (nan where that cannot be asked for)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak
        before = memory("VmRSS")
    except OSError:
        before = None
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return result, seconds, memory("VmHWM") - before if before is not None else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("n", 10_000), ("p", 512), ("layers", 12), ("steps", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--quick", action="store_true", help="n=2000, p=64, 4 layers, 2 steps")
    args = parser.parse_args()
    if args.quick:
        args.n, args.p, args.layers, args.steps = 2000, 64, 4, 2
    torch.set_num_threads(args.threads)
    contenders = {
        "pairwise": cka.pairwise,
        "minibatch": cka.minibatch,
        "torch shared, float32": lambda layers: torch_shared(layers, torch.float32),
        "torch shared, float64": lambda layers: torch_shared(layers, torch.float64),
        "torch cells, float64": torch_cells,
    }
    print(
        f"n={args.n} p={args.p} layers={args.layers} steps={args.steps} threads={args.threads}; the features of a step "
        f"take {args.n * args.p * args.layers * 4 / 2**20:.0f} MiB"
    )
    seconds, peaks, apart = collections.Counter(), collections.Counter(), collections.Counter()
    in_se = []
    with threadpool_limits(args.threads, "blas"), torch.inference_mode():
        for step in range(args.steps):
            layers = features(args.n, args.p, args.layers, step)
            found = {}
            for name, function in contenders.items():
                found[name], taken, peak = measured(partial(function, layers))
                seconds[name] += taken
                peaks[name] = max(peaks[name], peak)
            similarities = found.pop("minibatch")
            exact = found["torch cells, float64"]
            for name, values in found.items():
                apart[name] = max(apart[name], np.abs(values - exact).max())
            for i, a in enumerate(layers):
                for j, b in enumerate(list(layers)[:i]):
                    interval = similarities.interval(a, b)
                    in_se.append((interval.value - exact[i, j]) / interval.se)
            upper = exact[np.triu_indices(args.layers, 1)]
            print(f"step {step}: values between different layers {upper.min():.3f} to {upper.max():.3f}")
    for name in contenders:
        ratio = seconds[name] / seconds["pairwise"]
        text = f"{name:24s}{seconds[name]:9.2f} s   ratio {ratio:8.2f}   {peaks[name]:7.0f} MiB"
        print(
            text
            + (
                f"   apart {apart[name]:.1e}"
                if name in apart
                else f"   in its own standard errors: rms {np.sqrt(np.mean(np.square(in_se))):.2f}, largest "
                f"{np.abs(in_se).max():.2f}; {seconds['torch shared, float64'] / seconds[name]:.0f} times faster than "
                f"torch shared, {seconds['torch cells, float64'] / seconds[name]:.0f} than torch cells"
            )
        )


if __name__ == "__main__":
    main()
