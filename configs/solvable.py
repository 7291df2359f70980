"""The solvable bottleneck network: a study whose answer is known in closed form.

    python -m bottleneck.main --config=configs/solvable.py

x ~ N(0, I_d); component j, of weight lambda_j, asks for `scale_j <u_j, x>` in output j, with orthonormal u_j. A linear
network with one hidden layer of `width` k keeps exactly the k largest lambda_j scale_j (Baldi & Hornik 1989), and
training directly on any one component keeps that component. So the first k components are retained and the others are
lost, by capacity. About 20 seconds on 2 CPU cores; to expect: R2 of 0.99 for the first three and 0.00 for the others,
0.99 for all from direct training, and nearly that at four times the width.
"""

import ml_collections

from bottleneck.config import parse_arg

WEIGHTS = (0.30, 0.24, 0.18, 0.13, 0.09, 0.06)
DIM = 60  # of the input: of 20, the 12 units of the arm `wider` would read 60 % untrained, and not tell capacity


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, smoke=False, seeds=5, width=3, offset=0)
    config = ml_collections.ConfigDict()
    config.name = "solvable"
    config.seeds = 2 if arg.smoke else arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(train=4000, probe=1000, val=500, test=1000)
    config.components = {
        f"mode{j}": dict(source=dict(name="gaussian", index=j, dim=DIM, outputs=len(WEIGHTS), scale=1.0, noise=0.1))
        for j in range(len(WEIGHTS))
    }
    config.mixture = dict(weights={f"mode{j}": w for j, w in enumerate(WEIGHTS)}, label_space="shared")
    config.model = dict(name="mlp", width=arg.width, depth=1, activation="none", use_bias=False)
    config.objective = dict(name="regression")
    config.optimizer = dict(name="adamw", lr=0.01, weight_decay=0.0, schedule="cosine")
    config.train = dict(steps=600 if arg.smoke else 4000, batch=128)
    config.arms = ("mixture", "direct", "longer", "wider")
    config.analysis = dict(kinds=("cka",), comparisons=("direct",))
    return config
