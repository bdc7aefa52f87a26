"""The rating sheet as the page reads and writes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer
from nnunet_chordoma.rating_sheet import Rating, read_sheet, with_rating, write_sheet
from nnunet_chordoma.viewer.page import Json

LONGEST_BODY = 16_384
"""Bytes of one rating."""
LONGEST_COMMENT = 4_000
WAIT_S = 5.0
NAMES = ("patient", "contours", "structure")
"""What names a row of the sheet."""

Key: TypeAlias = tuple[str, str, str]
Change: TypeAlias = Callable[[Rating], Rating]


@dataclass
class RatingSheet:
    """One sheet, read anew for each rating, so that what was written elsewhere in the meantime stays."""

    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self) -> Json:
        try:
            return [asdict(rating) for rating in read_sheet(self.path)]
        except OSError as error:
            raise ChordomaError(f"{self.path}: cannot be read ({error.strerror}); mend that and reload") from None

    def rate(self, body: bytes) -> Json:
        """Put the minutes or comments of one row, or both, given as JSON, into the sheet; return all rows.

        What is not given stays as it is in the sheet. Raises ChordomaError for JSON of another form, a row that the
        sheet lacks, and a sheet that stays locked or cannot be written.
        """
        key, change = _parsed(body)
        with self._lock:
            try:
                self._write(key, change)
            except OSError as error:
                raise ChordomaError(
                    f"{self.path}: cannot be written ({error.strerror}); mend that, rate again"
                ) from None
        return self.rows()

    def _write(self, key: Key, change: Change) -> None:
        refusal = f"{self.path}: another viewer writes here; close it and rate again"
        give_up = time.monotonic() + WAIT_S
        while True:
            try:
                with only_writer(self.path.parent, refusal):
                    ratings = read_sheet(self.path)
                    new = change(next((each for each in ratings if each.key == key), Rating(*key)))
                    write_sheet(self.path, with_rating(ratings, *key, new.minutes, new.comments))
                    return
            except ChordomaError as error:
                if str(error) != refusal or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)


def _parsed(body: bytes) -> tuple[Key, Change]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ChordomaError("a rating is JSON, found something else") from None
    if not isinstance(content, dict) or not set(NAMES) < set(content) <= {*NAMES, "minutes", "comments"}:
        raise ChordomaError(
            f"a rating has the entries {', '.join(NAMES)}, and minutes or comments; found something else"
        )
    minutes, comments = content.get("minutes"), content.get("comments", "")
    number = minutes is None or (isinstance(minutes, (int, float)) and not isinstance(minutes, bool))
    texts = [comments, *(content[name] for name in NAMES)]
    if not number or not all(isinstance(text, str) and len(text) <= LONGEST_COMMENT for text in texts):
        raise ChordomaError(
            f"a rating has texts of at most {LONGEST_COMMENT} characters and minutes as a number or null"
        )
    given: dict[str, Any] = {}
    if "minutes" in content:
        given["minutes"] = None if minutes is None else _as_float(minutes)
    if "comments" in content:
        # A row of the sheet is one line, and its file takes no control characters.
        given["comments"] = " ".join("".join(c if c.isprintable() else " " for c in comments).split())
    patient, contours, structure = texts[1:]
    return (patient, contours, structure), lambda rating: replace(rating, **given)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ChordomaError("a rating has minutes as a number, found one without end") from None
