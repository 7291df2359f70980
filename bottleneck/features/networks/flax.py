"""Networks of Flax (Linen and NNX) and functions of variables and images, in evaluation mode and float32.

Layers are the taps that a network returns beside its logits and, of Linen modules, the outputs of all their submodules
by path (`Block_0.Conv_1`). "features" is what the network returns by that name; of a Linen module whose output its last
Dense makes, the input of that; else the output.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import pathlib
from collections.abc import Callable, Mapping

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from bottleneck.errors import UserError, reason
from bottleneck.features.layers import LAST, LOGITS, spatial, tap_and_mode
from bottleneck.features.networks import uses
from bottleneck.features.networks.network import Network, digest, fitting, named, spread, unfit
from bottleneck.features.networks.uses import Uses

# How arguments that switch networks between training and evaluation are called, and their value for evaluation.
EVALUATION = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}
_FAILURES = (flax.errors.FlaxError, ValueError, TypeError, AttributeError, KeyError)


def load(made_by: Uses, features: str, shape: tuple[int, ...]) -> Network:
    """The network that `made_by` names. Raises UserError."""
    variables = weights(pathlib.Path(made_by.weights).expanduser()) if made_by.weights else None
    if made_by.kind == "apply":
        return network(made_by.function(), variables, features, shape, made_by.code)
    module, blank = _made(made_by), None
    if made_by.kind == "nnx":
        module = nnx.clone(module)  # the function may only hand it out
        if made_by.weights:
            _restore(module, variables, made_by.weights)
        variables = None  # the module holds them
        blank = functools.partial(_blank_nnx, made_by, features, shape)
    elif isinstance(module, tuple):
        module, own = module
        variables = own if variables is None else variables
    if isinstance(module, linen.Module):
        if made_by.weights:
            _check(module, variables, shape, made_by.weights)
        blank = functools.partial(_blank_linen, module, features, shape, made_by.code)
    return network(module, variables, features, shape, made_by.code, blank)


def _made(made_by: Uses):
    try:
        return made_by.function()()
    except UserError:
        raise
    except Exception as error:  # the user's code may raise anything
        expected = f"a function without arguments that returns a network ({reason(error)})"
        raise UserError("uses", made_by.target, expected) from None


def weights(path: pathlib.Path) -> dict:
    """Variables in an Orbax directory, a .msgpack or a .safetensors file (names joined by '/' or '.').

    Raises UserError.
    """
    if path.is_dir():
        from bottleneck import checkpoint

        return checkpoint.foreign(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            flat = load_file(path)
            between = "/" if any("/" in name for name in flat) else "."
            tree = flax.traverse_util.unflatten_dict({tuple(n.split(between)): x for n, x in flat.items()})
        else:
            tree = flax.serialization.msgpack_restore(path.read_bytes())
    except ImportError:
        raise UserError("weights", str(path), "safetensors to be installed (pip install safetensors)") from None
    except Exception as error:  # each format has errors of its own
        expected = f"a directory of Orbax, .msgpack or .safetensors ({reason(error)})"
        raise UserError("weights", str(path), expected) from None
    return tree if "params" in tree else {"params": tree}


def network(apply, variables, features: str, shape, code: str = "", blank: Callable | None = None) -> Network:
    """A Linen module and its variables, an NNX module or its graph and state, or a function, as a Network; `code`: a
    digest of what makes it."""
    call, variables, structure = caller(apply, variables)
    variables = jax.device_put(jax.tree.map(widened, variables))
    taps, classes = _taps(call, variables, shape, apply)
    if features and features not in taps:
        raise UserError("features", features, f"one of what the network returns: {', '.join(taps)}")
    own = [tap for tap in taps if tap not in (LAST, LOGITS) and not {"/", ":"} & set(tap)]
    outer = [tap for tap in own if "." not in tap]  # of Linen modules those that the network itself calls
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    content = digest(
        (jax.tree_util.keystr(at), str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())
        for at, leaf in leaves
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )
    size = sum(leaf.size for _, leaf in leaves)
    last = f"the output of {features}" if features else _said(taps)
    measured = "; BatchNorm of its untrained copy keeps its first statistics" * ("batch_stats" in variables)
    return Network(
        (*own, LAST),
        (*spread(outer), LAST),
        functools.partial(_read, _compiled(call, features), variables, apply),
        content,
        hashlib.sha256(f"{structure} {code} {uses.code(classes)}".encode()).hexdigest(),
        f"{type(apply).__name__}, {size:,} numbers; features are {last}; weights {content[:12]}{measured}",
        blank,
    )


def _said(taps: list[str]) -> str:
    if LAST in taps and LOGITS in taps:
        return "what it has beside its logits"
    return "what it returns" if LAST in taps else "its logits"


def _check(module: linen.Module, variables, shape, place: str) -> None:
    """Raises UserError unless `variables` are those that the module would begin with, by name and shape."""
    try:
        x = jax.ShapeDtypeStruct((1, *shape), np.float32)
        own = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, **_switches(type(module))), x)
    except _FAILURES as error:
        raise unfit(module, error) from error
    given = {collection: tree for collection, tree in variables.items() if collection in own or tree}
    fitting(_shapes(given), _shapes(own), place, type(module).__name__)


def _shapes(tree) -> dict[str, tuple]:
    """Name -> shape of every array of nested dictionaries."""
    flat = jax.tree_util.tree_leaves_with_path(tree)
    names = ("/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in at) for at, _ in flat)
    return {name: tuple(leaf.shape) for name, (_, leaf) in zip(names, flat)}


def caller(apply, variables, inside: bool = True) -> tuple[Callable, object, str]:
    """`call(variables, x)` -> taps, the variables it takes, and what the network is, in words; `inside`: with what the
    submodules of a Linen module give."""
    if isinstance(apply, nnx.Module | nnx.GraphDef):
        call, variables = _nnx(apply, variables)
        graph = apply if isinstance(apply, nnx.GraphDef) else nnx.graphdef(apply)
        return lambda states, x: named(call(states, x)), variables, str(graph)
    if isinstance(variables, str | pathlib.Path):
        variables = weights(pathlib.Path(variables).expanduser())
    if isinstance(apply, linen.Module):
        return _linen(apply, inside), variables, repr(apply)
    return lambda v, x: named(apply(v, x)), variables, repr(apply)


def _linen(module: linen.Module, inside: bool) -> Callable:
    switches = _switches(type(module))
    if hasattr(module, "dtype"):
        module = module.clone(dtype=jnp.float32)
    if not inside:
        return lambda variables, x: named(module.apply(variables, x, **switches))

    def call(variables, x):
        dense = []

        def note(run, args, kwargs, context):
            made = run(*args, **kwargs)
            if isinstance(context.module, linen.Dense) and context.method_name == "__call__":
                dense.append((args[0], made))
            return made

        with linen.intercept_methods(note):
            out, held = module.apply(variables, x, **switches, capture_intermediates=True, mutable=["intermediates"])
        inner = flax.traverse_util.flatten_dict(held["intermediates"])
        blocks = {".".join(at[:-1]): each[0] for at, each in inner.items() if at[-1] == "__call__" and len(each) == 1}
        blocks = {n: each for n, each in blocks.items() if n and getattr(each, "ndim", 0) >= 2}
        taps = named(out)
        if set(taps) == {LAST} and dense and dense[-1][1] is out:
            taps = {LAST: dense[-1][0], LOGITS: out}
        return {**blocks, **taps}

    return call


def _nnx(network, states) -> tuple[Callable, tuple]:
    """The call of an NNX network in evaluation mode, and its states."""
    if isinstance(network, nnx.Module):
        network, states = nnx.split(network)
    states = states if isinstance(states, tuple) else (states,)  # nnx.split by filters gives several
    try:
        switches = _switches(type(nnx.merge(network, *states)))
    except (ValueError, TypeError, AttributeError) as error:
        raise unfit(network, error) from error

    def call(states, x):
        module = nnx.merge(network, *states)
        module.eval()
        module.set_attributes(dtype=jnp.float32, raise_if_not_found=False)
        return module(x, **switches)

    return call, states


def _restore(module: nnx.Module, tree: dict, place: str) -> None:
    """Gives an NNX module the numbers of a tree of the same names: all that is no state of a random generator."""
    state = nnx.state(module, nnx.Not(nnx.RngState))
    pure = _numbered(tree.get("params", tree) if set(tree) == {"params"} else tree)
    fitting(_shapes(pure), _shapes(nnx.to_pure_dict(state)), place, type(module).__name__)
    try:
        nnx.replace_by_pure_dict(state, pure)
        nnx.update(module, state)
    except _FAILURES as error:
        raise unfit(module, error) from error


def _numbered(tree):
    """Keys of lists as numbers again, where a file has them as text."""
    if not isinstance(tree, Mapping):
        return tree
    return {int(k) if isinstance(k, str) and k.isdecimal() else k: _numbered(v) for k, v in tree.items()}


def _taps(call, variables, shape, apply) -> tuple[list[str], set[type]]:
    """Names of the taps in the order in which the network makes them, and the classes of all modules in it."""
    x = jax.ShapeDtypeStruct((1, *shape), np.float32)
    names: list[str] = []
    classes = {type(each) for _, each in nnx.iter_modules(apply)} if isinstance(apply, nnx.Module) else set()

    def note(run, args, kwargs, context):
        classes.add(type(context.module))
        return run(*args, **kwargs)

    try:
        with linen.intercept_methods(note):
            jax.eval_shape(lambda v, x: names.extend(call(v, x)) or x, variables, x)  # a dictionary would be sorted
    except _FAILURES as error:
        raise unfit(apply, error) from error
    return names, classes


def _compiled(call, features: str) -> Callable:
    @functools.partial(jax.jit, static_argnames=("layers",))
    def read(variables, x, layers):
        with jax.default_matmul_precision("highest"):
            taps, made = call(variables, x), {}
            last = features or (LAST if LAST in taps else LOGITS)
            for layer in layers:
                tap, mode = tap_and_mode(layer)
                if (place := last if tap == LAST else tap) not in taps:
                    raise UserError("layer", layer, f"one of what the network returns: {', '.join(map(str, taps))}")
                made[layer] = spatial(taps[place], mode).astype(jnp.float32)
            return made

    return read


def _read(compiled, variables, apply, x: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        return {layer: np.asarray(values) for layer, values in compiled(variables, x, layers=tuple(layers)).items()}
    except flax.errors.FlaxError as error:
        raise unfit(apply, error) from error


def returned(apply, variables, layer: str) -> Callable:
    """`f(x)` -> one layer of what a network returns, [B, p]; see features.foreign.extract for what it takes."""
    call, variables, _ = caller(apply, variables, inside=False)
    variables, compiled = jax.device_put(jax.tree.map(widened, variables)), _compiled(call, LAST)
    return lambda x: _read(compiled, variables, apply, x, (layer,))[layer]


def _switches(network: type) -> dict[str, bool]:
    """The arguments of a network's call that bring it to evaluation mode."""
    known = inspect.signature(network.__call__).parameters
    return {name: value for name, value in EVALUATION.items() if name in known}


def widened(leaf):
    """Floats as float32, whatever they were saved as."""
    floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(np.float32) if floating else leaf


def _blank_linen(module: linen.Module, features: str, shape, code: str, seed: int) -> Network:
    variables = module.init(jax.random.key(seed), jnp.zeros((1, *shape)), **_switches(type(module)))
    return network(module, variables, features, shape, code)


def _blank_nnx(made_by: Uses, features: str, shape, seed: int) -> Network | None:
    """A function that takes `rngs` can make an untrained one."""
    build = made_by.function()
    if "rngs" not in inspect.signature(build).parameters:
        return None
    return network(build(rngs=nnx.Rngs(seed)), None, features, shape, made_by.code)
