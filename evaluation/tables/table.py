"""A printed table, whatever it is printed as: HTML, Markdown, LaTeX and CSV are made from the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

LONGEST_PART = 60
"""Characters of a split or model in a file's name."""

LONGEST_WORDS = 50
"""Characters of a cell that is still a name or a few words."""


class Kind(Enum):
    """What a column holds, which decides how it is aligned."""

    VALUE = "value"
    TEXT = "text"
    OVERALL = "overall"
    """The mean over the other columns, set apart from them."""


class Layout(Enum):
    """How wide the page lets a table be."""

    EQUAL = "equal"
    """As wide as the page, structures in columns of equal width."""
    NARROW = "narrow"
    """As wide as its content."""


@dataclass(frozen=True)
class Column:
    """`detail` is the small print of the heading, which on a page leads to the address `link`.

    A `muted` row is for reference and stands back.
    """

    title: str
    detail: str = ""
    kind: Kind = Kind.VALUE


@dataclass(frozen=True)
class Entry:
    """A cell: the value, its small print (range), what is missing from it, and whether it is the best of a column."""

    text: str
    detail: str = ""
    remark: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """`detail` is the small print of the heading, which on a page leads to the address `link`.

    A `muted` row is for reference and stands back.
    """

    head: str
    entries: tuple[Entry, ...]
    detail: str = ""
    muted: bool = False
    link: str = ""


@dataclass(frozen=True)
class Group:
    """Rows under a common heading, which is empty in a table of one group."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table as people read it, and `records` as programs do (unrounded, one row per value).

    `name` is the stem of its files; `stub` the heading of the rows' heads, above which stand `columns`.
    """

    name: str
    title: str
    stub: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    record_columns: tuple[str, ...]
    records: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    layout: Layout = Layout.EQUAL

    @property
    def has_prose(self) -> bool:
        """Whether some cell holds a sentence, which has to wrap."""
        entries = (entry for group in self.groups for row in group.rows for entry in row.entries)
        return any(len(entry.text) > LONGEST_WORDS for entry in entries)


def text_table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
) -> Table:
    """A plain table of words whose records are its very cells; the first column holds the rows' heads."""
    return Table(
        name,
        title,
        columns[0].title,
        tuple(columns[1:]),
        (Group("", tuple(Row(row[0], tuple(Entry(text) for text in row[1:])) for row in rows)),),
        tuple(column.title for column in columns),
        tuple(tuple(row) for row in rows),
        tuple(notes),
        Layout.NARROW,
    )


def file_stem(*parts: str) -> str:
    """Stem of a table's files, whatever splits and models are called: what must be altered or cut gets a hash."""
    return "_".join(_plain(part) for part in parts)


def _plain(part: str) -> str:
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "-_" else "_" for c in part)[:LONGEST_PART]
    return plain if plain == part else f"{plain}_{hashlib.sha256(part.encode()).hexdigest()[:8]}"
