"""The command line that `main` and `analyze` share: one parser, exit statuses, and output that never fails.

A command depends on its argv alone, any number of times in one process, and leaves the process as it was: standard
streams, environment, JAX's compilation cache, matplotlib's backend.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from bottleneck import signals
from bottleneck.errors import UserError, nearest
from bottleneck.processes import LOST, Lost

DONE, FAILED, MISTAKE, UNFINISHED = 0, 1, 2, 3
STATUSES = """\
exit status:
  0  done
  1  anything that is none of the others (a traceback says what)
  2  a mistake in the command, the config or the data, or a full disk: one line says which
"""
_RESUMED = """\
  3  unfinished, run the same command again: tasks wait for other shards, a signal came and all was saved, or another
     process of the job is gone"""
_SIMPLE = "  3  stopped by a signal before its end: run the same command again"
_CACHE = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
_FULL = {code: os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT)}


def carry_out(command: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Runs `command(argv)` and returns the exit status, its own or that of how it ended. What is none of the user's
    mistakes is raised. Signals are ours from here on, before anything large is imported."""
    with as_found():
        try:
            with signals.graceful():
                return command(argv) or DONE
        except UserError as error:
            return _mistake(error)
        except (KeyboardInterrupt, signals.Stopped):
            print("stopped: saved; the same command goes on", file=sys.stderr)
            return UNFINISHED
        except Lost:
            print(f"stopped: {LOST}", file=sys.stderr)
            return UNFINISHED
        except Exception as error:
            if full := full_disk(error):
                return _mistake(full)
            raise


@contextlib.contextmanager
def as_found() -> Iterator[None]:
    """Around whatever carries out a study: writing to standard streams never fails inside it, and they and the
    environment are put back in the end."""
    with _output(), _environment():
        yield


def _mistake(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return MISTAKE


def full_disk(error: BaseException | None) -> UserError | None:
    """The one line for a disk that is full, where that is what an error came from."""
    while error is not None:
        said = [text for code, text in _FULL.items() if getattr(error, "errno", None) == code or text in str(error)]
        if said:
            place = getattr(error, "filename", None) or "write"
            return UserError("disk", place, f"space for what is written ({said[0]}); the same command goes on then")
        error = error.__cause__ or error.__context__
    return None


class Parser(argparse.ArgumentParser):
    """Flags of a command; a mistake is a UserError that gives the right spelling.

    `overrides`: whether --config.a.b=value sets a key of the config. `spell(key, text)` may know how what looks like a
    key of the config is written on the command line. `resumes`: whether it carries out a study, which goes on where it
    was stopped.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        overrides: bool = False,
        spell: Callable[[str, str], str] | None = None,
        resumes: bool = True,
    ):
        super().__init__(
            prog=prog,
            description=description,
            epilog=STATUSES + (_RESUMED if resumes else _SIMPLE),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("--help", "-h", action="store_true", help="print this")
        self.overrides, self.spell, self.given = overrides, spell or (lambda key, text: ""), ""

    def read(self, argv: list[str]) -> argparse.Namespace | None:
        """The flags' values and `overrides`, pairs of key and text; None where help was asked for and printed."""
        self.given = " ".join(argv[1:])
        if {"--help", "-h"} & set(argv[1:]):
            print(self.format_help())
            return None
        overrides, rest = [], []
        for argument, following in itertools.pairwise([*argv[1:], ""]):
            name, equals, text = argument.partition("=")
            if self.overrides and name.startswith("--config."):
                if not equals:
                    shown = "" if following.startswith("--") else following  # the next flag is no value
                    raise UserError(name, shown, f"{name}={shown or 'VALUE'}, with an equals sign")
                overrides.append((name.removeprefix("--config."), text))
                continue
            if name.startswith("-"):
                self._check(name, equals, text, following)
            rest.append(argument)
        values, extra = self.parse_known_args(rest)
        if extra:
            right = self.spell(*extra[0].partition("=")[::2]) or "no further argument"
            raise UserError("command line", extra[0], f"{right} (--help lists the flags)")
        values.overrides = overrides
        return values

    def _check(self, name: str, equals: str, text: str, following: str) -> None:
        """Raises UserError for a flag that is not known, or that is given a value it does not take."""
        action = self._option_string_actions.get(name)
        if action is None:
            shown = text if equals else "" if following.startswith("-") else following
            right = self.spell(name, shown) or f"a known flag{nearest(name, self._option_string_actions)}; see --help"
            raise UserError(name, shown, right)
        if equals and action.nargs == 0:
            raise UserError(name, text, f"no value: {name} alone switches it on")
        if equals and not text:
            raise UserError(name, text, f"{name}={action.metavar or 'VALUE'}")

    def error(self, message: str):
        _, absent, names = message.partition("arguments are required: ")
        if absent:
            expected = f"{names.replace(', ', ' and ')} to be given (--help lists the arguments)"
            raise UserError("command line", self.given, expected)
        raise UserError("command line", self.given, f"other arguments ({message}); --help lists them")


def place(flag: str, text: str | None) -> pathlib.Path | None:
    """The directory that `flag` names, `~` expanded. Raises UserError for an address (gs://...), of which pathlib would
    make a directory here."""
    if text and "://" in text:
        raise UserError(flag, text, "a directory of a file system (what an address names can be mounted)")
    return pathlib.Path(text).expanduser() if text else None


@contextlib.contextmanager
def jax_as_found():
    """Loads JAX, and puts the settings of its compilation cache back in the end."""
    with signals.noted():
        import jax
        from jax.experimental.compilation_cache import compilation_cache

    before = {name: getattr(jax.config, name) for name in _CACHE}
    compilation_cache.reset_cache()  # JAX looks where the cache lies once, at the first compilation
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _environment():
    """Puts the environment back in the end. MPLBACKEND is hidden: our figures need no backend, and matplotlib cannot be
    loaded where it names none."""
    before = dict(os.environ)
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        if backend and (matplotlib := sys.modules.get("matplotlib")):
            with contextlib.suppress(ValueError):  # it names none
                matplotlib.rcParams["backend"] = backend


@contextlib.contextmanager
def _output():
    """Standard output and error that never fail; characters that an encoding lacks become question marks."""
    streams = sys.stdout, sys.stderr
    with contextlib.redirect_stdout(Output(streams[0])), contextlib.redirect_stderr(Output(streams[1])):
        try:
            yield
        finally:
            for stream in streams:
                _flush(stream)


class Output:
    """A text stream (or None) on which writing never fails: nobody may be reading any more, or the disk be full."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a broken pipe, a closed stream, None
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _flush(stream) -> None:
    """Flushes a stream; one that nobody reads any more is led nowhere, or the interpreter would fail at its end."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
    except (ValueError, AttributeError):
        pass
