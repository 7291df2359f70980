"""Studies in which one cause alone exists, as configs: `tests/cases/single.py:dilution`. TARGET[cause] is the component
that is lost. Linear networks where the answer is known in closed form, small procedural images where it is not."""

import ml_collections

ARMS = ("mixture", "direct", "alone", "balanced", "scarce", "longer", "longest", "direct_half", "heads", "wider")
TARGET = {
    "label_conflict": "minus",
    "competition": "shadowed",
    "dilution": "c3",
    "scarcity": "c0",
    "unfinished_training": "c1",
    "capacity": "c3",
}


def modes(weights, width, steps, dim, noise=0.1, scales=None, batch=64, **optimizer):
    """A linear network; component j asks for one direction of a Gaussian in output j."""
    space = dict(name="gaussian", dim=dim, outputs=len(weights), noise=noise)
    scales = scales or (1.0,) * len(weights)
    return dict(
        components={f"c{j}": dict(source=dict(space, index=j, scale=scale)) for j, scale in enumerate(scales)},
        mixture=dict(weights={f"c{j}": weight for j, weight in enumerate(weights)}),
        data=dict(train=20000, probe=1500, val=400, test=800),
        model=dict(name="mlp", width=width, depth=1, activation="none", use_bias=False),
        objective=dict(name="regression"),
        optimizer=dict(dict(name="sgd", lr=0.05, weight_decay=0.0, schedule="cosine"), **optimizer),
        train=dict(steps=steps, batch=batch),
    )


def capacity():
    """Width 3 keeps the three largest weights (Baldi & Hornik 1989)."""
    return modes((0.35, 0.28, 0.22, 0.15), width=3, steps=1000, dim=48, name="adamw", lr=0.01)


def dilution():
    """Weight decay of 0.1 takes a mode away whose weight times scale is below it: SGD adds it to every gradient, while
    the component's share is in proportion to its weight. No number of steps changes that."""
    return modes((0.4, 0.3, 0.28, 0.02), width=8, steps=1000, dim=48, weight_decay=0.1)


def unfinished_training():
    """The weaker mode grows later, from small numbers."""
    return modes((0.5, 0.5), scales=(1.0, 0.35), width=6, steps=60, dim=48)


def scarcity():
    """Eight components of equal weight: each is an eighth of the examples that direct training sees, too few for the
    noise. `longest` is not asked: eight times as long sees as many."""
    noisy = dict(dim=150, noise=1.5, batch=16, name="adamw", lr=0.01)
    return dict(modes((0.125,) * 8, width=10, steps=100, **noisy), without=("longest",))


def images(components, weights, values, width, steps):
    """Procedural images of 10 pixels, an MLP; component -> (seed, reliability)."""
    return dict(
        components={
            name: dict(source=dict(name="factors", values=values, relief=0.3, seed=seed, reliability=reliability))
            for name, (seed, reliability) in components.items()
        },
        mixture=dict(weights=weights),
        data=dict(image_size=10, train=4000, probe=1000, val=400, test=800),
        model=dict(name="mlp", width=width, depth=2),
        optimizer=dict(name="sgd", lr=0.05, weight_decay=5e-4, schedule="cosine", warmup=0.05, clip=1.0),
        train=dict(steps=steps, batch=64),
    )


def label_conflict():
    """The same feature means the opposite class."""
    opposed = dict(plus=(1, dict(background=1.0)), minus=(2, dict(background=0.0)))
    return images(opposed, dict(plus=0.5, minus=0.5), values=2, width=32, steps=300)


def competition():
    """The label's texture is hardly learned beside a background that nearly always says the same."""
    both = dict(easy=(1, dict(background=1.0)), shadowed=(2, dict(background=0.92, texture=1.0)))
    config = images(both, dict(easy=0.6, shadowed=0.4), values=4, width=48, steps=1000)
    config["mixture"]["competitor"] = "background"
    return config


def get_config(arg: str = "capacity") -> ml_collections.ConfigDict:
    study = globals()[arg]()
    without = study.pop("without", ())
    config = ml_collections.ConfigDict(study)
    config.name, config.seeds = arg, 4
    competes = ("randomised",) if "competitor" in config.mixture else ()
    config.arms = (*(arm for arm in ARMS if arm not in without), *competes)
    config.arms_for = (TARGET[arg],)
    config.probe = dict(protocols=("linear_probe",))
    return config
