"""Can one network keep what a mixture makes it lose, at its own price and without being told the component?

    python -m bottleneck.main --config=configs/keep.py             # the planted mixtures
    python -m bottleneck.main --config=configs/keep.py:data=DIR    # and two real ones

Training keeps a feature only if it lowers the loss beyond those it has. `aligned` asks the features of every batch for
the geometry of its inputs (30 times 1 - CKA), `spread` for variance in every direction (0.3 times VICReg's terms).
Neither has a parameter, or costs anything at inference; in training a step of `aligned` takes 1.38 times the operations
of a plain one (3.73 times in `narrow`, whose network is small beside the batch's Gram matrix), one of `spread` 1.13
times. So `frugal` is `aligned` for as many operations as the mixture takes, fewer steps, and `paid` the mixture for as
many as `aligned`. Against them stand what is known to help and what must be told the component: `heads` (a classifier
per component) and `balanced` (equal weights), at the same steps. Four mixtures:

    conflict   that of configs/mixture.py: an opposed pair, a shadowed and a rare component
    private    three components share an easy feature and have one of their own, four classes
    faint      three components of weight .02 beside an easy one
    narrow     conflict in a network of 16 units

and, of DIR with cifar10.npz and mnist.npz, `tinted` (CIFAR-10 plain, tinted, rotated, blurred) and `paired` (CIFAR-10
beside MNIST, which announces the label at .95). The strengths were chosen on `conflict` and `private` at offset 0 (2
seeds); what is reported is of offset 500.

What to expect, bits beyond the mixture on average over a mixture's targets, 5 seeds (all six: 31 minutes on one core):

                interference   aligned   frugal   paid   spread   heads
    conflict            0.43      0.44     0.41   0.02     0.37    0.39
    faint               0.25      0.29     0.27   0.02     0.25    0.23
    narrow              0.51      0.30     0.00  -0.01     0.06    0.39
    private             0.31      0.08     0.07   0.02     0.10    0.17
    tinted             -0.02     -0.08    -0.10   0.03    -0.02    0.03
    paired              0.06     -0.07    -0.09   0.03     0.00   -0.01

Told nothing, `aligned` keeps what opposed and faint components need, also at one network's operations and a little
beyond a head for each; it fails where the network is narrow or many features compete, and costs real mixtures bits.

Arguments: `smoke`, `seeds=5`, `offset=500`, `data=DIR`.
"""

import pathlib

import ml_collections

from bottleneck import config as configs
from bottleneck.config import parse_arg

ALIGNED = dict(alignment=30.0)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, smoke=False, seeds=5, offset=500, data="")
    given = f"seeds={arg.seeds},offset={arg.offset}" + ",smoke" * arg.smoke
    config = configs.get(pathlib.Path(__file__).with_name("mixture.py"), given)
    conflict = config.components.to_dict(), config.mixture.weights.to_dict()
    config.name = "keep"
    config.mixture.competitor = None
    config.arms = ("mixture", "direct", "alone", "balanced", "heads")
    config.arms_for = "all"
    config.analysis.kinds = ()
    config.probe.protocols = ("linear_probe",)
    config.recipes = dict(
        aligned=dict(objective=ALIGNED),
        frugal=dict(objective=ALIGNED, steps=1 / 1.38),
        paid=dict(steps=1.38),
        spread=dict(objective=dict(spread=0.3)),
    )
    config.representations = {
        name: dict(members=f"{name}/*@last:features", against=("mixture", "heads", "balanced"))
        for name in config.recipes
    }
    del config.components, config.mixture["weights"]
    level = dict(against=("mixture", "heads"))  # where weights are equal already
    mixtures = dict(
        conflict=point(*conflict),
        private=point(*private(), representations=dict.fromkeys(config.recipes, level)),
        faint=point(*faint()),
        narrow=point(*conflict, model=dict(width=16), recipes=dict(frugal=dict(steps=1 / 3.74), paid=dict(steps=3.74))),
    )
    if arg.data:
        images = dict(data=dict(train=2000 if arg.smoke else 20_000))
        mixtures |= {name: point(*made, **images) for name, made in real(pathlib.Path(arg.data)).items()}
    config.sweep = dict(points=tuple(dict(point=name, **changes) for name, changes in mixtures.items()))
    return config


def point(components: dict, weights: dict, **changes) -> dict:
    return dict(components=components, mixture=dict(weights=weights), **changes)


def factors(seed: int, values: int = 2, **reliability) -> dict:
    return dict(source=dict(name="factors", values=values, reliability=reliability, seed=seed))


def private() -> tuple[dict, dict]:
    own = ("texture", "shape", "background")
    components = {name: factors(seed, 4, colour=0.9, **{name: 1.0}) for seed, name in enumerate(own)}
    return components, dict.fromkeys(own, 1 / 3)


def faint() -> tuple[dict, dict]:
    own = ("shape", "texture", "background")
    components = {name: factors(seed, **{name: 1.0}) for seed, name in enumerate(own, 1)}
    return {"easy": factors(0, colour=1.0), **components}, {"easy": 0.94, **dict.fromkeys(own, 0.02)}


def real(folder: pathlib.Path) -> dict[str, tuple[dict, dict]]:
    """CIFAR-10 in four guises, and beside digits."""
    objects, digits = (dict(name="arrays", path=str(folder / f"{name}.npz")) for name in ("cifar10", "mnist"))

    def seen(**transforms):
        return dict(source=objects, transforms=transforms)

    def beside(**domino):
        return seen(dominoes=dict(source=digits, **domino))

    tinted = dict(
        plain=seen(),
        tinted=seen(tint=dict(reliability=0.9)),
        rotated=seen(rotate=dict(degrees=90)),
        blurred=seen(blur=dict(radius=2.0)),
    )
    paired = dict(both=beside(announces="both", reliability=0.95), objects=beside(announces="left"))
    return dict(
        tinted=(tinted, dict(plain=0.4, tinted=0.4, rotated=0.15, blurred=0.05)),
        paired=(paired, dict(both=0.9, objects=0.1)),
    )
