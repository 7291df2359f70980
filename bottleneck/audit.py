"""Audits networks that are not ours: which of your components they serve, where, and what another would add.

    python -m bottleneck.audit --networks a=timm:resnet18:weights.safetensors b=torch:mymodule:build c=features/
                               --data photos/ sketches/ [--workdir DIR] [--reference NAME]
    python -m bottleneck.audit --config=configs/audit.py

A network is NAME=USES, as `timm:NAME:WEIGHTS`, `torch:MODULE:FUNCTION[:WEIGHTS]`, `flax:`, `nnx:` or `apply:` likewise,
or a directory of saved features; several separated by commas are seeds of one recipe. Data are folders of
`train/CLASS/` and `test/CLASS/`, folders of `CLASS/` (three tenths of each are then the test set), or .npz files;
NAME=PATH gives one a name. --config.networks.a.input.size=224 and the like set any key, of a file's audit or of this
one. What is done in the work directory is not done again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import bisect
import pathlib
import re
import sys
from collections.abc import Sequence

import ml_collections

from bottleneck import cli, memory, signals
from bottleneck.errors import UserError

FLAGS = {
    "--networks": dict(metavar="NAME=USES", nargs="+", help="what is audited"),
    "--data": dict(metavar="[NAME=]PATH", nargs="+", help="the components: folders of images or .npz files"),
    "--config": dict(metavar="FILE.py[:ARGUMENTS]", help="the audit, instead of --networks and --data"),
    "--reference": dict(
        metavar="NAME", help="best (default: of those audited), one of the networks, or direct: a network trained here"
    ),
    "--image_size": dict(metavar="PIXELS", help="to which images are read (default: 256, or that of .npz files)"),
    "--images": dict(
        metavar="N", help="images of a component at most: half for probes, a fifth for choices, the rest test"
    ),
    "--workdir": dict(
        metavar="DIR",
        help="where features, rows and the report go (default: runs/NAME, of flags runs/audit); the report there is of "
        "the audit that ended last: other networks or data want another",
    ),
    "--dry_run": dict(action="store_true", help="print what would be read and run; write nothing"),
    "--output": dict(metavar="DIR", help="where the report goes instead, for a work directory that is read only"),
}
LEAST = 20  # images of a component
ITEMS = 4000  # of a component, unless told
LARGE = 256  # pixels to which images in folders are read
TEST = 0.3  # of the images of a folder without a test set
SHARES = {"probe": 0.5, "val": 0.2, "test": 0.3}


def main(argv: list[str]) -> int:
    """Runs the audit that `argv` asks for; returns the exit status (see --help)."""
    return cli.carry_out(run, argv)


def run(argv: list[str]) -> int:
    """As `main`; raises UserError."""
    parser = cli.Parser("python -m bottleneck.audit", __doc__, overrides=True)
    for name, described in FLAGS.items():
        parser.add_argument(name, **described)
    args = parser.read(argv)
    if args is None:
        return cli.DONE
    if bool(args.config) == bool(args.networks or args.data) or bool(args.networks) != bool(args.data):
        raise UserError("command line", parser.given, "--networks and --data, or --config (--help lists the flags)")
    if args.config and (args.images or args.image_size):
        raise UserError(
            "command line", parser.given, "--images and --image_size with --data; a config says them itself"
        )
    workdir, output = cli.place("--workdir", args.workdir), cli.place("--output", args.output)
    with cli.jax_as_found():
        with signals.noted():
            from bottleneck import execute, kinds  # after the flags: --help needs no JAX

        overrides = [*args.overrides, *([("reference", args.reference)] if args.reference else [])]
        flags = {name: getattr(args, name) for name in ("networks", "data", "image_size", "images", "workdir")}
        flags["reference"] = dict(overrides).get("reference", "").strip("'\"")  # set as a key of the config, too
        config = kinds.load(args.config, overrides) if args.config else kinds.overridden(asked(**flags), overrides)
        return execute.study(config, workdir, dry_run=args.dry_run, output=output)


def asked(
    networks: Sequence[str],
    data: Sequence[str],
    *,
    reference: str = "best",
    image_size: str | None = None,
    images: str | None = None,
    workdir: str | None = None,
) -> ml_collections.ConfigDict:
    """The config that these flags stand for, as texts (see --help). Raises UserError."""
    named_networks, named_data = _named("--networks", networks), _named("--data", data)
    sources = {name: _source(path) for name, path in named_data.items()}
    size = _number("--image_size", image_size) or _size(sources)
    items = _number("--images", images, LEAST)
    config = ml_collections.ConfigDict()
    config.name = pathlib.Path(workdir).name if workdir else "audit"
    config.data = dict(image_size=size)
    config.reference = reference or "best"
    config.components = {
        name: dict(source=source, sizes=_sizes(name, source, size, items, reference == "direct"))
        for name, source in sources.items()
    }
    config.networks = {
        name: dict(uses=tuple(text.split(",")) if "," in text else text) for name, text in named_networks.items()
    }
    return config


def _named(flag: str, texts: Sequence[str]) -> dict[str, str]:
    """Name -> what it names. Raises UserError where two have one name."""
    named: dict[str, str] = {}
    for text in texts:
        name, rest = _pair(flag, text)
        if name in named:
            raise UserError(flag, text, f"another name for each, as NAME=...: {name!r} is there twice")
        named[name] = rest
    return named


def _pair(flag: str, text: str) -> tuple[str, str]:
    """NAME=REST; of data without a name, that of the file or folder."""
    name, equals, rest = text.partition("=")
    if equals and rest and re.fullmatch(r"[\w-]+", name):
        return name, rest
    if flag == "--networks":
        raise UserError(flag, text, "NAME=USES, such as a=timm:resnet18:weights.safetensors")
    return re.sub(r"[^\w-]", "_", pathlib.Path(text).expanduser().resolve().stem), text


def _number(flag: str, given: str | int | None, least: int = 1) -> int | None:
    if given is None:
        return None
    text = str(given)
    if not text.isdecimal() or int(text) < least:
        raise UserError(flag, text, f"a whole number of at least {least}")
    return int(text)


def _source(path: str) -> dict:
    """The source of a folder or a .npz file."""
    place = pathlib.Path(path).expanduser()
    if place.is_dir():
        return {"name": "folder", "path": path, "held_out": TEST}
    if place.suffix == ".npz" and place.is_file():
        return {"name": "arrays", "path": path}
    raise UserError("--data", path, "a folder of images or a .npz file that is there")


def _size(sources: dict[str, dict]) -> int:
    """The side of the largest images of .npz files; folders are read at LARGE."""
    from bottleneck.data import source as loaded

    sides = [LARGE] if any(source["name"] == "folder" for source in sources.values()) else []
    for source in sources.values() if not sides else ():
        notes = loaded.load_source(loaded.source_spec(source), loaded.DataSpec()).notes
        sides += [max(size) for size in notes.sizes]
    return max(sides)


def _sizes(name: str, source: dict, size: int, images: int | None, trains: bool) -> dict[str, int]:
    """How many items of each split a component has: of at most `images`, ITEMS by default; where a network `trains` on
    the rest that is at least half of its training set. Raises UserError where every class has some only of more."""
    from bottleneck.data import source as loaded

    try:
        held = loaded.load_source(loaded.source_spec(source), loaded.DataSpec(image_size=size))
    except UserError as error:
        raise error.under(f"components.{name}") from None

    def enough(items: int) -> bool:
        try:
            loaded.hold_out(held, loaded.DataSpec(image_size=size, **_parts(held.splits, items, trains)))
        except UserError:
            return False
        return True

    if images and not enough(images):
        every = 2 * sum(map(len, held.splits.values()))  # more than that changes nothing
        least = bisect.bisect_left(range(every), True, lo=min(images, every), key=enough)
        if least < every:
            expected = f"at least {least:,}: with fewer, a split of {name!r} lacks one of its classes"
            raise UserError("--images", images, expected)
    return _parts(held.splits, images or ITEMS, trains)


def _parts(held: dict, items: int, trains: bool) -> dict[str, int]:
    """The sizes of splits that `items` are shared out to, of what a source holds."""
    wanted = {split: round(share * items) for split, share in SHARES.items()}
    left = len(held["train"]) - 2 * len(set(held["train"].labels.tolist()))  # every class stays among training items
    left = min(left, len(held["train"]) // 2) if trains else left
    scale = min(1.0, left / (wanted["probe"] + wanted["val"] * ("val" not in held)))
    sizes = {split: max(2, int(scale * wanted[split])) for split in ("probe", "val")}
    return {**sizes, "test": min(wanted["test"], len(held["test"]))}


if __name__ == "__main__":
    memory.keep()
    sys.exit(main(sys.argv))
