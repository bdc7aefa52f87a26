"""The rating sheet as the page reads and writes it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer
from nnunet_chordoma.rating_sheet import Rating, read_sheet, with_rating, write_sheet
from nnunet_chordoma.viewer.page import Json

LONGEST_BODY = 16_384
"""Bytes of one rating."""
LONGEST_COMMENT = 4_000
WAIT_S = 5.0


@dataclass
class RatingSheet:
    """One sheet, read anew for each rating, so that what was written elsewhere in the meantime stays."""

    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self) -> Json:
        return [asdict(rating) for rating in read_sheet(self.path)]

    def rate(self, body: bytes) -> Json:
        """Put one rating, given as JSON, into the sheet; return all rows.

        Raises ChordomaError for JSON of another form, a row that the sheet lacks, and a sheet that stays locked.
        """
        rating = _parsed(body)
        with self._lock:
            self._write(rating)
        return self.rows()

    def _write(self, rating: Rating) -> None:
        refusal = f"{self.path}: another viewer writes here; close it and rate again"
        give_up = time.monotonic() + WAIT_S
        while True:
            try:
                with only_writer(self.path.parent, refusal):
                    ratings = read_sheet(self.path)
                    write_sheet(self.path, with_rating(ratings, *rating.key, rating.minutes, rating.comments))
                    return
            except ChordomaError as error:
                if str(error) != refusal or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)


def _parsed(body: bytes) -> Rating:
    try:
        content = json.loads(body)
    except ValueError:
        raise ChordomaError("a rating is JSON, found something else") from None
    keys = {"patient", "contours", "structure", "minutes", "comments"}
    if not isinstance(content, dict) or set(content) != keys:
        raise ChordomaError(f"a rating has the entries {', '.join(sorted(keys))}, found something else")
    texts = [content[key] for key in ("patient", "contours", "structure", "comments")]
    minutes = content["minutes"]
    number = minutes is None or (isinstance(minutes, (int, float)) and not isinstance(minutes, bool))
    if not number or not all(isinstance(text, str) and len(text) <= LONGEST_COMMENT for text in texts):
        raise ChordomaError(
            f"a rating has texts of at most {LONGEST_COMMENT} characters and minutes as a number or null"
        )
    patient, contours, structure, comments = texts
    # A row of the sheet is one line.
    return Rating(patient, contours, structure, minutes, " ".join(comments.split()))
