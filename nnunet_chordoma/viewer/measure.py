"""Where two sets of contours differ most, and volumes and Dice, from the label maps of one case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.viewer.contents import LABEL_ROLES, Overlay, ReviewItem, StructureRow, ViewerCase

SLICES_OF_A_STRUCTURE = 3


def shown_first(case: ViewerCase) -> tuple[Overlay | None, Overlay | None]:
    """The set of contours in question (ensemble, else the first model) and what it is compared with, None if missing.

    Without a reference that is another model; a reference alone is itself in question. Blinded contours are never
    compared: what they differ in could tell them apart.
    """
    by_role = {role: [each for each in case.overlays if each.role == role] for role in LABEL_ROLES}
    predicted = [*by_role["ensemble"], *by_role["model"]]
    references = by_role["reference"]
    if not predicted:
        return (references[0] if references else None), None
    return predicted[0], (references[0] if references else next(iter(predicted[1:]), None))


def measured(case: ViewerCase, scheme: LabelScheme) -> tuple[tuple[ReviewItem, ...], tuple[StructureRow, ...]]:
    """Slices to look at, worst first, and a row per structure; both empty for a case without contours.

    Slices are ranked by the area (cm2) on which the two sets of `shown_first` differ; with one set alone, by the area
    of the structure, largest first.
    """
    from nnunet_chordoma.images import read_label_map

    shown, other = shown_first(case)
    if shown is None:
        return (), ()
    image = read_label_map(shown.file)
    counterpart = image if other is None else read_label_map(other.file)
    counts = _joint_counts(image.array, counterpart.array, len(scheme))
    grid = image.geometry
    pixel_cm2 = grid.spacing_mm[0] * grid.spacing_mm[1] / 100
    pair = f"{shown.name} and {other.name} differ" if other is not None else None
    ranked: list[tuple[int, ReviewItem]] = []
    rows = []
    for structure in scheme.structures:
        value = scheme.value(structure)
        one, two, both = counts[:, value].sum(axis=1), counts[:, :, value].sum(axis=1), counts[:, value, value]
        ranked += _ranked_slices(structure, one if pair is None else one + two - 2 * both, pair, pixel_cm2)
        volume = ("volume_cm3", float(one.sum()) * grid.voxel_volume_cm3)
        total = int(one.sum() + two.sum())
        # The rule of evaluation: a structure that the reference lacks is not evaluated.
        in_reference = other is None or other.role != "reference" or bool(two.any())
        dice = (("Dice", 2 * float(both.sum()) / total),) if pair is not None and total and in_reference else ()
        rows.append(StructureRow(structure, (*dice, volume), in_reference=in_reference))
    ranked.sort(key=lambda entry: -entry[0])
    return tuple(item for _, item in ranked), tuple(rows)


def _joint_counts(one: NDArray[np.int16], two: NDArray[np.int16], labels: int) -> NDArray[np.int64]:
    """Voxels of each slice with each pair of labels (z, label of one, label of two); other labels are left out."""
    counts = np.zeros((len(one), labels, labels), dtype=np.int64)
    for index, (first, second) in enumerate(zip(one, two, strict=True)):
        known = (first < labels) & (second < labels)
        pairs = first[known].astype(np.intp) * labels + second[known]
        counts[index] = np.bincount(pairs, minlength=labels**2).reshape(labels, labels)
    return counts


def _ranked_slices(
    structure: str, counts: NDArray[np.int64], pair: str | None, pixel_cm2: float
) -> list[tuple[int, ReviewItem]]:
    # Without anything to compare with, one slice shows where the structure is.
    listed = np.argsort(-counts, kind="stable")[: 1 if pair is None else SLICES_OF_A_STRUCTURE]
    return [
        (int(counts[i]), ReviewItem(int(i), structure, f"{pair or 'largest section'}, {counts[i] * pixel_cm2:.1f} cm²"))
        for i in listed
        if counts[i]
    ]
