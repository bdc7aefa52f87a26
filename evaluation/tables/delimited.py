"""Tables as CSV, for programs."""

from __future__ import annotations

import csv
import io

from nnunet_chordoma.evaluation.tables.table import Table


def delimited(table: Table) -> str:
    """The table's records: one row per value, unrounded, in the units of the printed tables (%, mm)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.record_columns)
    writer.writerows(table.records)
    return stream.getvalue()
