"""What the modules of a PyTorch network give, by hooks: which layers there are, and reading them batch by batch.

What leaves a module is pooled and copied there, so that no map outlives its batch and no activation in place writes
over it. "features" is what the network returns by that name; else what goes into the last linear layer where that makes
its output; else the output.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import nn

from bottleneck.errors import UserError, reason
from bottleneck.features.layers import LAST, LOGITS, spatial, tap_and_mode
from bottleneck.features.networks.network import named, some, spread

SWIN = "torchvision.models.swin_transformer"  # whose maps have their channels last and do not say so


class Trace:
    """What a pass of two inputs shows: which modules ran, in order, and which of them makes the output.

    taps: the layers from input to output, each a module that runs once, and "features"; default: a few of them; said:
    what the features are, in words. `channels_last`: whether all maps have their channels last; else that is so where a
    module, or one that holds it, says so (timm's `output_fmt`). Raises UserError where the same input gives other
    numbers a second time.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...], device: str, features: str, channels_last=False):
        x = tensor(np.random.default_rng(0).normal(size=(2, *shape)), device)
        names = {child: name for name, child in module.named_modules() if name}
        self.modules, ran = {name: child for child, name in names.items()}, []
        hooks = [child.register_forward_hook(lambda m, i, o: ran.append((m, o))) for child in names]
        try:
            output = run(module, x)
        finally:
            for hook in hooks:
                hook.remove()
        order = [names[child] for child, _ in ran]
        made = {names[child]: out for child, out in ran if order.count(names[child]) == 1}
        self.layers = tuple(name for name, out in made.items() if _is_tap(out) and not {"/", ":"} & set(name))
        if features and features not in self.layers:
            raise UserError("features", features, f"a module that runs once: {some(self.layers)}")
        self.features, self.head = features, "" if features else self._head(output, made)
        self.last = {name: channels_last or self._says(module, name) for name in ("", *self.layers)}
        self.said = f"the output of {features}" if features else self._said(output, made)
        maps = tuple(name for name in self.layers if made[name].ndim > 2)  # or tokens; where there are any
        self.taps, self.default = (*self.layers, LAST), (*spread(_blocks(module, maps or self.layers)), LAST)
        again = returned(run(module, x))
        if not torch.equal(again, returned(output)):
            raise UserError(
                "uses", type(module).__name__, "the same numbers for the same images (this draws at random)"
            )

    def _head(self, output, made: dict) -> str:
        """The linear layer that makes the output, of a network that does not say what its features are."""
        taps = named(output)
        final = taps.get(LOGITS, taps.get(LAST)) if set(taps) in ({LAST}, {LOGITS}) else None
        linear = (n for n, out in made.items() if out is final and isinstance(self.modules[n], nn.Linear))
        return next(linear, "")

    def _said(self, output, made: dict) -> str:
        if self.head:
            return f"the input of {self.head}"
        if set(named(output)) - {LOGITS} and isinstance(output, dict | tuple):
            return "what it returns beside its logits" if isinstance(output, tuple) else "what it returns by that name"
        linear = [n for n in made if isinstance(self.modules[n], nn.Linear)]
        if linear and self.modules[linear[-1]].out_features == returned(output).shape[-1]:
            return f"its output, as wide as that of {linear[-1]}: if that is a score a class, name the layer before it"
        return "its output"

    def _says(self, module: nn.Module, name: str) -> bool:
        """Whether the nearest module that says how maps lie has their channels last."""
        parts = name.split(".") if name else []
        for depth in range(len(parts), -1, -1):
            holder = self.modules[".".join(parts[:depth])] if depth else module
            if type(holder).__module__ == SWIN:
                return True
            if (layout := getattr(holder, "output_fmt", None)) is not None:
                return str(layout).endswith("NHWC")
        return False

    def read(self, module: nn.Module, device: str, x: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """layer -> [B, ...] of one batch x [B, h, w, 3], in the layer's spatial mode, float32."""
        held: dict[str, torch.Tensor] = {}

        def keep(layer, place, out):
            mode = tap_and_mode(layer)[1]
            maps = out.permute(0, 2, 3, 1) if out.ndim == 4 and not self.last.get(place, False) else out
            held[layer] = spatial(maps, mode).float().clone()

        with contextlib.ExitStack() as undo:
            for layer in layers:
                tap = tap_and_mode(layer)[0]
                tap = self.features if tap == LAST else tap
                if tap:
                    at = dict(layer=layer, tap=tap)
                    hook = self.modules[tap].register_forward_hook(lambda m, i, o, at=at: keep(*at.values(), o))
                elif self.head:
                    hook = self.modules[self.head].register_forward_pre_hook(
                        lambda m, i, layer=layer: keep(layer, "", i[0])
                    )
                else:
                    continue
                undo.callback(hook.remove)
            output = run(module, tensor(x, device))
        for layer in layers:
            if layer not in held:
                keep(layer, "", returned(output))
        return {layer: values.cpu().numpy() for layer, values in held.items()}


def run(module: nn.Module, x: torch.Tensor):
    """What the module returns of a batch, without gradients, at full precision. Raises UserError where it fails."""
    precise = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.inference_mode(), torch.autocast(x.device.type, enabled=False), precise:
        try:
            return module(x)
        except Exception as error:  # of the user's module
            expected = f"a network of inputs {list(x.shape)} ({reason(error)})"
            raise UserError("uses", type(module).__name__, expected) from error


def returned(output) -> torch.Tensor:
    """The one tensor that stands for what a network returns: its features, else its logits. Raises UserError."""
    taps = named(output)
    made = taps.get(LAST, taps.get(LOGITS))
    if not isinstance(made, torch.Tensor) or made.ndim < 2:
        kind = type(output).__name__
        raise UserError(
            "uses", kind, "a network that returns a tensor, (logits, features), or a dictionary with either"
        )
    return made


def tensor(x: np.ndarray, device: str) -> torch.Tensor:
    """Images [B, h, w, 3] as [B, 3, h, w]; vectors as they are."""
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device)


def _is_tap(out) -> bool:
    return isinstance(out, torch.Tensor) and out.ndim >= 2 and out.is_floating_point()


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
