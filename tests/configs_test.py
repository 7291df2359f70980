"""The shipped configs, shrunken, end to end; somebody's own images; the network whose answer is known."""

import pathlib

import numpy as np
import pytest
from scipy import stats
from sklearn import datasets

from bottleneck import config as configs
from bottleneck import execute
from bottleneck.planning import plan as plans
from bottleneck import rows as row_files
from bottleneck import study as studies

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def run(name, arg, workdir, **overrides):
    execute.study(
        configs.load(f"{CONFIGS / name}.py:{arg}", [(k.replace("__", "."), v) for k, v in overrides.items()]), workdir
    )
    return row_files.read(workdir / "results.jsonl")


def verdicts(found):
    return {
        r["target"]: r["extra"]["verdict"]
        for r in found
        if r["metric"].startswith("gap_") and r["metric"] != "gap_points"
    }


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("mixture")
    return workdir, run("mixture", "smoke", workdir)


def test_mixture_names_the_planted_conflict(smoke):
    _, found = smoke
    mean = {
        (r["arm"], r["target"]): r["value"]
        for r in found
        if r["seed"] == "all" and r["metric"] == "bits" and r["protocol"] == "linear_probe"
    }
    for target in ("plus", "minus"):  # two seeds of a short run: the size of the effect, not its verdict
        assert (
            mean["direct", target] - mean["mixture", target] > 0.3
            and mean["heads", target] - mean["mixture", target] > 0.3
        )
    assert set(verdicts(found)) == {"easy", "shadowed", "plus", "minus", "rare"}
    bayes = {(r["target"], r["reference"]): r["value"] for r in found if r["arm"] == "bayes"}
    assert (
        bayes["plus", "shared"] == 0.5
        and bayes["plus", "heads"] == 1.0
        and bayes["shadowed", "shared"] == pytest.approx(0.9)
    )


def test_transfer_trains_only_the_new_references(smoke):
    workdir, _ = smoke
    before = {p.name for p in workdir.glob("runs/*")}
    found = run("transfer", "smoke", workdir, analysis__kinds="('ladder', 'relatedness')")
    new = {p.name.split("-s")[0] for p in workdir.glob("runs/*") if p.name not in before}
    assert new == {"direct-held_out", "direct-pairing", "direct-texture"}
    own = row_files.select(found, study="transfer", metric="gap_bits")
    assert {r["target"] for r in own if r["extra"]["outside"]} == {"held_out", "pairing", "texture"}


def test_rich_budget_and_the_member_listed_twice(tmp_path):
    found = run("rich", "smoke", tmp_path)
    budget = {r["arm"]: r["train_steps"] for r in found if r["protocol"] == "linear_probe" and r["seed"] == 0}
    assert budget["timecat2"] == budget["timecat5"] == budget["mixture"] == 100
    assert budget["cat2"] == 200 and budget["cat5"] == 500 and budget["short5"] == 20 and budget["twice"] == 100
    dims = {r["arm"]: r["dim"] for r in found if r["protocol"] == "linear_probe" and r["seed"] == 0 and r["dim"]}
    assert dims["cat5"] == 5 * dims["mixture"] and dims["reduced5"] == dims["mixture"]
    each = {
        (r["arm"], r["target"], r["seed"], r["scaling"]): r["value"]
        for r in found
        if r["metric"] == "accuracy" and r["protocol"] == "linear_probe" and r["seed"] != "all" and r["scaling"]
    }
    for (arm, target, seed, scaling), value in each.items():
        if arm == "twice":
            assert abs(value - each["mixture", target, seed, scaling]) <= 0.01 + 1e-9  # 400 items; 0.005 at full size


@pytest.mark.parametrize("model", ["resnet20", "vit_tiny"])
def test_other_models_plan(model):
    plan = plans.plan(studies.spec(configs.load(f"{CONFIGS / 'mixture'}.py:smoke,model={model}")))
    assert plan.run("mixture", 0).model["name"] == model.split("2")[0].split("_")[0]


def test_null_component_is_untestable(tmp_path):
    """Nor is anything above chance at any rung, layer or step, by intervals that hold together (Bonferroni)."""
    found = run(
        "mixture",
        "smoke,null",
        tmp_path,
        arms="('mixture','direct')",
        mixture__competitor="None",
        probe__protocols="('head','linear_probe')",
        analysis__kinds="('ladder','steps')",
    )
    assert verdicts(found)["null"] == "untestable"
    read = [
        r
        for r in row_files.select(found, target="null", factor=None, metric="bits")
        if r["seed"] != "all" and (r["extra"] or {}).get("analysis")
    ]
    assert len(read) >= 30 and {r["protocol"] for r in read} == {"head", "prominent", "linear", "nonlinear"}
    wider = stats.norm.isf(0.025 / len(read)) / stats.norm.isf(0.025)
    assert all(r["value"] - wider * (r["value"] - r["ci95"][0]) <= 0 for r in read)


def test_own_images_as_npz(tmp_path):
    digits = datasets.load_digits()
    images = (digits.images * 15).astype(np.uint8)
    np.savez(
        tmp_path / "digits.npz",
        x_train=images[:1300],
        y_train=digits.target[:1300],
        x_test=images[1300:],
        y_test=digits.target[1300:],
    )
    found = run(
        "mixture",
        f"smoke,data={tmp_path / 'digits.npz'}",
        tmp_path / "study",
        data__image_size="8",
        data__train="None",
        data__probe="300",
        data__val="150",
        data__test="None",
        train__steps="100",
        probe__protocols="('head','linear_probe')",
        analysis__kinds="('ladder',)",
    )
    assert set(verdicts(found)) == {"plain", "tinted", "rotated", "blurred"}
    accuracy = {
        (r["arm"], r["target"]): r["value"]
        for r in found
        if r["seed"] == "all" and r["metric"] == "accuracy" and r["protocol"] == "linear_probe"
    }
    assert accuracy["direct", "plain"] > 0.8
    assert {(r["target"], r["factor"]) for r in found if r["metric"] == "rung"} == {
        ("plain", None),
        ("tinted", None),
        ("tinted", "tint"),
        ("rotated", None),
        ("blurred", None),
    }
    assert (tmp_path / "study" / "report.html").is_file()


def planted(draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and scales of 6 components with lambda_3 s_3 >= 1.3 lambda_4 s_4, in decreasing order of lambda s."""
    rng = np.random.default_rng(draw)
    while True:
        weights, scales = rng.dirichlet(np.full(6, 3.0)), rng.uniform(0.5, 2.0, 6)
        order = np.argsort(-weights * scales)
        strength = (weights * scales)[order]
        if strength[2] >= 1.3 * strength[3] and strength[2] >= 0.08:
            return weights[order], scales[order]


@pytest.mark.parametrize("draw", range(20))
def test_solvable_network_keeps_the_planted_components(draw, tmp_path):
    weights, scales = planted(draw)
    config = configs.load(f"{CONFIGS / 'solvable'}.py:seeds=1,offset={draw}")
    with config.unlocked():
        config.arms = ("mixture", "direct")
        config.train.steps = 3000
        for j, (weight, scale) in enumerate(zip(weights, scales, strict=True)):
            config.mixture.weights[f"mode{j}"] = float(weight)
            config.components[f"mode{j}"].source.update(scale=float(scale), noise=float(0.1 * scale), seed=draw)
    execute.study(config, tmp_path)
    found = verdicts(row_files.read(tmp_path / "results.jsonl"))
    assert found == {f"mode{j}": "retained" if j < 3 else "lost" for j in range(6)}
