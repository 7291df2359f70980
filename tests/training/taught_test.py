"""What a run learns from others: the arrays that parents leave, the losses made of them, and a resume in between."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bottleneck.training import loop, objectives
from bottleneck.training.run import Lesson
from bottleneck.training.taught import Taught, Undiscovered, taught


def student(episode, kind="hard", parents=2, overrides=None, keep=(), **lesson):
    """An episode that learns from `parents` others."""
    names = tuple(f"{i}@20" for i in range(parents))
    return episode(overrides or {}, keep=keep, parents=names, lesson=Lesson(kind, **lesson))


def predictions(run, parents, seed=0, n=100):
    rng = np.random.default_rng(seed)
    logits = [[rng.normal(size=(n, run.outputs)) for _ in run.components] for _ in range(parents)]
    labels = [rng.integers(0, count, n) for count in run.blocks]
    return logits, labels


@pytest.mark.parametrize("space", ["shared", "disjoint", "per_component"])
def test_pseudo_labels_and_probabilities_are_of_the_allowed_outputs(space, episode):
    made = student(episode, overrides={"label_space": space})
    logits, labels = predictions(made.run, 2)
    hard = taught(made.run, logits, labels)
    soft = taught(dataclasses.replace(made.run, lesson=Lesson("soft")), logits, labels)
    assert hard.said.shape == (200, 2) and soft.said.shape == (200, 2, made.run.outputs) and hard.rows is None
    np.testing.assert_allclose(soft.said.sum(-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(soft.said.argmax(-1), hard.said)
    second = hard.said[100:]
    if space == "per_component":
        assert second.min() >= made.run.offset[1] and not soft.said[100:, :, : made.run.offset[1]].any()
    else:
        assert set(np.unique(second)) == set(range(made.run.outputs))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), parents=st.integers(1, 3), shuffled=st.booleans())
def test_examples_are_drawn_again_within_their_component_and_in_equal_parts(episode, seed, parents, shuffled):
    made = student(episode, "exponentiated", parents, examples="groups", shuffled=shuffled)
    logits, labels = predictions(made.run, parents, seed)
    plain = taught(dataclasses.replace(made.run, lesson=Lesson("max")), logits, labels).said
    found = taught(made.run, logits, labels)
    assert found.rows.shape == (200,)
    for j in range(2):
        rows, part = found.rows[100 * j : 100 * (j + 1)], slice(100 * j, 100 * (j + 1))
        assert rows.min() >= 100 * j and rows.max() < 100 * (j + 1)
        said, patterns = ([*map(tuple, each[part])] for each in (found.said, plain))
        assert sorted(said) == sorted(patterns)  # as many right in one and wrong in another
    assert shuffled == (not np.array_equal(found.said, plain))
    again = taught(made.run, logits, labels)
    np.testing.assert_array_equal(found.rows, again.rows)
    if parents == 1:
        share = found.said[found.rows].mean()
        assert share == 0.5  # as many right as wrong


def test_half_of_the_examples_are_those_on_which_the_rounds_agree(episode):
    made = student(episode, "hard", 2, examples="agreement")
    logits, labels = predictions(made.run, 2)
    for j, y in enumerate(labels):
        logits[0][j] = 9.0 * np.eye(made.run.outputs)[y]  # right about everything
        wrong = np.arange(100) < 10
        logits[1][j] = 9.0 * np.eye(made.run.outputs)[np.where(wrong, 1 - y, y)]
    found = taught(made.run, logits, labels)
    apart = found.said[found.rows][:, 0] != found.said[found.rows][:, 1]
    assert apart.mean() == 0.5 and (found.said[:, 0] != found.said[:, 1]).mean() == 0.1


def test_groups_need_right_and_wrong_examples(episode):
    made = student(episode, "max", 1)
    logits, labels = predictions(made.run, 1)
    perfect = [[9.0 * np.eye(made.run.outputs)[y] for y in labels]]
    with pytest.raises(Undiscovered, match="no example is left to be discovered"):
        taught(made.run, perfect, labels)
    only_second = dataclasses.replace(made.run, schedule=((0, (0.0, 1.0)),))
    with pytest.raises(Undiscovered):  # what is never drawn leaves nothing to discover
        taught(only_second, [[logits[0][0], perfect[0][1]]], labels)
    taught(made.run, [[logits[0][0], perfect[0][1]]], labels)


def batch(heads=2, outputs=3, size=12, seed=0):
    rng = np.random.default_rng(seed)
    space = objectives.Space(np.zeros(2, np.int32), np.ones((2, outputs), bool))
    made = dict(
        y=rng.integers(0, outputs, size).astype(np.int32),
        component=rng.integers(0, 2, size).astype(np.int32),
        weight=np.ones(size, np.float32),
    )
    return rng.normal(size=(size, heads * outputs)).astype(np.float32), made, space


HYPER = {"label_smoothing": np.float32(0), "logit_penalty": np.float32(0)}


def test_hard_distillation_is_the_mean_cross_entropy_of_the_heads():
    logits, made, space = batch()
    made["taught"] = np.random.default_rng(1).integers(0, 3, (12, 2)).astype(np.int32)
    each, score = objectives.distilled("hard", jnp.asarray(logits), made, space, HYPER)
    log_p = special.log_softmax(logits.reshape(12, 2, 3).astype(float), axis=-1)
    expected = -np.take_along_axis(log_p, made["taught"][..., None], -1)[..., 0].mean(1)
    np.testing.assert_allclose(each, expected, rtol=1e-5)
    np.testing.assert_array_equal(score, np.exp(log_p).mean(1).argmax(-1) == made["y"])


def test_soft_distillation_is_the_divergence_from_the_teachers():
    logits, made, space = batch()
    said = special.softmax(np.random.default_rng(1).normal(size=(12, 2, 3)), axis=-1)
    said[0, 0] = (1.0, 0.0, 0.0)
    made["taught"] = said.astype(np.float32)
    each, _ = objectives.distilled("soft", jnp.asarray(logits), made, space, HYPER)
    log_p = special.log_softmax(logits.reshape(12, 2, 3).astype(float), axis=-1)
    expected = special.rel_entr(said, np.exp(log_p)).sum(-1).mean(1)
    np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-6)


def test_the_largest_group_decides_and_groups_without_examples_have_no_say():
    _, made, _ = batch()
    each = jnp.asarray(np.random.default_rng(2).uniform(size=12).astype(np.float32))
    right = np.zeros((12, 2), np.int32)
    right[:5, 0] = right[:, 1] = 1  # the second parent has everything right: its group of wrong examples is empty
    made["taught"] = right
    loss, groups = objectives.over_groups("max", each, made, (), 0.01)
    means = [each[:5].mean(), each[5:].mean(), each.mean()]
    assert float(loss) == pytest.approx(float(max(means)), rel=1e-6) and groups == ()
    start = jnp.full(4, 0.25)
    loss, groups = objectives.over_groups("exponentiated", each, made, start, 2.0)
    grown = np.exp(2.0 * np.array([means[0], means[2], means[1], 0.0]))  # right of both, then wrong of both
    np.testing.assert_allclose(groups, grown / grown.sum(), rtol=1e-5)
    expected = sum(float(g) * m for g, m in zip(groups, [means[0], means[2], means[1], 0.0], strict=True))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    gradient = jax.grad(lambda e: objectives.over_groups("max", e, made, (), 0.01)[0])(each)
    assert np.count_nonzero(gradient) in (5, 7)  # of the examples of one group


LESSONS = {
    "hard": dict(kind="hard", examples="agreement"),
    "soft": dict(kind="soft"),
    "max": dict(kind="max"),
    "exponentiated": dict(kind="exponentiated", examples="groups"),
}


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_a_killed_student_resumes_to_the_same_bits_and_feeds_agree(name, feed, episode, tmp_path, same):
    made = student(episode, parents=2, overrides={"train.feed": feed}, keep=(0, 5), **LESSONS[name])
    arrays = taught(made.run, *predictions(made.run, 2))

    class Killed(Exception):
        pass

    made_steps = []

    def stop_at_twelve(steps):
        made_steps.append(steps)
        if sum(made_steps) >= 12:
            raise Killed

    whole = made.train(tmp_path / "whole", taught=arrays)
    with pytest.raises(Killed):
        made.train(tmp_path / "cut", taught=arrays, on_progress=stop_at_twelve)
    same(made.train(tmp_path / "cut", taught=arrays), whole)
    heads = 2 if made.run.lesson.distils else 1
    assert whole[20]["params"]["head"]["kernel"].shape[1] == heads * made.run.outputs
    if feed == "stream":
        resident = student(episode, parents=2, keep=(0, 5), **LESSONS[name])
        other = resident.train(tmp_path / "resident", taught=arrays)
        for a, b in zip(jax.tree.leaves(other[20]), jax.tree.leaves(whole[20]), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_student_of_its_own_labels_is_plain_training(episode, tmp_path):
    """One teacher that is always right, every item standing for itself."""
    made = student(episode, "hard", 1)
    logits = [[9.0 * np.eye(made.run.outputs)[c.splits["train"].labels] for c in made.components]]
    arrays = taught(made.run, logits, [c.splits["train"].labels for c in made.components])
    arrays = Taught(arrays.said, np.arange(200, dtype=np.int32))
    learned, plain = made.train(tmp_path / "student", taught=arrays), episode().train(tmp_path / "plain")
    for a, b in zip(jax.tree.leaves(learned[20]), jax.tree.leaves(plain[20]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_initial_parameters_have_a_seed_of_their_own(episode, tmp_path):
    first = episode({"optimizer.lr": "0.0"}, keep=(0,)).train(tmp_path / "a")[0]
    other = episode({"optimizer.lr": "0.0", "seed": "7"}, keep=(0,)).train(tmp_path / "b")[0]
    mixed = episode({"optimizer.lr": "0.0"}, keep=(0,), init_seed=7)
    started = mixed.train(tmp_path / "c")[0]
    for a, b in zip(jax.tree.leaves(started), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(started), jax.tree.leaves(first), strict=True))
    feed = [
        loop.Feed((m.run,), loop.program(m.run, m.mesh), m.components, m.data, m.pool())
        for m in (mixed, episode({"optimizer.lr": "0.0"}))
    ]
    assert int(feed[0].given.seed) == int(feed[1].given.seed)
