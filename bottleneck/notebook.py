"""Studies and audits from a notebook or a script: `run` carries one out, `load` reads what one has found.

    results = bottleneck.run("configs/mixture.py:smoke")
    results.verdicts; results.frame(metric="gap", seed="all"); results.figures["gap"]

Both may be called any number of times, and leave the process as they found it. A user's mistake is the exception
bottleneck.UserError, of which a notebook shows the one line.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import pathlib
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import ml_collections

from bottleneck import analyze, cli, execute, kinds, results, rows, signals, typed
from bottleneck import config as configs
from bottleneck.data.component import Component
from bottleneck.errors import UserError, nearest
from bottleneck.report import html, inline, tables

LIBRARIES = ("pandas", "polars")
WIDTH = 120  # characters, of a line of text


def run(config, workdir: str | os.PathLike | None = None, **overrides) -> Results:
    """Carries out a study or an audit as the command does, and returns what it found; nothing is done twice.

    `config` is a ConfigDict, a dictionary, or the text of the command line, "configs/mixture.py:smoke"; it stays as it
    is. `workdir`: runs/NAME by default. `overrides` set keys of the config: `seeds=3`, `train=dict(steps=300)`, or
    `**{"train.steps": 300}`.

    Raises UserError; KeyboardInterrupt after a signal, with everything saved: the same call goes on from there.
    """
    with cli.as_found(), cli.jax_as_found():
        try:
            config = configured(config, overrides)
            place = _place(workdir or pathlib.Path("runs") / kinds.spec(config).name)
            if execute.study(config, place, printed=False) != execute.DONE:
                raise UserError("workdir", str(place), "a study of which nothing is left to other shards or processes")
            return of_outcome(results.from_disk(place, config), place)
        except signals.Stopped:
            raise KeyboardInterrupt("stopped: saved; the same call goes on") from None
        except UserError:
            raise
        except Exception as error:
            if full := cli.full_disk(error):
                raise full from None
            raise


def components(config, **overrides) -> dict[str, Component]:
    """The components and targets of a study or an audit, by name: their items, splits and ids as it sees them, to save
    features by (features.foreign). `config` and `overrides` as of `run`. Raises UserError."""
    with cli.as_found(), cli.jax_as_found():
        return kinds.components(configured(config, overrides))


def load(workdir: str | os.PathLike, config_hash: str = "") -> Results:
    """What a finished study in `workdir` has found, the newest or the one whose config has this hash (or this beginning
    of it): from its rows alone, without its data. Raises UserError where there is none, or it is not finished."""
    place = _place(workdir)
    return of_outcome(results.from_disk(place, analyze.stored(place, config_hash)), place)


def _place(workdir: str | os.PathLike) -> pathlib.Path:
    return cli.place("workdir", os.fspath(workdir)).absolute()


def of_outcome(outcome: results.Outcome, workdir: pathlib.Path) -> Results:
    return Results(outcome.name, outcome.rows, outcome.provenance, outcome.reading, workdir)


def configured(config, overrides: Mapping) -> ml_collections.ConfigDict:
    """A copy of the config, or what its file returns, with these overrides. Raises UserError."""
    given = [(key, value if isinstance(value, str) else repr(value)) for key, value in _leaves(overrides)]
    if isinstance(config, str | os.PathLike):
        config = configs.load(os.fspath(config))
    if not isinstance(config, Mapping | ml_collections.ConfigDict):
        raise UserError("config", config, "a ConfigDict, a dictionary, or text such as 'configs/mixture.py:smoke'")
    try:
        copied = ml_collections.ConfigDict(typed.to_dict(config))
    except (TypeError, ValueError) as error:
        raise UserError("config", typed.to_dict(config), f"keys that are names without dots ({error})") from None
    return kinds.overridden(copied, given)


def _leaves(node: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every value that is no dictionary of further keys."""
    for name, value in node.items():
        value = value.tolist() if hasattr(value, "tolist") else value  # what is NumPy's
        if isinstance(value, Mapping | ml_collections.ConfigDict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@dataclass(frozen=True, repr=False)
class Results:
    """What a finished study found. A notebook shows its report, a terminal its sentences.

    `rows`: every number, one plain dictionary each (`bottleneck.rows.KEYS`), of which all else is made by the functions
    that make the report. `provenance`: what made them; `reading`: the lines that say what was read of a component.
    """

    name: str
    rows: list[dict]
    provenance: dict
    reading: dict[str, list[str]]
    workdir: pathlib.Path

    @property
    def verdicts(self) -> list[dict]:
        """One dictionary for every target and subject (whose features): the verdict and whether it is provisional, the
        information of both sides, the gap with the ends of its interval (None where it has none), the numbers of seeds
        and test items, the sentence."""
        return tables.verdicts(self.rows)

    @property
    def sentences(self) -> list[str]:
        """All that the study says in words, the verdicts' sentences first."""
        return tables.every_sentence(self.rows)

    @property
    def tables(self) -> dict:
        """name -> table of the report: shown by a notebook, text where it is printed. Another name is a UserError."""
        return _Named("tables", {table.name: inline.InlineTable.of(table) for table in self._content.tables})

    @property
    def figures(self) -> dict:
        """name -> figure of the report: shown by a notebook; its `svg()` is a file's content. Another name is a
        UserError."""
        return _Named("figures", {figure.name: inline.InlineFigure.of(figure) for figure in self._content.figures})

    @property
    def report(self) -> pathlib.Path:
        """The report's file in the work directory, which holds the study that was finished there last."""
        return self.workdir / html.FILE

    def frame(self, library: str = "pandas", **select):
        """The rows whose keys equal all of `select` as a data frame of pandas or polars.

        The interval's ends are the columns `low` and `high`, in the place of `ci95`. In polars, whose columns have one
        type, what is mixed or nested is text (JSON). Raises UserError where the library is not installed, or no row has
        such a key, or such a metric.
        """
        if unknown := [key for key in select if key not in rows.KEYS]:
            expected = f"a key of rows{nearest(unknown[0], rows.KEYS)}; they are {', '.join(rows.KEYS)}"
            raise UserError(unknown[0], select[unknown[0]], expected)
        metrics = sorted({row["metric"] for row in self.rows})
        if "metric" in select and select["metric"] not in metrics:
            raise UserError("metric", select["metric"], _one_of(select["metric"], metrics))
        module = _library(library)
        columns = _columns(rows.select(self.rows, **select))
        return module.DataFrame({k: _uniform(v) for k, v in columns.items()} if library == "polars" else columns)

    def __repr__(self):
        said = [textwrap.fill(words, WIDTH, subsequent_indent="  ") for words in self.sentences]
        return "\n".join([f"Results of study {self.name!r} in {self.workdir}:", *said])

    def _repr_html_(self) -> str:
        page = html.render(self._content, self.provenance, self.reading)
        return inline.frame(page, f"The report of study {self.name}")

    @functools.cached_property
    def _content(self):
        """What the report shows, drawn once."""
        return html.read(self.rows)


class _Named(dict):
    """What a study has, by name; a name that is not there is a UserError at `key`."""

    def __init__(self, key: str, held: dict):
        super().__init__(held)
        self.key = key

    def __missing__(self, name):
        raise UserError(self.key, name, _one_of(name, self))


def _one_of(name, known) -> str:
    """What was expected in the place of a name that is not known, the nearest first."""
    return f"what this study has{nearest(name, known)}: {', '.join(known) or 'nothing'}"


def _library(name: str):
    """The library of data frames. Raises UserError where it is not known, or not installed."""
    if name not in LIBRARIES:
        raise UserError("library", name, f"one of {', '.join(LIBRARIES)}")
    try:
        with warnings.catch_warnings():  # pandas looks for another package of our name, and warns that we are not it
            warnings.filterwarnings("ignore", ".*'bottleneck'", UserWarning)
            return importlib.import_module(name)
    except ImportError as error:
        raise UserError("library", name, f"an installed library ({error}): pip install {name}") from None


def _columns(chosen: list[dict]) -> dict[str, list]:
    """The columns of a data frame: row keys, with the ends of the interval in the place of `ci95`."""
    columns = {}
    for key in rows.KEYS:
        values = [row[key] for row in chosen]
        if key == "ci95":
            columns |= {end: [held and held[i] for held in values] for i, end in enumerate(("low", "high"))}
        else:
            columns[key] = values
    return columns


def _uniform(values: list) -> list:
    """The values of a column in one type: numbers, words, or else the text of all that are there."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if kinds <= {str} or len(kinds) == 1 and kinds <= {int, float, bool}:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
