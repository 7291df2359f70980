"""New targets for networks that are already trained.

    python -m bottleneck.main --config=configs/transfer.py --workdir=runs/mixture

Adds targets outside the mixture to the study of configs/mixture.py in its work directory: nothing of it is trained
again, only each target's own direct reference (five runs each), with the ladder, seeds and relatedness of the new
targets in about two minutes. What to expect, from 5 seeds (bits of 1, direct and mixture):

    held_out   1.00  0.73   colour and texture agree with the label at 0.5 and 1.0: the competitor randomised
    pairing    0.80  0.25   shape and background, each at 0.95: a combination no component pairs
    texture    0.99  0.75   texture alone
"""

import pathlib

import ml_collections

from bottleneck import config as configs


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    config = configs.get(pathlib.Path(__file__).with_name("mixture.py"), arg)

    def target(seed, **reliability):
        return dict(source=dict(name="factors", values=2, reliability=reliability, seed=seed))

    config.name = "transfer"
    config.probe.protocols = ("head", "linear_probe")
    config.analysis.kinds = ("ladder", "seeds", "relatedness")
    config.arms = ("mixture", "direct")
    config.mixture.competitor = None
    config.targets = dict(
        held_out=target(10, colour=0.5, texture=1.0),
        pairing=target(11, shape=0.95, background=0.95),
        texture=target(12, texture=1.0),
    )
    return config
