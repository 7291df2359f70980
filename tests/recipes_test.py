"""Recipes: which runs they mean, what those cost, and that only what is new is trained."""

import pytest

from bottleneck import execute
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.errors import UserError
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import Probe
from bottleneck.report import discovery

RECIPES = {
    "short": {"steps": 0.5},
    "wide": {"width": 2.0, "objective": {"label_smoothing": 0.1}, "optimizer": {"lr": 0.02}},
    "part": {"like": "direct", "steps": 0.5},
    "hard": {"teachers": "mixture/*@last", "n": 2},
    "soft": {"teachers": "short/*@last", "n": 2, "targets": "soft", "untrained": 1, "steps": 3.0},
    "diverse": {"rounds": 2},
    "shuffled": {"rounds": 3, "rule": "exponentiated", "groups": "random"},
}


def config_of(tiny, recipes, overrides=None):
    config = tiny({"seeds": "4", **(overrides or {})})
    with config.unlocked():
        config.recipes = recipes
    return config


@pytest.fixture(scope="module")
def planned(tiny):
    return plans.plan(studies.spec(config_of(tiny, RECIPES)))


def runs(plan):
    return {(task.episode.name, task.episode.seed): task for task in plan.graph.of(Train)}


def test_a_recipe_changes_what_it_says_and_nothing_else(planned):
    by_name = {name: task.episode for (name, seed), task in runs(planned).items() if seed == 1}
    mixture = by_name["mixture"]
    assert by_name["short"].steps == 10 and by_name["short"].optimizer == mixture.optimizer
    wide = by_name["wide"]
    assert wide.model.width == 2 * mixture.model.width and wide.steps == mixture.steps
    assert (wide.optimizer.lr, wide.optimizer.momentum) == (0.02, mixture.optimizer.momentum)
    assert wide.objective.label_smoothing == 0.1
    assert by_name["part-second"].steps == 10 and by_name["part-second"].schedule == by_name["direct-second"].schedule


def test_students_come_one_a_disjoint_set_and_stand_on_their_teachers(planned):
    made = runs(planned)
    assert {seed for name, seed in made if name == "hard"} == {0, 2}
    student = made["hard", 2]
    assert student.episode.heads == 2
    assert [teacher.run for teacher in student.teachers] == [made["mixture", 2].episode, made["mixture", 3].episode]
    control = made["soft", 0]
    assert [teacher.step for teacher in control.teachers] == [10, 0] and control.episode.steps == 60
    steps = {(p.arm, p.seed): sum(p.members[0].source.ancestry.values()) for p in planned.graph.of(Probe)}
    assert steps["hard", 1] == 3 * 20 and steps["soft", 0] == 60 + 10


def test_rounds_learn_from_all_earlier_ones_and_synthesis_from_all(planned):
    made = runs(planned)
    first = made["diverse-round0", 3]  # is the first round of both
    last, whole = made["shuffled-round2", 3], made["shuffled", 3]
    assert last.teachers[0].run.key == first.episode.key
    assert first.episode.lesson is None and first.episode.steps == 2
    assert len(last.teachers) == 2 and last.episode.lesson.kind == "exponentiated" and last.episode.lesson.shuffled
    assert last.episode.heads == 1 and len(whole.teachers) == whole.episode.heads == 3
    assert {run.seed for run in (first.episode, last.episode, whole.episode)} == {3}
    probe = next(p for p in planned.graph.of(Probe) if (p.arm, p.seed) == ("shuffled", 3))
    assert sum(probe.members[0].source.ancestry.values()) == 2 + 20 + 20 + 20


def test_what_a_recipe_needs_is_part_of_its_key(tiny, planned):
    changed = {**RECIPES, "short": {"steps": 0.25}}
    other = runs(plans.plan(studies.spec(config_of(tiny, changed))))
    before = runs(planned)
    assert other["soft", 0].key != before["soft", 0].key and other["hard", 0].key == before["hard", 0].key


@pytest.mark.parametrize(
    "recipe, message",
    [
        ({"teachers": "nobody/*@last"}, "recipes.bad.teachers='nobody.* expected the mixture or an earlier recipe"),
        ({"teachers": "mixture/0@last"}, r"recipes.bad.teachers='mixture/0@last': expected source/\*@step"),
        ({"teachers": "mixture/*@last", "n": 9}, "recipes.bad.*9: expected at most the 4 seeds"),
        ({"rounds": 1}, "recipes.bad.rounds=1: expected 0, or at least 2"),
        ({"like": "direct", "rounds": 2}, "recipes.bad.like='direct'"),
        ({"untrained": 1}, "recipes.bad.untrained=1"),
        ({"optimizer": {"speed": 3}}, "recipes.bad.optimizer.speed=3: expected a known key"),
        ({"width": 0.3}, "recipes.bad.model.width=2.4"),
    ],
)
def test_mistakes_are_one_line(recipe, message, tiny):
    with pytest.raises(UserError, match=message):
        plans.plan(studies.spec(config_of(tiny, {"bad": recipe})))


def test_seeds_may_vary_one_thing_alone(tiny):
    def made(vary):
        plan = plans.plan(studies.spec(tiny({"vary": vary, "seeds": "3"})))
        return {(task.episode.seed, task.episode.init_seed) for task in plan.graph.of(Train)}

    assert made("both") == {(0, None), (1, None), (2, None)}
    assert made("init") == {(0, None), (0, 1), (0, 2)}
    assert made("order") == {(0, None), (1, 0), (2, 0)}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """(work directory, rows) of a study with a student, and with rounds that leave nothing to discover."""
    workdir = tmp_path_factory.mktemp("recipes")
    config = config_of(tiny, {"hard": RECIPES["hard"]}, {"train.steps": "40", "vary": "order"})
    assert execute.study(config, workdir) == execute.DONE
    before = {path.name for path in workdir.glob("runs/*")}
    with config.unlocked():
        config.components = {"first": config.components["first"]}
        config.mixture.weights = {"first": 1.0}
        config.recipes = {"diverse": {"rounds": 2, "early": 1.0}}  # colour is learned at once
    assert execute.study(config, workdir) == execute.DONE
    return workdir, before, row_files.read(workdir / "results.jsonl")


def test_rounds_without_an_example_left_end_empty_and_say_so(finished):
    workdir, before, rows = finished
    (ended,) = [r for r in rows if r["metric"] == "rounds"]
    assert ended["value"] == 1 and "no example is left to be discovered after round 1" in ended["extra"]["sentence"]
    (wrong,) = [r for r in rows if r["metric"] == "wrong"]
    assert wrong["value"] == 0 and wrong["n_seeds"] == 4
    assert not [r for r in rows if r["arm"] == "diverse" and r["metric"] == "information"]
    assert {path.name for path in workdir.glob("runs/*")} == before  # round 0 is direct training, which is there


def test_intervals_say_what_seeds_vary(finished):
    units = {r["ci_unit"] for r in finished[2] if r["metric"] == "gap" and r["ci_unit"]}
    assert units and all("orders (one initialisation)" in unit for unit in units)


def test_the_report_says_what_rounds_leave(finished):
    workdir, _, rows = finished
    shown = discovery.section({"discovery": [r for r in rows if row_files.kind(r) == "discovery"]})
    assert "no example is left to be discovered after round 1" in shown.sentence
    (table,) = shown.parts
    assert table.rows[0][:2] == ("diverse", "0") and "0.0" in str(table.rows[0][2])
    assert "no example is left to be discovered" in (workdir / "report.html").read_text()
    assert discovery.section({}) is None
