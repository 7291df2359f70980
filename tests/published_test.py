"""bottleneck/published.py: what configs write is what specs read, and says what it reads."""

import jax.numpy as jnp
import numpy as np
import optax

from bottleneck import published, typed
from bottleneck.claims import ClaimSpec
from bottleneck.study import StudySpec
from bottleneck.training import optimizers
from bottleneck.training.optimizers import OptimizerSpec

SOURCE = dict(name="slabs", linear=1, slabs5=2)
WORDS = dict(linear_random="with the linear coordinate randomised")


def spec(claim: dict) -> ClaimSpec:
    return typed.build(ClaimSpec, claim)


def test_sgd_takes_the_step_of_the_originals():
    """p - lr (g + decay p), of every parameter, with momentum of the gradient."""
    rule = typed.build(OptimizerSpec, dict(published.sgd(0.1, momentum=0.9, decay=0.02), clip=None))
    transform = optimizers.build(rule, optimizers.hyper(rule, 100))
    params, grads = {"bias": jnp.array([3.0, -4.0])}, {"bias": jnp.array([-1.0, 2.0])}
    state = transform.init(params)
    expected, momentum = np.array([3.0, -4.0]), 0.0
    for _ in range(3):
        updates, state = transform.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        momentum = 0.9 * momentum + np.array([-1.0, 2.0]) + 0.02 * expected
        expected = expected - 0.1 * momentum
    np.testing.assert_allclose(params["bias"], expected, rtol=1e-6)


def test_claims_read_what_they_say():
    made = published.randomised("lms", "LMS", dict(own=100.0, linear_random=50.0), WORDS, "somebody, table 1", arm="a")
    own, without = spec(made["lms_own"]), spec(made["lms_linear_random"])
    assert own.says == "LMS, test items as they are" and own.reads.target == "own" and own.published == 100.0
    assert without.says == "LMS, test items with the linear coordinate randomised"
    assert {c.reads.arm for c in (own, without)} == {"a"} and without.source == "somebody, table 1"


def test_what_probes_find_stands_beside_an_untrained_network():
    made = published.probed("LMS", "slabs", "the slabs", "linear_random", ("nonlinear_probe",))
    plain, beyond = spec(made["slabs_nonlinear_probe"]), spec(made["slabs_nonlinear_probe_trained"])
    assert plain.reads.protocol == beyond.minus.protocol == "nonlinear_probe" and plain.minus is None
    assert (beyond.reads.arm, beyond.minus.arm) == ("mixture", "random") and beyond.says.endswith("network's")


def test_a_lone_study_randomises_its_own_component():
    study = published.lone(
        "slabs", SOURCE, dict(train=60, test=40, probe=20, val=20), 1, {}, randomise=dict(linear_random=("linear",))
    )
    built = typed.build(StudySpec, dict(study, name="lone", model=dict(name="mlp"), targets=dict(study["targets"])))
    assert list(built.components) == ["slabs"] and built.mixture.weights == {"slabs": 1.0}
    target = built.targets["linear_random"]
    assert target.source == built.components["slabs"].source and tuple(target.randomise) == ("linear",)
