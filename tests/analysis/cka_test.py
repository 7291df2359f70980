import dataclasses
import itertools
import json
import warnings

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bottleneck.analysis import alignment, cka
from bottleneck.errors import UserError

few = hypothesis.settings(max_examples=30, deadline=None)


def planted(n, rng, k=8, p=32):
    """Two representations with k units of p in common: CKA k / p."""
    shared = rng.normal(size=(n, k))
    return {name: np.hstack([shared, rng.normal(size=(n, p - k))]) for name in "xy"}


@few
@hypothesis.given(st.lists(st.integers(4, 40), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 2**31 - 1))
def test_batches_of_any_size_are_sums_of_unbiased_hsic_weighted_by_examples(sizes, p, seed):
    rng = np.random.default_rng(seed)
    blocks = [{"x": rng.normal(size=(b, p)), "y": rng.normal(size=(b, 7)) + 5.0} for b in sizes]
    blocks = [{**block, "xy": np.hstack([block["x"], block["y"]])} for block in blocks]
    batches = cka.Minibatches()
    for block in blocks:
        batches.add(block)
    found = batches.similarities()

    def hsic(a, b):
        grams = [cka.u_centre((z - z.mean(0)) @ (z - z.mean(0)).T) for z in (a, b)]
        return (grams[0] * grams[1]).sum() / (len(a) * (len(a) - 3))

    terms = {(a, b): sum(len(block["x"]) * hsic(block[a], block[b]) for block in blocks) for a in "xy" for b in "xy"}
    expected = terms["x", "y"] / np.sqrt(terms["x", "x"] * terms["y", "y"])
    assert found.value("x", "y") == pytest.approx(expected, abs=1e-9)
    assert found.value("y", "x") == found.value("x", "y")
    assert found.value("x", "x") == 1.0 and (np.diag(found.matrix()) == 1.0).all()  # S15: exactly
    assert found.matrix()[0, 1] == pytest.approx(expected, abs=1e-9)
    # S14: exactly additive in every batch
    np.testing.assert_allclose(
        found.hsic[:, 2], found.hsic[:, 0] + found.hsic[:, 1], rtol=1e-8, atol=1e-9 * found.hsic.max()
    )
    if len(sizes) == 1:
        assert found.value("x", "y") == pytest.approx(cka.linear_cka(blocks[0]["x"], blocks[0]["y"]), abs=1e-8)


@few
@hypothesis.given(st.lists(st.integers(8, 60), min_size=1, max_size=4), st.integers(4, 40))
def test_every_example_is_in_one_batch_of_its_own_group(sizes, batch):
    groups = np.repeat([f"component {i}" for i in range(len(sizes))], sizes)
    order = np.random.default_rng(0).permutation(len(groups))
    x = np.arange(len(groups), dtype=float)[:, None] ** 0.5
    found = cka.minibatch({"x": x}, groups[order], batch)
    for i, size in enumerate(sizes):
        own = found.sizes[found.groups == f"component {i}"]
        assert own.sum() == size and len(own) >= 2 and own.max() - own.min() <= 1
        assert len(own) == min(max(round(size / batch), 2), size // 4) and own.min() >= 4
    again = cka.minibatch({"x": x}, groups[order], batch)
    np.testing.assert_array_equal(found.hsic, again.hsic)


def test_s15_any_batch_size_estimates_the_same():
    rng = np.random.default_rng(0)
    values = {batch: [] for batch in (8, 16, 64, 100)}
    for _ in range(60):
        pair = planted(400, rng)
        for batch, found in values.items():
            found.append(cka.minibatch(pair, batch=batch).value("x", "y"))
    for found in values.values():
        assert np.mean(found) == pytest.approx(0.25, abs=4 * np.std(found) / np.sqrt(60) + 0.003)


def test_groups_count_by_their_size_however_they_are_cut():
    # a group of 900 that shares everything, one of 100 (in batches of another size) that shares nothing, norms equal
    rng = np.random.default_rng(1)
    values = []
    for batch in (10, 47, 80):
        for _ in range(20):
            x, y = rng.normal(size=(2, 1000, 16))
            y[:900] = x[:900]
            values.append(cka.minibatch({"x": x, "y": y}, np.arange(1000) >= 900, batch).value("x", "y"))
        assert np.mean(values[-20:]) == pytest.approx(0.9, abs=0.01)


def test_s16_shared_means_are_similarity_pooled_and_none_within():
    rng = np.random.default_rng(2)
    groups = np.arange(4000) % 2
    means = np.zeros((4000, 6))
    means[:, 0] = 10.0 * groups - 5.0  # 10 apart
    pair = {name: means + rng.normal(size=means.shape) for name in "xy"}
    expected = 25.0**2 / (26.0**2 + 5)
    assert expected == pytest.approx(0.918, abs=5e-4)
    assert cka.linear_cka(pair["x"], pair["y"]) == pytest.approx(expected, abs=0.003)
    assert cka.minibatch(pair).value("x", "y") == pytest.approx(expected, abs=0.01)
    found = cka.minibatch(pair, groups)
    assert abs(found.value("x", "y")) < 0.02
    assert found.interval("x", "y").low < 0 < found.interval("x", "y").high
    for group in (0, 1):
        alone = cka.minibatch({name: x[groups == group] for name, x in pair.items()})
        assert abs(found.within(group).value("x", "y")) < 0.03 and abs(alone.value("x", "y")) < 0.03
        assert set(found.within(group).groups) == {group}


@pytest.mark.parametrize("strata", [1, 3])
def test_the_jackknife_interval_covers(strata):
    rng, hits, values = np.random.default_rng(3), [], []
    for _ in range(300):
        found = cka.minibatch(planted(480, rng), np.arange(480) % strata, 16).interval("x", "y")
        hits.append(found.low <= 0.25 <= found.high)
        values.append((found.value, found.se))
    assert 0.93 <= np.mean(hits) <= 0.97
    values = np.array(values)
    assert values[:, 1].mean() == pytest.approx(values[:, 0].std(), rel=0.12)
    assert (found.unit, found.n_seeds, found.n_examples) == ("minibatches", 1, 480)
    assert found.dof <= 30 - strata + 1e-9


def test_the_jackknife_by_hand_and_a_group_of_one_batch():
    rng = np.random.default_rng(4)
    sizes = [10, 12, 9]
    batches = cka.Minibatches()
    for b in sizes:
        batches.add(planted(b, rng))
    found = batches.similarities()
    left = []
    for out in range(3):
        h = sum(sizes[k] * found.hsic[k] for k in range(3) if k != out)
        left.append(h[0, 1] / np.sqrt(h[0, 0] * h[1, 1]))
    interval = found.interval("x", "y")
    assert interval.se == pytest.approx(np.sqrt(2 / 3 * ((left - np.mean(left)) ** 2).sum()))
    assert interval.dof == pytest.approx(2) and interval.high - interval.value == pytest.approx(4.302653 * interval.se)
    itself = found.interval("x", "x")
    assert (itself.value, itself.low, itself.high, itself.se) == (1.0, 1.0, 1.0, 0.0)
    batches.add(planted(20, rng), group=1)
    assert np.isinf(batches.similarities().interval("x", "y").high)


def test_s7_the_null_is_exact_for_any_features():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(6, 3)), np.exp(2 * rng.normal(size=(6, 2)))
    values = [cka.linear_cka(x, y[list(order)]) for order in itertools.permutations(range(6))]
    assert np.mean(values) == pytest.approx(0.0, abs=1e-12)
    assert np.mean(np.square(values)) == pytest.approx(2 / (6 * 3), abs=1e-12)
    assert cka.minibatch({"x": x, "y": y}).null_sd("x", "y") == pytest.approx(np.sqrt(2 / 18), abs=1e-12)
    # several batches of unequal size and very unequal norms, against sampled permutations
    blocks = [(s * rng.normal(size=(b, 3)), np.exp(rng.normal(size=(b, 4)))) for s, b in ((1, 8), (3, 12), (2, 9))]

    def similarities(permuted):
        batches = cka.Minibatches()
        for a, b in blocks:
            batches.add({"a": a, "b": b[rng.permutation(len(b))] if permuted else b})
        return batches.similarities()

    sampled = [similarities(True).value("a", "b") for _ in range(1500)]
    assert similarities(False).null_sd("a", "b") == pytest.approx(np.std(sampled), rel=0.08)
    assert np.mean(sampled) == pytest.approx(0.0, abs=4 * np.std(sampled) / np.sqrt(1500))


def test_what_does_not_vary_within_groups_is_nan_without_a_warning():
    rng = np.random.default_rng(6)
    groups = np.arange(60) % 2
    spike = np.zeros((60, 2))
    spike[7] = 1.0
    arrays = {"x": rng.normal(size=(60, 3)), "means": 10.0 * groups[:, None] + 0.1, "spike": spike}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cka.minibatch(arrays, groups, 10)
        for name in ("means", "spike"):
            assert np.isnan(found.value("x", name)) and np.isnan(found.interval("x", name).se)
            assert np.isnan(found.null_sd("x", name))
        (record,) = cka.records(
            arrays,
            groups,
            [cka.Pair("x", "means", {"spike": "spike"})],
            ids=np.arange(60),
            eval_mode=True,
            spatial="pooled",
        )
    assert np.isnan([record.value, record.z, record.r2_ab, record.without_top, record.detection_limit]).all()
    assert record.effective_dims[0] > 1 and np.isnan(record.effective_dims[1]) and np.isfinite(record.pooled)


def test_mistakes_are_named():
    rng = np.random.default_rng(7)
    pair = planted(40, rng)
    batches = cka.Minibatches()
    with pytest.raises(UserError, match="at least one batch"):
        batches.similarities()
    with pytest.raises(UserError, match="at least 4 examples"):
        batches.add({name: x[:3] for name, x in pair.items()})
    batches.add(pair)
    with pytest.raises(UserError, match="representations of the first batch"):
        batches.add({"x": pair["x"]})
    with pytest.raises(UserError, match="batch=3"):
        cka.minibatch(pair, batch=3)
    with pytest.raises(UserError, match="3 examples of 1"):
        cka.minibatch(pair, (np.arange(40) >= 37).astype(int))
    with pytest.raises(UserError, match="groups=.*40 entries"):
        cka.minibatch(pair, np.zeros(39))
    facts = {"ids": np.arange(40), "eval_mode": True, "spatial": "pooled"}
    with pytest.raises(UserError, match="pairs='pixels'"):
        cka.records(pair, None, [cka.Pair("x", "y", {"raw input": "pixels"})], **facts)
    with pytest.raises(UserError, match="ids=39"):
        cka.records(pair, None, [cka.Pair("x", "y")], **{**facts, "ids": np.arange(39)})


@pytest.fixture(scope="module")
def mixture():
    """Two components of 600: x and y share 8 of 32 units and large means; a second seed of x, an unrelated network."""
    rng = np.random.default_rng(8)
    groups = np.repeat(["first", "second"], 600)
    means = np.where(groups == "first", 8.0, -8.0)[:, None] * np.ones(32) / np.sqrt(32)
    arrays = {name: (x + means).astype(np.float32) for name, x in planted(1200, rng).items()}
    arrays["x again"] = arrays["x"] + rng.normal(size=(1200, 32)).astype(np.float32)
    arrays["untrained"] = rng.normal(size=(1200, 20))
    return arrays, groups


def test_a_record_holds_everything(mixture):
    arrays, groups = mixture
    pairs = [
        cka.Pair("x", "y", {"random init": "untrained", "itself": "x again"}, ("x", "x again")),
        cka.Pair("y", "y"),
    ]
    facts = {"ids": np.arange(1200), "eval_mode": True, "spatial": "average-pooled", "batch": 30}
    record, itself = cka.records(arrays, groups, pairs, **facts)
    fields = dataclasses.fields(cka.Record)
    assert all(f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING for f in fields)
    json.dumps(dataclasses.asdict(record), allow_nan=False)

    within = cka.minibatch(arrays, groups, 30)
    interval = within.interval("x", "y")
    assert (record.value, record.se, record.ci95) == (interval.value, interval.se, (interval.low, interval.high))
    assert record.value == pytest.approx(0.25, abs=0.03) and record.one_minus == 1.0 - record.value
    assert record.pooled == cka.minibatch(arrays, None, 30).value("x", "y") > 0.8
    assert (record.n, record.p1, record.p2, record.batch_size, record.batches) == (1200, 32, 32, 30, 40)
    assert record.null_mean == 0.0 and record.null_sd == pytest.approx(np.sqrt(2 / (30 * 27) / 40), rel=0.05)
    assert record.z == record.value / record.null_sd
    assert abs(record.floors["random init"]) < 0.02
    assert record.floors["itself"] == record.ceiling == within.value("x", "x again") == pytest.approx(0.5, abs=0.03)
    assert itself.floors == {} and itself.ceiling is None
    assert (itself.value, itself.one_minus, itself.se, itself.detection_limit) == (1.0, 0.0, 0.0, 0.0)

    z = alignment.centred(arrays["x"], groups)
    variances = np.linalg.eigvalsh(z.T @ z)
    weights = variances**2 / (variances**2).sum()
    assert record.lambda1_share[0] == pytest.approx(weights.max())
    assert record.effective_dims[0] == pytest.approx(1 / (weights**2).sum())
    grams = np.stack([z[groups == name] @ z[groups == name].T for name in ("first", "second")])
    assert record.max_example_share[0] == pytest.approx((grams**2).sum(2).max() / (grams**2).sum())
    assert record.r2_ab == pytest.approx(0.25, abs=0.04) and record.r2_ba == pytest.approx(0.25, abs=0.04)
    assert record.procrustes == pytest.approx(0.25, abs=0.05)
    assert record.without_top == pytest.approx(record.value, abs=0.02)
    assert record.detection_limit == pytest.approx(np.sqrt(1 - (1 - 2 * record.se) ** 2))
    assert record.dtype == ("float32", "float32") and record.spatial == "average-pooled" and record.eval_mode
    other = cka.records(arrays, groups, pairs[:1], **{**facts, "ids": np.arange(1200)[::-1]})[0]
    assert other.ids_sha256 != record.ids_sha256 and dataclasses.replace(other, ids_sha256=record.ids_sha256) == record


def test_a_record_tells_when_a_few_examples_are_the_value():
    rng = np.random.default_rng(9)  # S13 again: they hide a similarity that is there
    x = rng.normal(size=(2000, 64))
    moved = x.copy()
    moved[::100, 0] += 100.0
    (record,) = cka.records(
        {"x": x, "moved": moved}, None, [cka.Pair("x", "moved")], ids=np.arange(2000), eval_mode=True, spatial="none"
    )
    assert record.value < 0.15 and record.without_top == pytest.approx(1.0, abs=1e-6)
    assert record.max_example_share[1] > 0.03 and record.max_example_share[0] < 0.003
    assert record.lambda1_share[1] > 0.9 and record.effective_dims[1] < 1.2 and record.effective_dims[0] > 50
    assert record.pooled == record.value  # one component
    (wide,) = cka.records(
        {"x": x[:60] @ rng.normal(size=(64, 90))},
        None,
        [cka.Pair("x", "x")],
        ids=np.arange(60),
        eval_mode=True,
        spatial="none",
        batch=20,
    )  # more units than examples
    assert wide.value == 1.0 and wide.effective_dims[0] < 60 and 1 / 60 < wide.max_example_share[0] < 0.1


def test_the_detection_limit_is_the_feature_whose_loss_costs_two_standard_errors():
    assert cka.detection_limit(0.005) == pytest.approx(0.14107, abs=1e-5)
    share = cka.detection_limit(0.01)
    assert np.sqrt(1.0 - share**2) == pytest.approx(1.0 - 0.02)
    assert cka.detection_limit(0.0) == 0.0 and cka.detection_limit(0.7) == cka.detection_limit(np.inf) == 1.0
