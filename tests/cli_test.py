"""What both commands share: a parser that gives the right spelling, exit statuses, output that never fails."""

import errno
import io
import os
import subprocess
import sys

import jax
import pytest

from bottleneck import cli, signals
from bottleneck.errors import UserError


def parser(**options):
    made = cli.Parser("prog", "What it does.", **options)
    made.add_argument("place", nargs="?")
    made.add_argument("--config")
    made.add_argument("--work_dir", metavar="DIR", default="here")
    made.add_argument("--dry_run", action="store_true")
    return made


def test_flags_in_any_order_and_both_spellings():
    read = parser(overrides=True).read(
        ["prog", "--dry_run", "--work_dir", "w", "p", "--config.b.c=x=y", "--config=f.py", "--config.a="]
    )
    assert (read.place, read.config, read.work_dir, read.dry_run) == ("p", "f.py", "w", True)
    assert read.overrides == [("b.c", "x=y"), ("a", "")]
    assert parser().read(["prog"]).work_dir == "here" and parser().read([]).place is None


def test_an_address_is_no_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.place("--workdir", "~/a:b") == tmp_path / "a:b" and cli.place("--workdir", None) is None
    with pytest.raises(UserError, match="--workdir='gs://b/x': expected a directory"):
        cli.place("--workdir", "gs://b/x")


MISTAKES = {
    "--config.seeds 3": "--config.seeds='3': expected --config.seeds=3, with an equals sign",
    "--config.seeds -3": "--config.seeds='-3': expected --config.seeds=-3, with an equals sign",
    "--config.seeds --dry_run": "--config.seeds='': expected --config.seeds=VALUE, with an equals sign",
    "--config.seeds": "--config.seeds='': expected --config.seeds=VALUE",
    "--dry-run": "--dry-run='': expected a known flag (did you mean '--dry_run'?)",
    "--workdir=w": "--workdir='w': expected a known flag (did you mean '--work_dir'?)",
    "--workdir w": "--workdir='w': expected a known flag (did you mean '--work_dir'?)",
    "-work_dir w": "-work_dir='w': expected a known flag (did you mean '--work_dir'?)",
    "--qqq --dry_run": "--qqq='': expected a known flag; see --help",
    "--dry_run=yes": "--dry_run='yes': expected no value: --dry_run alone switches it on",
    "--work_dir=": "--work_dir='': expected --work_dir=DIR",
    "--work_dir": "command line='--work_dir': expected other arguments (argument --work_dir: expected one argument)",
    "a b": "command line='b': expected no further argument (--help lists the flags)",
    "--seeds=3": "--seeds='3': expected write seeds of 3",
    "a seeds=3": "command line='seeds=3': expected write seeds of 3 (--help lists the flags)",
    "--": "--='': expected a known flag",
}


@pytest.mark.parametrize("given", MISTAKES)
def test_mistakes_come_with_the_right_spelling(given):
    def spell(name, text):
        return f"write seeds of {text}" if name.strip("-") == "seeds" else ""

    with pytest.raises(UserError) as error:
        parser(overrides=True, spell=spell).read(["prog", *given.split()])
    assert str(error.value).startswith(MISTAKES[given])


def test_help_wins_over_mistakes_and_says_the_exit_statuses(capsys):
    assert parser().read(["prog", "--nonsense", "--help"]) is None and parser().read(["prog", "-h"]) is None
    said = capsys.readouterr().out
    assert "What it does." in said and "--work_dir DIR" in said
    for status, word in ((0, "done"), (1, "traceback"), (2, "mistake"), (3, "run the same command again")):
        assert any(line.split()[:1] == [str(status)] and word in line for line in said.splitlines())


def test_a_command_that_carries_out_no_study_waits_for_no_others(capsys):
    assert cli.Parser("prog", "What it does.", resumes=False).read(["prog", "--help"]) is None
    said = capsys.readouterr().out
    assert "  3  stopped by a signal" in said and "shards" not in said


def raising(error):
    def command(argv):
        raise error

    return command


FULL = OSError(errno.ENOSPC, "No space left on device", "rows/a.jsonl")


def wrapped():
    try:
        raise FULL
    except OSError as error:
        try:
            raise RuntimeError("saving failed") from error
        except RuntimeError as outer:
            return outer


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("key", 3, "4"), 2, "error: key=3: expected 4\n"),
        (KeyboardInterrupt(), 3, "stopped: saved; the same command goes on\n"),
        (signals.Stopped("SIGINT"), 3, "stopped: saved; the same command goes on\n"),
        (FULL, 2, "error: disk='rows/a.jsonl': expected space"),
        (wrapped(), 2, "error: disk='rows/a.jsonl': expected space"),
        (ValueError("tensorstore: write failed: No space left on device"), 2, "error: disk='write': expected space"),
    ],
)
def test_exit_statuses(error, status, said, capsys):
    assert cli.carry_out(raising(error), ["prog"]) == status
    out, err = capsys.readouterr()
    assert not out and err.startswith(said) and err.count("\n") == 1


def test_other_errors_are_raised_and_statuses_passed_on():
    for error in (OSError(errno.EIO, "broken disk"), ValueError("a bug")):
        with pytest.raises(type(error)):
            cli.carry_out(raising(error), [])
    assert [cli.carry_out(lambda argv: status, []) for status in (None, 0, 1, 3)] == [0, 0, 1, 3]  # noqa: B023


def test_what_an_encoding_lacks_is_replaced(monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)

    def command(argv):
        print("gap 0.5 – 0.7 \udcff")
        sys.stdout.write("λ")

    assert cli.carry_out(command, []) == 0
    assert raw.getvalue() == b"gap 0.5 ? 0.7 ?\n?" and sys.stdout is stream and stream.errors == "strict"


def test_a_stream_that_is_closed_or_none(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        assert cli.carry_out(lambda argv: print("nobody reads this", flush=True), []) == 0
        assert cli.carry_out(raising(UserError("key", 3, "4")), []) == 2 and sys.stdout is stream


PROGRAM = """
import pathlib, sys
from bottleneck import cli
def command(argv):
    for i in range(20000):
        print("line", i, "\\u03bb", flush=i % 100 == 0)
    print("complaint", file=sys.stderr)
    pathlib.Path(argv[1]).write_text("all")
sys.exit(cli.carry_out(command, sys.argv))
"""


@pytest.mark.parametrize("how", ["read to the first line", "nobody", "closed from the start", "C locale"])
def test_nothing_fails_when_nobody_reads(how, tmp_path):
    """As a process: `| head -1`, a pipe without a reader, `>&-`, LANG=C: exit status 0, all work done, no complaint."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "result")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"} if how == "C locale" else {**os.environ}
    if how == "closed from the start":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        if how == "read to the first line":
            assert child.stdout.readline()
        if how == "C locale":
            assert child.stdout.read().endswith(b"line 19999 ?\n")
        child.stdout.close()
        complaint = child.stderr.read()
    assert (child.returncode, complaint) == (0, b"complaint\n")
    assert (tmp_path / "result").read_text() == "all"


def test_the_process_is_left_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")
    before, directory = dict(os.environ), jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs

    def command(argv):
        os.environ.update(CHANGED="2", NEW="3")
        del os.environ["KEPT"]
        with cli.jax_as_found():
            jax.config.update("jax_compilation_cache_dir", str(tmp_path))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 7)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
            raise UserError("key", 1, "2")

    assert cli.carry_out(command, []) == 2
    assert dict(os.environ) == before
    assert jax.config.jax_compilation_cache_dir == directory
    assert jax.config.jax_persistent_cache_min_compile_time_secs == seconds


def test_every_call_may_have_a_compilation_cache_of_its_own(monkeypatch, tmp_path):
    for name in ("one", "two"):
        with cli.jax_as_found():
            jax.config.update("jax_compilation_cache_dir", str(tmp_path / name))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
            jax.jit(lambda x: x * len(name) + len(str(tmp_path)))(3.0).block_until_ready()  # noqa: B023
            jax.clear_caches()
        assert list((tmp_path / name).iterdir()), name


@pytest.mark.parametrize("backend", ["nonsense", "svg", "module://somebodys", ""])
def test_figures_need_no_backend(backend):
    """matplotlib cannot even be imported where MPLBACKEND names no backend; where it names one, it stays chosen."""
    program = """
import os, sys
from bottleneck import cli
def command(argv):
    from matplotlib.figure import Figure
    import io
    Figure().savefig(io.StringIO(), format="svg")
status = cli.carry_out(command, [])
import matplotlib
print(status, os.environ["MPLBACKEND"], dict.__getitem__(matplotlib.rcParams, "backend"))
"""
    environment = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    status, *words = done.stdout.split(" ")
    assert (done.returncode, status, words[0]) == (0, "0", backend), done.stderr
    if backend not in ("nonsense", ""):
        assert words[1].strip().lower() == backend
