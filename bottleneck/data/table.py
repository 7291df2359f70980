"""The `metadata` table of a folder: which image is in which split, with its label and factors."""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import io
import os
import pathlib
import posixpath
import stat
import unicodedata

from bottleneck.data import content
from bottleneck.errors import UserError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_CODES = {**SPLITS, "0": "train", "1": "val", "2": "test"}  # numbers as in Waterbirds
_DELIMITERS = (",", ";", "\t")
_MISSING = ("", "nan", "<na>")  # what pandas and NumPy write where there is nothing


@dataclasses.dataclass(frozen=True)
class Rows:
    """Images that are asked for. splits, labels: text, one an image, like the files, their paths below the folder.
    columns: factor -> text, one an image. left_out: (reason, example) of what is not read. remarks: for the reader.
    """

    splits: list[str]
    labels: list[str]
    files: list[content.File]
    columns: dict[str, list[str]]
    left_out: list[tuple[str, str]]
    remarks: list[str]


def read(spec, root: pathlib.Path, table: pathlib.Path) -> Rows:
    """The rows of `table`, for spec a FolderSpec. Raises UserError with the number of the line."""
    lines = _lines(table)
    header, delimiter = _header(spec, table, lines)
    others = [name for name in header if name not in (spec.image, spec.split, spec.label, *spec.ignore)]
    rows = Rows([], [], [], {name: [] for name in others if name}, [], [])
    first_line, reader = {}, csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        next(reader)
        for values in filter(None, reader):
            line = reader.line_num
            if len(values) != len(header):
                raise UserError("source.metadata", str(table), f"{len(header)} columns in line {line}")
            record = {name: unicodedata.normalize("NFC", value.strip()) for name, value in zip(header, values)}
            split, label = _CODES.get(record[spec.split].lower()), record[spec.label]
            if split is None:
                raise UserError(
                    "source.metadata", record[spec.split], f"train, val or test (or 0, 1, 2) in line {line}"
                )
            if label.lower() in _MISSING:
                raise UserError("source.metadata", label, f"a label in line {line} of {table.name}")
            file = _file(root, values[header.index(spec.image)].strip(), line)
            earlier = first_line.setdefault(unicodedata.normalize("NFC", file.path), line)
            if earlier != line:
                expected = f"every image once; lines {earlier} and {line} of {table.name} name the same"
                raise UserError("source.metadata", record[spec.image], expected)
            rows.splits.append(split)
            rows.labels.append(label)
            rows.files.append(file)
            for name, column in rows.columns.items():
                column.append(record[name])
    except csv.Error as error:
        raise UserError(
            "source.metadata", str(table), f"a readable CSV file (line {reader.line_num}: {error})"
        ) from None
    if "" in others:
        rows.remarks.append(f"a column of {table.name} without a name is ignored")
    for name, column in rows.columns.items():
        if missing := sum(value.lower() in _MISSING for value in column):
            rows.remarks.append(f"factor {name!r} is empty in {missing:,} rows of {table.name}: a value of its own")
    return rows


def _lines(table):
    """The lines of the table, decoded: UTF-8, or UTF-16 with a byte order mark."""
    try:
        held = table.read_bytes()
        wide = held.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = held.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = held[: error.start].count(b"\n") + 1
        known = f"in UTF-8, or UTF-16 with a byte order mark (byte {held[error.start]:#x} in line {line} is neither"
        raise UserError("source.metadata", str(table), f"a readable CSV file {known}; save it as UTF-8)") from None
    except OSError as error:
        raise UserError("source.metadata", str(table), f"a readable CSV file ({error.strerror})") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        expected = f"a readable CSV file (line {line} holds a NUL: UTF-16 without a byte order mark?)"
        raise UserError("source.metadata", str(table), expected)
    return list(io.StringIO(text, newline=""))


def _header(spec, table, lines):
    """(column names, delimiter): by the first delimiter that gives all columns asked for."""
    wanted, headers = (spec.image, spec.split, spec.label), {}
    for delimiter in _DELIMITERS:
        values = next(csv.reader(lines[:1], delimiter=delimiter), [])
        headers[delimiter] = [unicodedata.normalize("NFC", value.strip()) for value in values]
    complete = [delimiter for delimiter in _DELIMITERS if set(wanted) <= set(headers[delimiter])]
    if not complete:
        header = max(headers.values(), key=len)
        key = next(key for key in ("image", "split", "label") if getattr(spec, key) not in header)
        expected = f"a column of {table.name}; here: {', '.join(header)}"
        raise UserError(f"source.{key}", getattr(spec, key), expected)
    header = headers[complete[0]]
    for name in header:
        if name and header.count(name) > 1:
            raise UserError("source.metadata", name, f"column names that differ, in line 1 of {table.name}")
    return header, complete[0]


def _file(root, given, line):
    """The file below `root`, its path as on disk: Unicode names may be composed there, or decomposed."""
    if not given:
        raise UserError("source.metadata", given, f"the path of an image in line {line}")
    path = posixpath.normpath(os.path.relpath(given, root) if os.path.isabs(given) else given)
    for form in dict.fromkeys((path, *(unicodedata.normalize(kind, path) for kind in ("NFC", "NFD")))):
        with contextlib.suppress(OSError, ValueError):  # ValueError: a NUL in the name
            found = os.stat(os.path.join(root, form))
            if stat.S_ISREG(found.st_mode):
                return content.file(form, found)
    raise UserError("source.path", str(root / path), f"an image file (there is none; line {line})")
