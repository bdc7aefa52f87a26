"""Ways from two label maps to metrics, behind one interface: ours, surface-distance's, and others where installed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.metrics import PreparedReference
from nnunet_chordoma.evaluation.surface import vectorised
from nnunet_chordoma.evaluation.surface.elements import Kernels
from nnunet_chordoma.labels import LabelScheme

Labels = NDArray[np.uint8]
Scores = dict[str, dict[str, float]]
TOLERANCES_MM = (2.0, 3.0)
REFERENCE = "surface-distance"
INSTALL = "pip install --no-deps --target TOOLS medpy monai"


@dataclass(frozen=True)
class Tool:
    """`prepare` takes a reference with its spacing and scheme and gives a function that scores a prediction."""

    name: str
    version: str
    metrics: str
    prepare: Callable[[Labels, Sequence[float], LabelScheme], Callable[[Labels], Scores]]


def ours(name: str, kernels: Kernels | None) -> Tool:
    def prepare(reference: Labels, spacing_mm: Sequence[float], scheme: LabelScheme) -> Callable[[Labels], Scores]:
        return PreparedReference(reference, spacing_mm, scheme, TOLERANCES_MM, kernels=kernels).scores

    return Tool(name, importlib.metadata.version("nnunet-chordoma"), "all", prepare)


def compiled() -> Tool:
    from nnunet_chordoma.evaluation.surface import compiled as kernels

    return ours("compiled", kernels)


def numpy_alone() -> Tool:
    return ours("NumPy alone", vectorised)


def _by_structure(score: Callable[[Any, Any, Sequence[float]], dict[str, float]]) -> Callable[..., Any]:
    """Prepare nothing and hand masks of one structure after the other to `score`."""

    def prepare(reference: Labels, spacing_mm: Sequence[float], scheme: LabelScheme) -> Callable[[Labels], Scores]:
        def scores(prediction: Labels) -> Scores:
            values = {name: scheme.value(name) for name in scheme.structures}
            return {n: score(reference == v, prediction == v, spacing_mm) for n, v in values.items()}

        return scores

    return prepare


def surface_distance() -> Tool:
    import surface_distance as package

    warnings.filterwarnings("ignore", category=DeprecationWarning, module="surface_distance")

    def score(reference: Any, prediction: Any, spacing_mm: Sequence[float]) -> dict[str, float]:
        surfaces = package.compute_surface_distances(reference, prediction, spacing_mm)
        forth, back = package.compute_average_surface_distance(surfaces)
        found = {
            f"SDSC{tolerance:g}": package.compute_surface_dice_at_tolerance(surfaces, tolerance)
            for tolerance in TOLERANCES_MM
        }
        return found | {
            "VDSC": package.compute_dice_coefficient(reference, prediction),
            "ASD_ref_to_pred": forth,
            "ASD_pred_to_ref": back,
            "HD95": package.compute_robust_hausdorff(surfaces, 95),
        }

    version = importlib.metadata.version("surface-distance")
    return Tool(REFERENCE, version, "VDSC, SDSC, ASD, HD95", _by_structure(score))


def medpy() -> Tool:
    from medpy.metric import binary

    def score(reference: Any, prediction: Any, spacing_mm: Sequence[float]) -> dict[str, float]:
        return {
            "VDSC": binary.dc(prediction, reference),
            "ASSD": binary.assd(prediction, reference, voxelspacing=spacing_mm),
            "HD95": binary.hd95(prediction, reference, voxelspacing=spacing_mm),
        }

    return Tool("MedPy", importlib.metadata.version("medpy"), "VDSC, ASSD, HD95", _by_structure(score))


def monai() -> Tool:
    import torch
    from monai import metrics

    torch.set_num_threads(1)

    def prepare(reference: Labels, spacing_mm: Sequence[float], scheme: LabelScheme) -> Callable[[Labels], Scores]:
        values = [scheme.value(name) for name in scheme.structures]
        spacing = list(spacing_mm)

        def one_hot(labels: Labels) -> Any:
            return torch.from_numpy(np.stack([labels == value for value in values])[None])

        def scores(prediction: Labels) -> Scores:
            pair = one_hot(prediction), one_hot(reference)
            found = {
                "VDSC": metrics.compute_dice(*pair),
                "ASSD": metrics.compute_average_surface_distance(
                    *pair, include_background=True, symmetric=True, spacing=spacing
                ),
                "HD95": metrics.compute_hausdorff_distance(
                    *pair, include_background=True, percentile=95, spacing=spacing
                ),
            }
            for tolerance in TOLERANCES_MM:
                found[f"SDSC{tolerance:g}"] = metrics.compute_surface_dice(
                    *pair, [tolerance] * len(values), include_background=True, spacing=spacing, use_subvoxels=True
                )
            return {
                name: {key: float(value[0, index]) for key, value in found.items()}
                for index, name in enumerate(scheme.structures)
            }

        return scores

    return Tool("MONAI", importlib.metadata.version("monai"), "VDSC, SDSC, ASSD, HD95", prepare)


def nnunet() -> Tool:
    from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

    def score(reference: Any, prediction: Any, _: Sequence[float]) -> dict[str, float]:
        tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction)
        return {"VDSC": 2 * tp / (2 * tp + fp + fn), "IoU": tp / (tp + fp + fn)}

    return Tool("nnU-Net's evaluator", importlib.metadata.version("nnunetv2"), "VDSC, IoU", _by_structure(score))


MAKERS = {
    REFERENCE: surface_distance,
    "compiled": compiled,
    "NumPy alone": numpy_alone,
    "MedPy": medpy,
    "MONAI": monai,
    "nnU-Net's evaluator": nnunet,
}


def available() -> list[Tool]:
    """surface-distance first, then ours, then the others that can be imported."""
    tools = []
    for make in MAKERS.values():
        with contextlib.suppress(ImportError):
            tools.append(make())
    return tools
