"""What every section of the page has."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from nnunet_chordoma.evaluation.tables.table import Table


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    `template` lays out `content`, a dataclass of text and data URIs, which it sees under that name; `anchor` is the
    section's place in the page's address. Each of `tables` and of the other `files`, (name, text), goes into the
    folder `tables` beside the page.
    """

    anchor: str
    title: str
    template: str
    content: object
    tables: tuple[Table, ...] = ()
    files: tuple[tuple[str, str], ...] = ()


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address, so that the page needs no other file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
