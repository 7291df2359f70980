"""PyTorch networks, timm's among them: weights alone, layers by the names of modules, features before the classifier.

What leaves a module is read by a hook and pooled there, so that no map outlives its batch. "features" is what goes into
the last linear layer where that makes the network's output, and otherwise the output itself.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import nn

from bottleneck.errors import UserError
from bottleneck.features.layers import LAST, LOGITS, POOLED, spatial, tap_and_mode
from bottleneck.features.networks.network import Network, digest, missing, named, some, spread, unfit
from bottleneck.features.networks.uses import Uses

MOMENTUM = None  # of BatchNorm while it is measured: the plain mean over batches


def load(made_by: Uses, features: str, shape: tuple[int, ...]) -> Network:
    """The network that `made_by` names, on its device. Raises UserError."""
    build = _timm(made_by.target) if made_by.kind == "timm" else functools.partial(_built, made_by)
    module = build()
    if made_by.weights:
        module = loaded(module, pathlib.Path(made_by.weights).expanduser())
    elif made_by.kind == "timm":
        raise UserError("uses", f"timm:{made_by.target}", f"timm:{made_by.target}:WEIGHTS, a pretrained file")
    blank = functools.partial(_blank, build, bool(made_by.weights), features, shape)
    return network(module, features, shape, blank)


def _built(made_by: Uses) -> nn.Module:
    module = made_by.function()()
    if not isinstance(module, nn.Module):
        raise UserError(
            "uses", made_by.target, f"a function that returns a torch.nn.Module, not {type(module).__name__}"
        )
    return module


def _timm(name: str) -> Callable[[], nn.Module]:
    return functools.partial(_timm_library().create_model, _timm_name(name), pretrained=False)


def _timm_library():
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        raise missing("timm", error) from None
    return timm


def _timm_name(name: str) -> str:
    timm = _timm_library()
    if not timm.is_model(name):
        near = some(tuple(timm.list_models(f"*{name}*")[:8])) or "see timm.list_models()"
        raise UserError("uses", f"timm:{name}", f"a model of timm: {near}")
    return name


def timm_input(name: str) -> dict:
    """What timm says of a model's images, by the fields of InputSpec."""
    said = _timm_library().create_model(_timm_name(name), pretrained=False).pretrained_cfg
    filters = {"bicubic": "bicubic", "bilinear": "bilinear", "lanczos": "lanczos", "nearest": "nearest"}
    return {
        "size": int(said["input_size"][1]),
        "crop": float(said.get("crop_pct") or 1.0),
        "interpolation": filters.get(said.get("interpolation"), "bicubic"),
        "mean": tuple(map(float, said["mean"])),
        "std": tuple(map(float, said["std"])),
    }


def weights(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """The state dict in a file, as weights alone. Raises UserError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise UserError("weights", str(path), "safetensors to be installed (pip install safetensors)") from None
    except Exception as error:  # each format has errors of its own
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        raise UserError("weights", str(path), f"a file of weights alone, never of other objects ({reason})") from None
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
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # older files have none
    absent, odd = sorted(own.keys() - given.keys() - counters), sorted(given.keys() - own.keys())
    wrong = [n for n, value in own.items() if n in given and given[n].shape != value.shape]
    if absent or odd or wrong:
        said = [f"{len(absent)} missing (such as {absent[0]})"] if absent else []
        said += [f"{len(odd)} unknown (such as {odd[0]})"] if odd else []
        said += [f"{wrong[0]} of shape {list(given[wrong[0]].shape)}, not {list(own[wrong[0]].shape)}"] if wrong else []
        raise UserError("weights", str(path), f"those of this {type(module).__name__}: {', '.join(said)}")
    module.load_state_dict({**own, **given})
    return module


def network(module: nn.Module, features: str, shape: tuple[int, ...], blank: Callable | None = None) -> Network:
    """A module as a Network, on the GPU where there is one; `shape`: of one input, (h, w, 3) or (d,)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = module.float().eval().to(device)
    traced = Trace(module, _input(np.zeros((1, *shape), np.float32), device), features)
    state = module.state_dict()
    content = digest((name, str(t.dtype), tuple(t.shape), _bytes(t)) for name, t in state.items())
    return Network(
        traced.taps,
        traced.default,
        functools.partial(_read, module, traced, device),
        content,
        hashlib.sha256(repr(module).encode()).hexdigest(),
        f"{type(module).__name__}, {sum(p.numel() for p in module.parameters()):,} parameters; features are "
        f"{traced.said}; weights {content[:12]}",
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
        taps = named(_run(module, _input(x, device)))
        if layer not in taps:
            raise UserError("layer", layer, f"one of what the network returns: {', '.join(map(str, taps))}")
        return spatial(_channels_last(taps[layer], False), POOLED).cpu().numpy()

    return read


class Trace:
    """What a pass of one input shows: which modules ran, in order, and which of them makes the output.

    `places`: layer -> (module, whether its input is meant). Modules that run more than once are no layers.
    """

    def __init__(self, module: nn.Module, x: torch.Tensor, features: str):
        self.last_channels = getattr(module, "output_fmt", "NCHW") == "NHWC"  # as timm says of Swin and its like
        names, ran = {child: name for name, child in module.named_modules() if name}, []
        hooks = [child.register_forward_hook(lambda m, i, o: ran.append((m, o))) for child in names]
        try:
            output = _tensor(_run(module, x))
        finally:
            for hook in hooks:
                hook.remove()
        order = [names[child] for child, _ in ran]
        made = {names[child]: out for child, out in ran if order.count(names[child]) == 1}
        self.modules = {name: child for child, name in names.items()}
        self.layers = tuple(name for name, out in made.items() if _is_tap(out))
        self.head = next((n for n, out in made.items() if out is output and _is_linear(self.modules[n])), "")
        self.features = self._features(features)
        self.said = f"the input of {self.head}" if self.features is None and self.head else "its output"
        self.said = f"the output of {features}" if self.features else self.said
        chosen = spread(_blocks(module, self.layers))
        self.taps = (*self.layers, LAST)
        self.default = (*chosen, LAST)

    def _features(self, name: str) -> str | None:
        if name and name not in self.layers:
            raise UserError("features", name, f"a module that runs once: {some(self.layers)}")
        return name or None


def _run(module: nn.Module, x: torch.Tensor):
    precise = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.inference_mode(), torch.autocast(x.device.type, enabled=False), precise:
        try:
            return module(x)
        except Exception as error:  # of the user's module
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise UserError("uses", type(module).__name__, f"a network of inputs {list(x.shape)} ({reason})") from error


def _tensor(output):
    """The one tensor of what a network returns: (logits, features) and dictionaries have theirs by name."""
    if isinstance(output, dict | tuple):
        taps = named(output)
        output = taps.get(LAST, taps.get(LOGITS))
    return output


def _is_tap(out) -> bool:
    return isinstance(out, torch.Tensor) and out.ndim >= 2 and out.is_floating_point()


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def _blocks(module: nn.Module, layers: tuple[str, ...]) -> list[str]:
    """The names of a network's larger parts in the order in which they run: its children that have children, and of
    those that are mere sequences of such, these."""
    found = []

    def visit(parent: nn.Module, prefix: str):
        for name, child in parent.named_children():
            inner = [each for each in child.children() if list(each.children())]
            if isinstance(child, nn.Sequential | nn.ModuleList) and inner:
                visit(child, f"{prefix}{name}.")
            elif list(child.children()):
                found.append(f"{prefix}{name}")

    visit(module, "")
    return [name for name in layers if name in found]


def _read(module: nn.Module, trace: Trace, device: str, x: np.ndarray, layers: tuple[str, ...]) -> dict:
    """Layers of one batch, pooled as they come."""
    held: dict[str, torch.Tensor] = {}

    def keep(layer, out):
        mode = tap_and_mode(layer)[1]
        read = spatial(_channels_last(_tensor(out), trace.last_channels), mode)
        held[layer] = read.float().clone()  # what comes after may write over what this one made

    with contextlib.ExitStack() as undo:
        for layer in layers:
            tap = tap_and_mode(layer)[0]
            tap = trace.features if tap == LAST else tap
            if tap:
                hook = trace.modules[tap].register_forward_hook(lambda m, i, o, layer=layer: keep(layer, o))
            elif trace.head:
                hook = trace.modules[trace.head].register_forward_pre_hook(lambda m, i, layer=layer: keep(layer, i[0]))
            else:
                continue
            undo.callback(hook.remove)
        output = _run(module, _input(x, device))
    for layer in layers:
        if layer not in held:
            keep(layer, output)
    return {layer: values.cpu().numpy() for layer, values in held.items()}


def _channels_last(x: torch.Tensor, already: bool) -> torch.Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 and not already else x


def _input(x: np.ndarray, device: str) -> torch.Tensor:
    """[B, h, w, 3] as [B, 3, h, w]; vectors as they are."""
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


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
        _run(module, _input(x, device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


def _blank(build: Callable, fresh: bool, features: str, shape: tuple[int, ...], seed: int) -> Network | None:
    """The architecture before any training: as it is built where weights come from a file, else drawn again module by
    module; None where a module does not say how."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build()
        if not fresh and not _redrawn(module):
            return None
    return network(module, features, shape)


def _redrawn(module: nn.Module) -> bool:
    """Draws all parameters again, by the modules' own rule; whether every one of them has one."""
    for each in module.modules():
        if hasattr(each, "reset_parameters"):
            each.reset_parameters()
        elif list(each.parameters(recurse=False)):
            return False
    return True
