"""ResNet training steps with the package's convolution beside XLA's own, in the same process, alternating.

    python tests/benchmarks/conv_benchmark.py [--batch=64] [--repeats=5] [--depths=20,18] [--layers]

Prints images per second (median over the repeats) and their ratio, the number to compare between machines.
`--layers` adds the kernel gradient alone, in GFLOP/s, at the layer shapes of these networks.
"""
import argparse
import statistics
import time
from unittest import mock

import jax
import jax.numpy as jnp
import optax

from bottleneck import models
from bottleneck.models import conv


def train_step(depth, convolution, batch, dtype):
    """A compiled step of SGD on 32-pixel images and its arguments."""
    model = models.build({"name": "resnet", "depth": depth, "stem": "small"}, 10, dtype)
    x = jax.random.normal(jax.random.key(0), (batch, 32, 32, 3))
    y = jnp.arange(batch) % 10
    variables = jax.jit(model.init)(jax.random.key(1), x[:1])

    def loss(params, batch_stats):
        (logits, _), updated = model.apply({"params": params, "batch_stats": batch_stats}, x, train=True,
                                           mutable="batch_stats")
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), updated["batch_stats"]

    def step(params, batch_stats):
        grads, batch_stats = jax.grad(loss, has_aux=True)(params, batch_stats)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), batch_stats

    with mock.patch.object(conv, "conv", convolution):   # the layer looks it up while tracing
        compiled = jax.jit(step).lower(variables["params"], variables["batch_stats"]).compile()
    return compiled, (variables["params"], variables["batch_stats"])


def alternate(candidates, repeats):
    """Median seconds per call of each (function, arguments), timed in turns after a warm-up."""
    seconds = [[] for _ in candidates]
    for repeat in range(repeats + 1):
        for (function, arguments), times in zip(candidates, seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            if repeat:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def layer(batch, side, inputs, outputs, stride, repeats):
    """GFLOP/s of one 3x3 layer's kernel gradient: (matrix products, XLA)."""
    pad = ((1, 1), (1, 1))
    x = jax.random.normal(jax.random.key(0), (batch, side, side, inputs))
    g = jax.random.normal(jax.random.key(1), (batch, side // stride, side // stride, outputs))
    kernel = jnp.zeros((3, 3, inputs, outputs))
    products = jax.jit(lambda x, g: conv.kernel_gradient(x, g, (3, 3), stride, pad))
    xla = jax.jit(lambda x, g: jax.vjp(lambda k: conv.lax_conv(x, k, stride, pad), kernel)[1](g)[0])
    flops = 2 * g.size * 9 * inputs
    return [flops / s / 1e9 for s in alternate([(products, (x, g)), (xla, (x, g))], repeats)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--depths", default="20,18")
    parser.add_argument("--dtype", default="float32", choices=models.DTYPES)
    parser.add_argument("--layers", action="store_true")
    args = parser.parse_args()
    print(f"{jax.default_backend()}, batch {args.batch}, {args.dtype}, median of {args.repeats}")
    for depth in map(int, args.depths.split(",")):
        steps = [train_step(depth, function, args.batch, args.dtype) for function in (conv.conv, conv.lax_conv)]
        ours, xla = (args.batch / s for s in alternate(steps, args.repeats))
        print(f"ResNet-{depth}: {ours:.1f} images/s, XLA's {xla:.1f}, ratio {ours / xla:.2f}", flush=True)
    if args.layers:
        for shape in ((32, 3, 16, 1), (32, 16, 16, 1), (32, 16, 32, 2), (16, 32, 32, 1), (8, 64, 64, 1),
                      (32, 64, 64, 1), (16, 128, 128, 1), (8, 256, 256, 1), (4, 512, 512, 1)):
            ours, xla = layer(args.batch, *shape, args.repeats)
            side, inputs, outputs, stride = shape
            print(f"kernel gradient {side}x{side}x{inputs} -> {outputs}, stride {stride}: {ours:.0f} GFLOP/s, "
                  f"XLA {xla:.0f}, ratio {ours / xla:.2f}", flush=True)


if __name__ == "__main__":
    main()
