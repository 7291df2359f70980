"""PyTorch networks, timm's among them: built by a function, their weights read as weights alone."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import nn

from bottleneck.errors import UserError, reason
from bottleneck.features.layers import POOLED, spatial
from bottleneck.features.networks import timm, uses
from bottleneck.features.networks.hooks import Trace, run, tensor
from bottleneck.features.networks.network import Network, digest, fitting, named, unfit
from bottleneck.features.networks.uses import Uses

MOMENTUM = None  # of BatchNorm while it is measured: the plain mean over batches
COUNTER = "num_batches_tracked"  # of BatchNorm; older files have none


def load(made_by: Uses, features: str, shape: tuple[int, ...], channels_last: bool = False) -> Network:
    """The network that `made_by` names, on its device. Raises UserError."""
    build = timm.builder(made_by.target) if made_by.kind == "timm" else functools.partial(_built, made_by)
    if made_by.kind == "timm" and not made_by.weights:
        raise UserError("uses", f"timm:{made_by.target}", f"timm:{made_by.target}:WEIGHTS, a pretrained file")
    with torch.random.fork_rng():
        torch.manual_seed(0)  # what a function draws itself is the same network at every call
        module = build()
    if made_by.weights:
        module = loaded(module, pathlib.Path(made_by.weights).expanduser())
    made = functools.partial(network, features=features, shape=shape, channels_last=channels_last)
    whole = made(module, code=made_by.code, blank=functools.partial(_blank, build, made, made_by.code))
    return whole if made_by.weights else dataclasses.replace(whole, said=f"{whole.said}, as its function makes them")


def _built(made_by: Uses) -> nn.Module:
    build = made_by.function()
    try:
        module = build()
    except Exception as error:  # the user's code may raise anything
        expected = f"a function without arguments that returns a network ({reason(error)})"
        raise UserError("uses", made_by.target, expected) from error
    if not isinstance(module, nn.Module):
        expected = f"a function that returns a torch.nn.Module, not {type(module).__name__}"
        raise UserError("uses", made_by.target, expected)
    return copy.deepcopy(module)  # it may be one that the function only hands out, and stays as it is


def weights(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """The state dict in a file, as weights alone. Raises UserError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            held = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise UserError("weights", str(path), "safetensors to be installed (pip install safetensors)") from None
    except Exception as error:  # each format has errors of its own
        expected = f"a file of weights alone, never of other objects ({reason(error)})"
        raise UserError("weights", str(path), expected) from None
    for key in ("state_dict", "model"):  # what training scripts put around it
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not held:
        raise UserError("weights", str(path), f"a state dict, not {type(held).__name__}")
    for key, value in held.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(str(key), type(value).__name__, "a tensor: the file is to be a state dict")
    return {name.removeprefix("module."): value for name, value in held.items()}


def loaded(module: nn.Module, path: pathlib.Path) -> nn.Module:
    """`module` with the weights of a file: all of them, and no others. Raises UserError with the first that differs."""
    given, own = weights(path), module.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items() if name in given or not name.endswith(COUNTER)}
    fitting({name: tuple(value.shape) for name, value in given.items()}, shapes, str(path), type(module).__name__)
    module.load_state_dict({**own, **given})
    return module


def network(
    module: nn.Module,
    features: str,
    shape: tuple[int, ...],
    channels_last: bool = False,
    code: str = "",
    blank: Callable | None = None,
) -> Network:
    """A module as a Network, on the GPU where there is one; `shape`: of one input, (h, w, 3) or (d,); `code`: a digest
    of what makes it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = module.float().eval().to(device)
    trace = Trace(module, shape, device, features, channels_last)
    content = _content(module)
    structure = f"{module!r} {code} {uses.code({type(each) for each in module.modules()})} {channels_last}"
    size = sum(parameter.numel() for parameter in module.parameters())
    return Network(
        trace.taps,
        trace.default,
        functools.partial(trace.read, module, device),
        content,
        hashlib.sha256(structure.encode()).hexdigest(),
        f"{type(module).__name__}, {size:,} parameters; features are {trace.said}; weights {content[:12]}",
        blank,
        functools.partial(_measure, module, device) if _norms(module) else None,
    )


def returned(module: nn.Module, variables, layer: str) -> Callable:
    """`f(x)` -> one of what a module returns, [B, p]; see features.foreign.extract for what it takes. The caller's
    module stays as it is, on its device."""
    module = copy.deepcopy(module).float().eval()
    if isinstance(variables, str | pathlib.Path):
        variables = weights(pathlib.Path(variables).expanduser())
    if variables is not None:
        try:
            module.load_state_dict(variables)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise unfit(module, error) from error
    device = next((str(p.device) for p in module.parameters()), "cpu")

    def read(x: np.ndarray) -> np.ndarray:
        taps = named(run(module, tensor(x, device)))
        if layer not in taps:
            raise UserError("layer", layer, f"one of what the network returns: {', '.join(map(str, taps))}")
        maps = taps[layer].permute(0, 2, 3, 1) if taps[layer].ndim == 4 else taps[layer]
        return spatial(maps, POOLED).cpu().numpy()

    return read


def _content(module: nn.Module) -> str:
    state = module.state_dict()
    return digest((name, str(t.dtype), tuple(t.shape), _bytes(t)) for name, t in state.items())


def _bytes(t: torch.Tensor) -> bytes:
    return t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _norms(module: nn.Module) -> list[nn.Module]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [each for each in module.modules() if isinstance(each, kinds) and each.track_running_stats]


def _measure(module: nn.Module, device: str, batches: Iterable[np.ndarray]) -> None:
    norms, momenta = _norms(module), []
    for norm in norms:
        momenta.append(norm.momentum)
        norm.reset_running_stats()
        norm.momentum = MOMENTUM
        norm.train()
    for x in batches:
        run(module, tensor(x, device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


def _blank(build: Callable, made: Callable, code: str, seed: int) -> Network | None:
    """The architecture before any training: as it is built, where another seed builds all of its weights otherwise,
    else drawn again module by module; None where a module does not say how."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        other = dict(build().named_parameters())
        torch.manual_seed(seed)
        module = build()
        brought = any(_brought(other[name], value) for name, value in module.named_parameters())
        if brought and not _redrawn(module):
            return None
    return made(module, code=code)


def _brought(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether weights are the same under two seeds, and no constant: somebody has put them there."""
    return one.ndim > 1 and torch.equal(one, other) and bool((one != one.flatten()[0]).any())


def _redrawn(module: nn.Module) -> bool:
    """Draws all parameters again, by the modules' own rule; whether every one of them has one."""
    for each in module.modules():
        if hasattr(each, "reset_parameters"):
            each.reset_parameters()
        elif list(each.parameters(recurse=False)):
            return False
    return True
