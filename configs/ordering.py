"""Does the order of the data decide which features are learned, and is it order or initialisation?

    python -m bottleneck.main --config=configs/ordering.py

Two components of one label space, `easy` (the texture) and `hard` (the shape), 2,000 training images each. The learning
rate is constant, and in every order both components are drawn exactly as often (stratified sampling): T/2 steps' worth
each. Points lie on three axes, each against its first name.

    order    interleaved        both throughout, half and half
             easy then hard     easy alone for T/2 steps, then hard alone; and the reverse, hard then easy
             blocked            easy and hard alone in turn, four times T/8 steps each
             curriculum         the weight of easy 7/8, 5/8, 3/8, 1/8, for T/4 steps each; reversed: anticurriculum
             hard alone         the fresh baseline: hard for its share of the steps, T/2, from scratch
    before   what comes before the T/2 steps of hard alone; nothing is the fresh baseline
             half of it         one half of its training images for T/2 steps: a warm start (Ash and Adams 2020)
             all of it          the same images for T/2 steps more: longer training
             easy               the other component for T/2 steps
             blurred T/8, ...   a blurred copy of it for T/8, T/4, T/2 steps: an early deficit (Achille et al. 2019)
    varied   both, or the initialisation alone, or the order of batches alone, 10 seeds each, interleaved: the ratio of
             the two variances between seeds says which decides

A point's gap is against direct training of as many steps in all as the point has. 6 min 40 s on one core beside
another job. To expect, from 5 seeds, in bits of 1 (direct: easy 0.98, hard 0.87):

    order             easy   hard          before hard alone   hard (against nothing)
    interleaved       0.71   0.63          nothing             0.86
    easy then hard    0.21   0.85          half of it          0.88  (+0.013, -0.007 to 0.034)
    hard then easy    0.98   0.27          all of it           0.87  (+0.006, 0.001 to 0.011)
    blocked           0.39   0.84          easy                0.85  (-0.018, -0.030 to -0.006)
    curriculum        0.68   0.68          blurred T/8         0.88  (+0.012, -0.001 to 0.025)
    anticurriculum    0.75   0.62          blurred T/4         0.90  (+0.038, 0.016 to 0.059)
    hard alone        0.00   0.86          blurred T/2         0.93  (+0.062, 0.043 to 0.082)

So what comes last is kept and what came first is lost, and the other component, first, costs hard 0.02; an early blur
does no harm here, it helps. Initialisation against order: ratio of variances 3.1 (0.8 to 12) for easy, 1.5 (0.4 to 6)
for hard: neither is shown to decide more.

Arguments: `smoke` (2 seeds, T = 64, 400 images), `seeds=5`, `steps=1536` (T, a multiple of 16), `images=2000` (training
images of a component), `model=mlp`, `width=1.0`, `data=PATH` (an .npz or a folder of images: easy is tinted copies of
it, hard the images as they are), `offset=0`; and `full` (resnet20, 10 seeds, 20 where one thing is varied, T = 16,000,
20,000 images: for accelerators). What is given wins over what a form has.
"""

import itertools
import pathlib

import ml_collections

from bottleneck import config as configs
from bottleneck.config import parse_arg
from bottleneck.errors import UserError

FORMS = dict(
    smoke=dict(seeds=2, steps=64, images=400), full=dict(seeds=10, steps=16_000, images=20_000, model="resnet20")
)
PARTS = 16  # of T, in which phases are counted


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    default = dict(smoke=False, full=False, seeds=5, steps=1536, images=2000, model="mlp", width=1.0, data="", offset=0)
    arg = parse_arg(arg, FORMS, **default)
    steps, images = arg.steps, arg.images
    if steps % PARTS:
        raise UserError("config argument steps", steps, f"a multiple of {PARTS}")
    base = f"model={arg.model},width={arg.width},data={arg.data},offset={arg.offset}" + ",smoke" * arg.smoke
    config = configs.get(pathlib.Path(__file__).with_name("mixture.py"), base)

    config.name = "ordering"
    config.seeds = arg.seeds
    config.data.train = images
    own = components(config.components, arg.data, images)
    config.components = {name: own[name] for name in ("easy", "hard")}
    config.mixture = dict(weights=dict(easy=0.5, hard=0.5), label_space="shared", schedule={}, competitor=None)
    config.optimizer = dict(
        name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="constant", warmup=0.0, clip=1.0
    )
    config.train.update(steps=steps, sampling="stratified")
    config.arms = ("mixture", "direct")
    config.probe.protocols = ("linear_probe",)
    config.probe.arms = ("mixture", "direct")
    config.analysis.kinds = ()
    many = config.seeds + 1 if arg.smoke else 2 * config.seeds
    config.sweep = dict(points=points(own, steps // PARTS, many))
    return config


def points(own: dict, part: int, many: int) -> tuple[dict, ...]:
    """All points. `own`: name -> component; `part`: steps in a sixteenth of T; `many` seeds where one thing varies."""

    def point(phases, order="interleaved", before="nothing", varied="both", **changes):
        return dict(point=dict(order=order, before=before, varied=varied), **phased(phases, own, part), **changes)

    easy, hard, both = dict(easy=1), dict(hard=1), dict(easy=1, hard=1)
    rising = [(4, dict(easy=easy, hard=8 - easy)) for easy in (7, 5, 3, 1)]
    orders = {
        "interleaved": [(16, both)],
        "easy then hard": [(8, easy), (8, hard)],
        "hard then easy": [(8, hard), (8, easy)],
        "blocked": [(2, easy), (2, hard)] * 4,
        "curriculum": rising,
        "anticurriculum": rising[::-1],
        "hard alone": [(8, hard)],
    }
    blurred = {f"blurred T/{16 // length}": [(length, dict(blurred=1))] for length in (2, 4, 8)}
    earlier = {"half of it": [(8, dict(half=1))], "all of it": [(8, hard)], "easy": [(8, easy)], **blurred}
    return (
        *(point(phases, order) for order, phases in orders.items()),
        *(point([*phases, (8, hard)], "hard alone", before) for before, phases in earlier.items()),
        *(point([(16, both)], varied=v, vary=v, seeds=many, arms=("mixture",)) for v in ("init", "order")),
    )


def phased(phases: list[tuple[int, dict]], own: dict, part: int) -> dict:
    """The changes that make a run of `phases`, (sixteenths of T, weights): its steps, schedule, further components."""
    alike = [list(group) for _, group in itertools.groupby(phases, key=lambda phase: phase[1])]
    phases = [(sum(length for length, _ in group), group[0][1]) for group in alike]
    further = sorted({name for _, weights in phases for name in weights} - {"easy", "hard"})
    starts = [part * sum(length for length, _ in phases[:i]) for i in range(len(phases) + 1)]
    weights = [{n: w.get(n, 0) / sum(w.values()) for n in ("easy", "hard", *further)} for _, w in phases]
    later = enumerate(zip(starts[1:], weights[1:]), 1)
    schedule = {f"phase{i}": dict(start=start, weights=held) for i, (start, held) in later}
    changes = dict(mixture=dict(weights=weights[0], schedule=schedule), train=dict(steps=starts[-1]))
    return {**changes, "components": {name: own[name] for name in further}}


def components(given: ml_collections.ConfigDict, path: str, images: int) -> dict:
    """The components by name, in plain dictionaries."""
    if path:
        source = given.plain.source.to_dict()
        easy, hard = dict(source=source, transforms=dict(tint=dict(reliability=0.9))), dict(source=source)
    else:
        easy, hard = (
            dict(source=dict(name="factors", values=2, reliability={factor: 1.0}, seed=seed))
            for seed, factor in enumerate(("texture", "shape"))
        )
    half = {**hard, "sizes": dict(train=images // 2)}
    return dict(easy=easy, hard=hard, half=half, blurred={**hard, "transforms": dict(blur=dict(radius=2.0))})
