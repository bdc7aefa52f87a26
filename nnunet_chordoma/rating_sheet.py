"""The sheet in which an expert notes how long contours took to correct: what the viewer and the review share."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_text, written_aside

COLUMNS = ("patient", "contours", "structure", "minutes", "comments")
SPREADSHEET = ".xlsx"

_WIDTHS = (14, 12, 20, 12, 70)
_TITLE = "ratings"
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"\d*,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}", re.ASCII)


@dataclass(frozen=True)
class Rating:
    """Minutes of editing until one structure of one set of contours is clinically acceptable.

    `minutes` is None until rated; 0 means that there is nothing to edit.
    """

    patient: str
    contours: str
    structure: str
    minutes: float | None = None
    comments: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the row."""
        return self.patient, self.contours, self.structure


def read_sheet(path: Path) -> tuple[Rating, ...]:
    """Ratings of a sheet in .csv or .xlsx, in its order.

    A CSV may also be one that a spreadsheet saved: with a byte order mark, separated by semicolons or tabs, with
    decimal commas, empty rows and empty columns on the right. Raises ChordomaError, naming the file and the row as a
    spreadsheet counts it, for other columns, rows without a name, rows that are there twice, and minutes that are no
    number >= 0.
    """
    stored = _rows_of_spreadsheet(path) if _is_spreadsheet(path) else _rows_of_text(path)
    rows = [(number, _without_empty_columns(cells)) for number, cells in stored]
    if not rows or tuple(rows[0][1]) != COLUMNS:
        found = ",".join(rows[0][1]) if rows else "nothing"
        raise ChordomaError(
            f"{path}: expected a rating sheet with the columns {','.join(COLUMNS)}, found {found[:100]}; "
            "restore its first row"
        )
    ratings = [_rating(cells, f"{path}: row {number}") for number, cells in rows[1:]]
    seen: dict[tuple[str, str, str], int] = {}
    for (number, _), rating in zip(rows[1:], ratings, strict=True):
        if rating.key in seen:
            raise ChordomaError(
                f"{path}: row {number}: {_named(rating.key)} is in row {seen[rating.key]} already; keep one"
            )
        seen[rating.key] = number
    return tuple(ratings)


def write_sheet(path: Path, ratings: Iterable[Rating]) -> None:
    """Write a sheet as .csv or .xlsx, complete or not at all; the same ratings always give the same CSV bytes."""
    if _is_spreadsheet(path):
        with written_aside(path) as aside:
            _write_spreadsheet(aside, ratings)
        return
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*rating.key, _number(rating.minutes), rating.comments) for rating in ratings)
    write_text(path, stream.getvalue())


def with_rating(
    ratings: Sequence[Rating], patient: str, contours: str, structure: str, minutes: float | None, comments: str
) -> tuple[Rating, ...]:
    """The ratings with minutes and comments of one row replaced; the others and their order stay.

    Raises ChordomaError if there is no such row or the minutes are no number >= 0.
    """
    key = (patient, contours, structure)
    if key not in {rating.key for rating in ratings}:
        raise ChordomaError(f"the rating sheet has no row for {_named(key)}; rate what it lists")
    if minutes is not None and not _valid(minutes):
        raise ChordomaError(f"{_named(key)}: expected minutes >= 0, found {minutes}; 0 is nothing to edit")
    return tuple(replace(r, minutes=minutes, comments=comments) if r.key == key else r for r in ratings)


def _is_spreadsheet(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", SPREADSHEET):
        raise ChordomaError(f"{path}: a rating sheet is a .csv or {SPREADSHEET} file; save it as one of them")
    return path.suffix.lower() == SPREADSHEET


def _rating(cells: list[str], where: str) -> Rating:
    if len(cells) != len(COLUMNS):
        raise ChordomaError(f"{where}: expected {len(COLUMNS)} cells, found {len(cells)}; quote commas in comments")
    patient, contours, structure, minutes, comments = cells
    if not (patient and contours and structure):
        raise ChordomaError(f"{where}: expected patient, contours and structure, found {cells[:3]}; restore the row")
    return Rating(patient, contours, structure, _minutes(minutes, where), comments)


def _minutes(text: str, where: str) -> float | None:
    if not text:
        return None
    if _THOUSANDS.fullmatch(text):
        raise ChordomaError(
            f"{where}: expected minutes as a number >= 0 without separators of thousands, found '{text}'; write it "
            "with a decimal point, or without the comma"
        )
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not _valid(value):
        raise ChordomaError(
            f"{where}: expected minutes as a number >= 0 such as 7.5, found '{text[:40]}'; "
            "write 0 for nothing to edit, and words into the comments"
        )
    return value


def _without_empty_columns(cells: list[str]) -> list[str]:
    """Columns that were once used count as part of a sheet."""
    while len(cells) > len(COLUMNS) and not cells[-1]:
        cells = cells[:-1]
    return cells


def _valid(minutes: float) -> bool:
    return math.isfinite(minutes) and minutes >= 0


def _number(minutes: float | None) -> str:
    return "" if minutes is None else repr(float(minutes)).removesuffix(".0")


def _named(key: tuple[str, str, str]) -> str:
    return f"{key[0]}, contours {key[1]}, {key[2]}"


def _rows_of_text(path: Path) -> list[tuple[int, list[str]]]:
    """Number of the line on which a row ends, and its cells; empty rows are left out."""
    try:
        # Spreadsheets put a byte order mark first.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ChordomaError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ChordomaError(f"{path}: not in UTF-8; save the sheet as CSV UTF-8, or as {SPREADSHEET}") from None
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise ChordomaError(f"{path}: row {reader.line_num}: not readable as CSV ({error}); correct it") from None
    if delimiter != ",":
        # Where commas do not separate cells they are no separators of thousands either, but decimal signs.
        rows = [[c.replace(",", ".") if i == COLUMNS.index("minutes") else c for i, c in enumerate(r)] for r in rows]
    return [(number, row) for number, row in enumerate(rows, start=1) if any(row)]


def _delimiter(text: str) -> str:
    """Comma, semicolon or tab, whichever follows the name of the first column, quoted or not."""
    after = re.match(rf'"?{COLUMNS[0]}"?([;\t])', text)
    return after.group(1) if after else ","


def _rows_of_spreadsheet(path: Path) -> list[tuple[int, list[str]]]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    if not path.is_file():
        raise ChordomaError(f"{path}: no such file")
    try:
        book = load_workbook(path, data_only=True)
        # The reviewer may have put another one first.
        sheet = next((each for each in book.worksheets if each.title == _TITLE), book.worksheets[0])
    except (BadZipFile, InvalidFileException, KeyError, ValueError, IndexError, OSError) as error:
        raise ChordomaError(f"{path}: not a readable {SPREADSHEET} file ({error}); save it again") from None
    rows = []
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [_cell(value) for value in values]
        if any(cells):
            rows.append((number, cells))
    return rows


def _cell(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(float(value))
    return "" if value is None else str(value).strip()


def _write_spreadsheet(path: Path, ratings: Iterable[Rating]) -> None:
    from openpyxl import Workbook
    from openpyxl.cell.cell import TYPE_STRING
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = _TITLE
    sheet.append(COLUMNS)
    for row, rating in enumerate(ratings, start=2):
        for column, value in enumerate((*rating.key, rating.minutes, rating.comments), start=1):
            if value is None or value == "":
                continue
            cell = sheet.cell(row, column, value)
            if isinstance(value, str):
                # A comment that begins with = is words, not a formula.
                cell.data_type = TYPE_STRING
    for column, width in enumerate(_WIDTHS, start=1):
        sheet.cell(1, column).font = Font(bold=True)
        sheet.column_dimensions[get_column_letter(column)].width = width
    sheet.freeze_panes = "A2"
    book.save(path)
