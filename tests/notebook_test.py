"""Studies from a notebook: `bottleneck.run` and `bottleneck.load`, what they return and what they leave behind."""

import contextlib
import errno
import html as markup
import os
import pathlib
import re
import subprocess
import sys
import threading

import jax
import pytest

import bottleneck
from bottleneck import config as configs
from bottleneck import execute, notebook, rows, signals
from bottleneck.errors import UserError
from bottleneck.pretraining import Train
from bottleneck.report import tables
from bottleneck.results import config_hash
from tests.report.html_test import Parsed

TINY = pathlib.Path(__file__).with_name("tiny.py")


def snapshot(folder):
    """What was made of the study, by when it was."""
    made = [p for name in ("runs", "features", "rows") for p in (folder / name).rglob("*") if p.is_file()]
    return {path: path.stat().st_mtime_ns for path in made}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return bottleneck.run(str(TINY), tmp_path_factory.mktemp("notebook") / "work")


def held(form):
    """The study of tests/tiny.py as a user may hold it."""
    config = configs.get(TINY)
    return {"text": f"{TINY}:steps=20", "path": TINY, "config": config, "dictionary": config.to_dict()}[form]


@pytest.mark.parametrize("form", ["text", "path", "config", "dictionary"])
def test_again_nothing_is_done_twice_however_the_study_is_given(form, results, capfd):
    before = snapshot(results.workdir)
    again = bottleneck.run(held(form), results.workdir, seeds=2, train=dict(batch=16), **{"optimizer.lr": 0.05})
    assert again == results and snapshot(results.workdir) == before
    said = capfd.readouterr()
    assert "What is missing" not in said.out and "report:" not in said.out  # results show it


def test_a_config_stays_as_it_is_and_overrides_set_its_keys():
    config = configs.get(TINY)
    before = config.to_dict()
    made = notebook.configured(config, dict(seeds=(3, 5), train=dict(steps="1 epochs"), **{"optimizer.clip": None}))
    assert (made.seeds, made.train.steps, made.optimizer.clip, made.train.batch) == ((3, 5), "1 epochs", None, 16)
    assert config.to_dict() == before and not config.is_locked and made.is_locked


def test_what_was_found_is_on_disk(results, monkeypatch, tmp_path):
    monkeypatch.chdir(results.workdir.parent)
    assert bottleneck.load("work") == results
    monkeypatch.chdir(tmp_path)
    assert bottleneck.load(results.workdir, config_hash(configs.get(TINY))[:6]) == results
    assert results.report.is_file() and results.name == "tiny" and set(results.reading) == {"first", "second"}


def test_what_is_on_disk_needs_no_device(results):
    code = f"import bottleneck; print(len(bottleneck.load({str(results.workdir)!r}).rows))"
    environment = {**os.environ, "JAX_PLATFORMS": "none of them", "MPLBACKEND": "nonsense"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == f"{len(results.rows)}\n", done.stderr


def test_verdicts_agree_with_rows_and_with_the_report(results):
    page = markup.unescape(re.sub(r"<[^>]*>", "", results.report.read_text()))
    assert [v["target"] for v in results.verdicts] == ["first", "second"]
    for verdict in results.verdicts:
        at = dict(target=verdict["target"], seed="all")
        (gap,) = rows.select(results.rows, **at, metric="gap", unit=verdict["unit"], factor=None)
        assert [verdict[key] for key in ("gap", "low", "high")] == [gap["value"], *gap["ci95"]]
        assert (verdict["n_seeds"], verdict["n_examples"]) == (2, gap["n_examples"])
        assert verdict["verdict"] == gap["extra"]["verdict"] and verdict["sentence"] == gap["extra"]["sentence"]
        sides = dict(information=verdict["subject"], reference_information=verdict["reference"])
        for key, arm in sides.items():
            (mean,) = rows.select(results.rows, **at, arm=arm, metric="information", protocol="linear_probe")
            assert verdict[key] == mean["value"]
        assert verdict["sentence"] in page
    assert results.sentences == [v["sentence"] for v in results.verdicts]


def test_it_prints_as_its_sentences(results):
    shown = " ".join(repr(results).split())
    assert "'tiny'" in shown and all(sentence in shown for sentence in results.sentences)
    assert max(map(len, repr(results).splitlines()[1:])) <= 120


def test_a_notebook_shows_the_report_in_a_page_of_its_own(results):
    shown = results._repr_html_()
    assert Parsed(shown).tags == ["iframe"]
    page = markup.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert page.replace('<base href="about:srcdoc">\n', "") == results.report.read_text()
    parsed = Parsed(page)
    words = "".join(parsed.words)
    assert all(sentence in words for sentence in results.sentences)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)


def test_every_table_and_figure_of_the_report_is_there(results):
    for kind, suffix in (("tables", "csv"), ("figures", "svg")):
        written = {path.stem for path in (results.workdir / kind).glob(f"*.{suffix}")}
        assert set(getattr(results, kind)) == written and written
    assert str(results.tables["answer"]) == tables.text(tables.answer(results.rows))
    assert (results.workdir / "figures" / "gap.svg").read_text() == results.figures["gap"]._repr_svg_()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_rows_as_a_data_frame(library, results):
    module = pytest.importorskip(library, reason=f"{library} is not installed, which no other part needs")
    frame = results.frame(library)
    assert isinstance(frame, module.DataFrame) and frame.shape == (len(results.rows), len(rows.KEYS) + 1)
    gaps = results.frame(library, metric="gap", unit="bits", seed="all")
    assert list(gaps["target"]) == ["first", "second"] and list(gaps["low"]) == [v["low"] for v in results.verdicts]
    assert results.frame(library, target="nobody").shape[0] == 0


def test_pandas_does_not_take_us_for_another_package(results):
    """One of our name sums for it, and is asked for when it is imported."""
    pytest.importorskip("pandas", reason="pandas is not installed, which no other part needs")
    code = f"import bottleneck; print(bottleneck.load({str(results.workdir)!r}).frame(seed=0)['value'].sum() > 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n" and "Warning" not in done.stderr, done.stderr


def test_a_library_that_is_not_there_is_one_line(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="^library='pandas': expected an installed library .*: pip install pandas$"):
        results.frame()
    with pytest.raises(UserError, match="^library='arrow': expected one of pandas, polars$"):
        results.frame("arrow")


def test_rows_have_no_such_key(results):
    with pytest.raises(UserError, match=r"^metrik='gap': expected a key of rows \(did you mean 'metric'\?\)"):
        results.frame(metrik="gap")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda results: results.figures["gop"], r"^figures='gop': expected .*\(did you mean 'gap'\?\): .*gap"),
        (lambda results: results.tables["anser"], r"^tables='anser': expected .*\(did you mean 'answer'\?\): .*answer"),
        (lambda results: results.frame(metric="gop"), r"^metric='gop': expected .*\(did you mean 'gap'\?\): .*gap"),
    ],
    ids=["figure", "table", "metric"],
)
def test_a_name_that_is_not_there_is_one_line_with_what_is(ask, words, results):
    with pytest.raises(UserError, match=words) as raised:
        ask(results)
    one_line(raised.value)
    assert "gop" not in results.figures and results.tables.get("anser") is None


MISTAKES = {
    "an address": ((TINY, "gs://bucket/run"), {}, "workdir='gs:.*a directory"),
    "no file": (("absent.py",), {}, "absent.py"),
    "no config": ((3,), {}, "a ConfigDict"),
    "an unknown key": (({"name": "mine", "speed": 3},), {}, "a known key"),
    "a name with a dot": (({"name": "mine", "mixture": {"a.b": 1}},), {}, "without dots"),
    "a value of another type": ((TINY,), dict(seeds="five"), "an integer"),
    "an override of no key": ((TINY,), {"train.speed": 1}, "a known key"),
    "a file for a directory": ((TINY, TINY), {}, "a directory"),
}


def one_line(error):
    assert "\n" not in str(error) and error._render_traceback_() == [f"error: {error}"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, overrides, words = MISTAKES[mistake]
    with pytest.raises(UserError, match=words) as raised:
        bottleneck.run(*given, **overrides)
    one_line(raised.value)
    assert not list(tmp_path.iterdir())


def test_what_is_not_finished_or_not_there_is_one_line(tiny, tmp_path):
    execute.study(tiny(), tmp_path, stage="pretrain")
    for given, words in (((tmp_path,), "a finished study"), ((tmp_path, "f00"), "hashes"), ((tmp_path / "no",), "no'")):
        with pytest.raises(UserError, match=words) as raised:
            bottleneck.load(*given)
        one_line(raised.value)


def raising(error):
    def study(*_, **__):
        raise error

    return study


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (signals.Stopped("SIGTERM"), KeyboardInterrupt),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), UserError),
        (RuntimeError("a bug"), RuntimeError),
    ],
)
def test_how_a_call_ends(error, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "study", raising(error))
    with pytest.raises(expected):
        bottleneck.run(TINY, tmp_path)


def test_an_interrupted_call_goes_on_where_it_was(results, monkeypatch, tmp_path):
    """To the same rows, whichever steps were trained before the signal."""
    train, calls = Train.run, []

    def interrupted(task, *given):
        train(task, *given)
        calls.append(task.key)
        if len(calls) == 2:
            os.kill(os.getpid(), signals.HANDLED[1])

    monkeypatch.setattr(Train, "run", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the same call goes on"):
        bottleneck.run(TINY, tmp_path)
    assert bottleneck.run(TINY, tmp_path).rows == results.rows and len(set(calls)) == len(calls) > 2


def test_a_thread_of_a_notebook_may_call(results):
    found = []
    thread = threading.Thread(target=lambda: found.append(bottleneck.run(TINY, results.workdir)))
    thread.start()
    thread.join()
    assert found == [results]


def test_the_process_is_left_as_it_was(results):
    before = dict(os.environ), jax.config.jax_compilation_cache_dir, sys.stdout, sys.stderr
    with contextlib.suppress(UserError):
        bottleneck.run(TINY, results.workdir, seeds="five")
    bottleneck.run(TINY, results.workdir)
    assert before == (dict(os.environ), jax.config.jax_compilation_cache_dir, sys.stdout, sys.stderr)


def test_the_package_itself_is_light():
    code = """
import sys, bottleneck
print([name for name in ("jax", "matplotlib", "pandas", "numpy") if name in sys.modules])
print({"run", "load", "analysis"} <= set(dir(bottleneck)), hasattr(bottleneck, "walk"))
print(callable(bottleneck.analysis.gap.gap), "cka" in dir(bottleneck.analysis), hasattr(bottleneck.analysis, "walk"))
print("jax" in sys.modules, callable(bottleneck.features.foreign.save), bottleneck.UserError)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = "[]\nTrue False\nTrue True False\nFalse True <class 'bottleneck.errors.UserError'>\n"
    assert done.stdout == said, done.stderr


def test_a_mistake_in_a_script_is_an_exception_that_ends_in_its_line(tmp_path):
    """As README says."""
    code = f"import bottleneck; bottleneck.run({str(TINY)!r}, seeds='five')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("bottleneck.errors.UserError: --config.seeds='five': expected ")


PROGRAM = """
import pathlib, sys
import bottleneck
for _ in range(2):
    results = bottleneck.run(sys.argv[1], seeds=1)
    print(len(results.rows), results.workdir == pathlib.Path("runs/tiny").absolute(), results.report.is_file())
"""


def test_a_plain_interpreter_may_call_twice(tmp_path):
    """A script is no package: a process that it begins must not carry it out once more."""
    (tmp_path / "script.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "script.py", str(TINY)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    said = [line for line in done.stdout.splitlines() if line.endswith("True True")]
    assert done.returncode == 0 and len(said) == 2 and said[0] == said[1], done.stderr
