"""Five studies whose causes are known, as configs: `tests/cases/planted.py:case3`.

Drawn at random by a generator of planted mixtures, then kept because earlier versions of this tool read them wrong.
case3, case21, case42: procedural images in which one component's own feature (a texture, a texture, a shape) competes
with a feature that all components share. case64, case75: linear networks wide enough for every mode, trained for too
few steps. `VALUES` in `cases_test.py` holds what their arms read over ten seeds that no study here uses.
"""

import ml_collections

ARMS = ("mixture", "direct", "alone", "balanced", "scarce", "longer", "longest", "direct_half", "heads")


def images(seeds_of, values, noise, relief, shading):
    """Procedural components: name -> (seed, reliability)."""
    look = dict(values=values, noise=noise, relief=relief, shading=shading)
    return {
        name: dict(source=dict(name="factors", seed=seed, reliability=reliability, **look))
        for name, (seed, reliability) in seeds_of.items()
    }


def modes(scales, dim, noise, seed):
    """One direction of a Gaussian each."""
    space = dict(name="gaussian", dim=dim, outputs=len(scales), noise=noise, seed=seed)
    return {f"c{j}": dict(source=dict(space, index=j, scale=scale)) for j, scale in enumerate(scales)}


def case3():
    return dict(
        seeds=4,
        seed_offset=300,
        components=images(
            dict(c0=(1, dict(colour=1.0)), c1=(2, dict(colour=1.0)), c2=(3, dict(colour=0.94, texture=1.0))),
            values=2,
            noise=0.087,
            relief=0.254,
            shading=0.0416,
        ),
        mixture=dict(weights=dict(c0=0.3704, c1=0.3777, c2=0.2519), competitor="colour"),
        data=dict(image_size=14, train=4000, probe=800, val=500, test=1500),
        model=dict(name="mlp", width=32, depth=2),
        optimizer=dict(name="adamw", lr=0.002, weight_decay=0.01, schedule="cosine", warmup=0.05, clip=1.0),
        train=dict(steps=800, batch=64),
    )


def case21():
    return dict(
        seeds=3,
        seed_offset=2100,
        components=images(
            dict(c0=(1, dict(background=1.0)), c1=(2, dict(background=0.956, texture=1.0))),
            values=4,
            noise=0.084,
            relief=0.28,
            shading=0.0323,
        ),
        mixture=dict(weights=dict(c0=0.6078, c1=0.3922), competitor="background"),
        data=dict(image_size=10, train=4000, probe=1200, val=500, test=1000),
        model=dict(name="mlp", width=48, depth=3),
        optimizer=dict(
            name="sgd", lr=0.05, momentum=0.9, weight_decay=0.0005, schedule="cosine", warmup=0.05, clip=1.0
        ),
        train=dict(steps=1200, batch=64),
    )


def case42():
    return dict(
        seeds=3,
        seed_offset=4200,
        components=images(
            dict(c2=(3, dict(colour=0.882, shape=1.0)), c0=(1, dict(colour=1.0)), c1=(2, dict(colour=1.0))),
            values=2,
            noise=0.063,
            relief=0.274,
            shading=0.0519,
        ),
        mixture=dict(weights=dict(c2=0.3971, c0=0.3489, c1=0.2539), competitor="colour"),
        data=dict(image_size=10, train=4000, probe=1200, val=500, test=1000),
        model=dict(name="mlp", width=48, depth=3),
        optimizer=dict(name="adamw", lr=0.001, weight_decay=0.01, schedule="cosine", warmup=0.05, clip=1.0),
        train=dict(steps=1200, batch=64),
    )


def linear(seeds, seed_offset, components, weights, width, steps):
    """A network without non-linearity or bias, by SGD."""
    return dict(
        seeds=seeds,
        seed_offset=seed_offset,
        components=components,
        mixture=dict(weights={f"c{j}": weight for j, weight in enumerate(weights)}),
        data=dict(train=4000, probe=800, val=400, test=1000),
        model=dict(name="mlp", width=width, depth=1, activation="none", use_bias=False),
        objective=dict(name="regression"),
        optimizer=dict(name="sgd", lr=0.05, momentum=0.9, weight_decay=0.0, schedule="cosine", clip=1.0),
        train=dict(steps=steps, batch=64),
    )


def case64():
    components = modes((1.0733, 0.8886, 0.6404, 0.6536, 0.9529), dim=26, noise=0.212, seed=684)
    return linear(5, 6400, components, (0.1064, 0.2073, 0.1726, 0.2958, 0.2179), width=7, steps=41)


def case75():
    components = modes((0.9667, 0.8377, 0.8831, 0.9291, 1.2131, 1.0314), dim=30, noise=0.186, seed=139)
    return linear(4, 7500, components, (0.2575, 0.1487, 0.0890, 0.2553, 0.1284, 0.1211), width=13, steps=92)


CASES = {case.__name__: case for case in (case3, case21, case42, case64, case75)}


def get_config(arg: str = "case3") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict(CASES[arg]())
    config.name = arg
    competes = ("randomised",) if "competitor" in config.mixture else ()
    config.arms = (*ARMS, *competes, "wider")
    config.probe = dict(protocols=("linear_probe",))
    return config
