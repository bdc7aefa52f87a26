"""What a person should know about a converted dataset before training on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_chordoma.dataset_conversion.record import TRAINING, CaseRecord
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import Splits

UNSEEN = frozenset({"test", "outlier"})


def dataset_remarks(records: Sequence[CaseRecord], splits: Splits, replaced: Splits | None) -> tuple[str, ...]:
    """Remarks on a dataset; `replaced` are the splits of the dataset that it takes the place of, if there is one."""
    return (
        *_no_validation(splits),
        *_taught_as_body(records, splits.split_of),
        *(() if replaced is None else _moved(replaced.split_of, splits.split_of)),
    )


def _no_validation(splits: Splits) -> list[str]:
    if splits.val:
        return []
    return ["no validation case: training and the fit of ensemble weights need at least one"]


def _taught_as_body(records: Sequence[CaseRecord], split_of: Mapping[str, str]) -> list[str]:
    """A muscle without a contour is labelled as body, which is what the network then learns to call it."""
    trained_on = [record for record in records if split_of[record.case] in TRAINING]
    remarks = []
    for structure in CHORDOMA.structures:
        without = [record.case for record in trained_on if structure in record.absent]
        if not without:
            continue
        if len(without) == len(trained_on):
            remarks.append(f"no training or validation case has {structure}: no model can learn it")
            continue
        remarks.append(
            f"{structure} is not contoured in {len(without)} of {len(trained_on)} training and validation cases "
            f"({_listed(without)}): where it is there all the same, they teach that it is body; contour it or leave "
            "these cases out"
        )
    return remarks


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    moved = [case for case, split in now.items() if before.get(case, split) != split]
    if not moved:
        return []
    seen = [case for case in moved if before[case] in TRAINING and now[case] in UNSEEN]
    known = f", of them {_listed(seen)} from training to test: models trained before have seen them" if seen else ""
    return [
        f"{len(moved)} case(s) changed their split against the dataset that was replaced{known}; to keep the old "
        "split, give its splits_final.json with --splits"
    ]


def _listed(cases: Sequence[str]) -> str:
    return ", ".join(cases[:5]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")
