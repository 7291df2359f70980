"""The released probe: against an implementation step by step, against the solved probe, and its two readings."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from bottleneck.analysis import accelerator, eigenbasis, probes, released
from bottleneck.analysis.released import ReleasedSpec
from bottleneck.errors import UserError

SPEC = ReleasedSpec(weight_decay=(1e-4, 5e-2), epochs=3, batch=16)


def planted(items=600, width=6, classes=3, noise=1.0, seed=0):
    """Features of classes around means, of very different scales; split -> x, y."""
    rng = np.random.default_rng(seed)
    means, scale = 2 * rng.normal(size=(classes, width)), 10.0 ** rng.integers(-2, 3, width)
    x, y = {}, {}
    for split, count in (("probe", items), ("val", 200), ("test", 300)):
        y[split] = rng.integers(classes, size=count)
        x[split] = ((means[y[split]] + noise * rng.normal(size=(count, width))) * scale + 3).astype(np.float32)
    return x, y


def by_hand(x, y, classes, decay, spec, seed):
    """(test accuracy of every epoch, the last weights and intercept on raw features), one decay, as PyTorch has it."""
    key = jax.random.key(seed, impl="threefry2x32")
    first = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (x["probe"].shape[1], classes)), np.float64)
    p = {"w": 0.01 * first, "b": np.zeros(classes), "gamma": np.ones(len(first)), "beta": np.zeros(len(first))}
    buffers = {name: np.zeros_like(value) for name, value in p.items()}
    mean, var, rate, accuracy = np.zeros(len(first)), np.ones(len(first)), spec.lr, []
    for epoch in range(spec.epochs):
        if epoch in (round(spec.epochs * part / 28) for part in (8, 16, 24)):
            rate *= 0.1
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch + 1), len(x["probe"])))
        for start in range(0, len(order), spec.batch):
            rows = order[start : start + spec.batch]
            z = x["probe"][rows].astype(np.float64)
            mu, sigma2 = z.mean(0), z.var(0)
            normal = (z - mu) / np.sqrt(sigma2 + 1e-5)
            h = p["gamma"] * normal + p["beta"]
            wrong = (softmax(h @ p["w"] + p["b"], axis=1) - np.eye(classes)[y["probe"][rows]]) / len(rows)
            grads = {"w": h.T @ wrong + decay * p["w"], "b": wrong.sum(0) + decay * p["b"]}
            back = wrong @ p["w"].T
            grads |= {"gamma": (back * normal).sum(0), "beta": back.sum(0)}
            for name, g in grads.items():
                buffers[name] = 0.9 * buffers[name] + g
                p[name] = p[name] - rate * (g + 0.9 * buffers[name])
            mean = 0.9 * mean + 0.1 * mu
            var = 0.9 * var + 0.1 * z.var(0, ddof=1)
        factor = p["gamma"] / np.sqrt(var + 1e-5)
        weights, intercept = factor[:, None] * p["w"], p["b"] + (p["beta"] - factor * mean) @ p["w"]
        accuracy.append(float(((x["test"] @ weights + intercept).argmax(1) == y["test"]).mean()))
    return accuracy, weights, intercept


@pytest.mark.parametrize("items", [64, 70])  # whole batches, and a last one of six
def test_it_is_the_protocol_step_by_step(items):
    x, y = planted(items, noise=3.0)
    found = released.probe(x, y, 3, SPEC, seed=5)
    for column, decay in enumerate(SPEC.weight_decay):
        accuracy, _, _ = by_hand(x, y, 3, decay, SPEC, 5)
        np.testing.assert_allclose(found.test_accuracy[:, column], accuracy, atol=1 / 300 + 1e-9)
    one = released.probe(x, y, 3, dataclasses.replace(SPEC, weight_decay=(0.01,), epochs=1), seed=5)
    _, weights, intercept = by_hand(x, y, 3, 0.01, dataclasses.replace(SPEC, epochs=1), 5)
    said, expected = one.chosen.logits(x["test"]), x["test"] @ weights + intercept
    np.testing.assert_allclose(said, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert one.updates == -(-items // 16)


def test_on_an_easy_task_it_reaches_the_solved_probe():
    x, y = planted()
    solved = probes.linear_probe(x, y, 3)
    found = released.probe(x, y, 3, dataclasses.replace(ReleasedSpec(), batch=64), seed=0)
    assert found.val_accuracy.shape == (28, 6) and solved.accuracy > 0.9
    accuracy = (found.chosen.logits(x["test"]).argmax(1) == y["test"]).mean()
    assert accuracy >= solved.accuracy - 0.02


def test_the_two_readings_are_cells_of_the_table_of_accuracies():
    x, y = planted(200, noise=4.0)
    found = released.probe(x, y, 3, dataclasses.replace(SPEC, epochs=9), seed=1)
    at = {decay: column for column, decay in enumerate(SPEC.weight_decay)}
    for reading, split, table in (
        (found.chosen, "val", found.val_accuracy),
        (found.released, "test", found.test_accuracy),
    ):
        accuracy = (reading.logits(x[split]).argmax(1) == y[split]).mean()
        assert accuracy == pytest.approx(table[reading.epoch - 1, at[reading.weight_decay]]) == table.max()
    equal = np.argwhere(found.val_accuracy == found.val_accuracy.max())
    assert [found.chosen.epoch - 1, at[found.chosen.weight_decay]] in equal.tolist() and len(equal) > 1
    log_p = log_softmax(found.chosen.logits(x["val"]), axis=1)
    assert np.isfinite(log_p).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.floats(0.5, 8.0))
def test_the_largest_test_accuracy_is_at_least_the_honest_one(seed, noise):
    x, y = planted(70, noise=noise, seed=seed)
    found = released.probe(x, y, 3, SPEC, seed)
    right = [(r.logits(x["test"]).argmax(1) == y["test"]).mean() for r in (found.released, found.chosen)]
    assert right[0] >= right[1]


def test_it_is_a_function_of_the_seed():
    x, y = planted(70)
    first, again, other = (released.probe(x, y, 3, SPEC, seed) for seed in (3, 3, 4))
    assert first.chosen.weights.tobytes() == again.chosen.weights.tobytes()
    assert not np.array_equal(first.chosen.weights, other.chosen.weights)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_few_items_are_one_batch(items):
    x, y = planted(items)
    x["probe"][:, 0] = 7.0  # a constant unit
    found = released.probe(x, y, 3, ReleasedSpec(epochs=4), seed=0)
    assert found.updates == 4 and np.isfinite(found.chosen.weights).all()


def test_other_decays_rates_and_seeds_compile_nothing():
    x, y = planted(33)
    released.probe(x, y, 3, SPEC, seed=0)
    before = released._train._cache_size()
    released.probe(x, y, 3, dataclasses.replace(SPEC, weight_decay=(1e-3, 1.0), lr=0.1), seed=9)
    assert released._train._cache_size() == before


@pytest.mark.parametrize("items", [70, 5])
@pytest.mark.parametrize("room", [0, 4 * 70 * 6], ids=["sent", "held"])
def test_what_does_not_fit_is_trained_on_by_batches_to_the_same_end(items, room, monkeypatch):
    x, y = planted(items, noise=4.0)
    spec = dataclasses.replace(SPEC, epochs=4)
    whole = released.probe(x, y, 3, spec, seed=2)
    monkeypatch.setattr(released, "WHOLE", room)
    monkeypatch.setattr(eigenbasis, "CHUNK", 6 * 90)  # of 200 items three chunks, of 300 four
    monkeypatch.setattr(released, "_train", lambda *args, **static: pytest.fail("more than fits"))
    parts = released.probe(x, y, 3, spec, seed=2)
    assert parts.updates == whole.updates
    for name in ("val_accuracy", "test_accuracy"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1 / 200 + 1e-9)
    for one, other in ((parts.chosen, whole.chosen), (parts.released, whole.released)):
        assert (one.weight_decay, one.epoch) == (other.weight_decay, other.epoch)
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4, atol=1e-5)


def test_of_what_does_not_fit_no_more_than_a_chunk_is_sent(monkeypatch):
    x, y = planted(70)
    monkeypatch.setattr(released, "WHOLE", 0)
    monkeypatch.setattr(eigenbasis, "CHUNK", 6 * 90)
    seen = {"_score": [], "_step": []}
    for name, sizes in seen.items():
        plain = getattr(released, name)
        at = 0 if name == "_score" else 1
        monkeypatch.setattr(released, name, lambda *a, f=plain, s=sizes, i=at: s.append(len(a[i])) or f(*a))
    released.probe(x, y, 3, SPEC, seed=2)
    assert seen == {"_score": [90, 90, 20, 90, 90, 90, 30] * 3, "_step": [16] * 5 * 3}


def test_logits_and_classes_of_chunks_are_those_of_all(monkeypatch):
    x, y = planted(70)
    reading = released.probe(x, y, 3, SPEC, seed=0).chosen
    whole = x["test"].astype(np.float64) @ reading.weights + reading.intercept
    assert reading.logits(x["test"]).tobytes() == whole.tobytes()
    monkeypatch.setattr(released, "WHOLE", 0)
    monkeypatch.setattr(eigenbasis, "CHUNK", 6 * 90)
    np.testing.assert_allclose(reading.logits(x["test"]), whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(reading.classes(x["test"]), whole.argmax(1))


@pytest.mark.parametrize("memory, by_batches", [(2**30, False), (2**10, True)])
def test_an_accelerator_holds_one_probe_at_a_time_and_no_more_than_its_share(memory, by_batches, monkeypatch):
    x, y = planted(70)
    expected = released.probe(x, y, 3, SPEC, seed=0)
    monkeypatch.setattr(accelerator, "there", lambda: True)
    monkeypatch.setattr(accelerator, "memory", lambda: memory)
    held = {"_train": [], "_train_by_batches": []}
    for name, each in held.items():
        plain = getattr(released, name)
        monkeypatch.setattr(
            released, name, lambda *a, f=plain, e=each, **o: e.append(accelerator.ONE.locked()) or f(*a, **o)
        )
    found = released.probe(x, y, 3, SPEC, seed=0)
    assert held == {"_train": [True] * (not by_batches), "_train_by_batches": [True] * by_batches}
    assert not accelerator.ONE.locked()
    np.testing.assert_allclose(found.chosen.weights, expected.chosen.weights, rtol=1e-4, atol=1e-5)


def test_a_cpu_trains_probes_side_by_side():
    x, y = planted(33)
    with accelerator.ONE:  # which another thread may have
        assert released.probe(x, y, 3, SPEC, seed=0).updates == 9


@pytest.mark.parametrize(
    "field, value", [("epochs", 0), ("batch", 0), ("lr", 0.0), ("weight_decay", ()), ("weight_decay", (-1.0,))]
)
def test_mistakes_name_the_key(field, value):
    with pytest.raises(UserError, match=f"^{field}"):
        ReleasedSpec(**{field: value})
