"""The demonstration as a list of steps: the very commands a user would type, in order."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.demo.cohort import NEW_PATIENT, CohortPlan
from nnunet_chordoma.layout import DEMO_CONFIGURATION, PLANS, SPLITS_FILE, dataset_name

DATASET_ID = 900
SMALL_EPOCHS = 6
"""Epochs of the small configuration, unless the options say otherwise."""

CHECKED = "optimal_ensemble"
"""The predictions that the gate judges."""
VERDICTS, SEGMENTED = "verdicts", "segmented"
NOT_ALL = 3
"""Exit status where the gate says stop, which is an answer."""

FIELD_OF_VIEW = (44, 40, 52)
"""Voxels (x, y, z) of the converted phantom."""

TRAINERS: Mapping[str, str] = {
    "unet_dice": "ChordomaTrainerDice",
    "unet_ce": "ChordomaTrainerCE",
    "unet_wce": "ChordomaTrainerWCE",
    "resunet_dice": "ChordomaTrainerResDice",
    "resunet_ce": "ChordomaTrainerResCE",
    "resunet_wce": "ChordomaTrainerResWCE",
}
"""Model name to trainer, in the order of the paper's weights (section 2.4.2)."""


@dataclass(frozen=True)
class DemoOptions:
    out: Path
    cohort: CohortPlan
    validation_cases: int = 2
    test_cases: int = 4
    epochs: int | None = None
    patches_per_image: int | None = None
    device: str = "cpu"

    @property
    def training_cases(self) -> int:
        return self.cohort.cases - self.cohort.outliers - self.validation_cases - self.test_cases


@dataclass(frozen=True)
class Step:
    """One command. `expected_s` is its share of the time on two CPU cores, `epochs` those that its log counts.

    Both only serve the estimate of the time left. `accepted` are the exit statuses of a command that did its work.
    """

    name: str
    stage: str
    command: tuple[str, ...]
    expected_s: float
    epochs: int = 0
    accepted: tuple[int, ...] = (0,)

    @property
    def shell(self) -> str:
        """The command as a user would type it."""
        return shlex.join([Path(self.command[0]).name, *self.command[1:]])


def _command(name: str, *arguments: object) -> tuple[str, ...]:
    # The scripts of this very environment, whatever PATH says.
    return (str(Path(sys.executable).parent / name), *(str(a) for a in arguments))


def folders(out: Path) -> dict[str, str]:
    """nnU-Net's three folders below the output folder, as environment variables."""
    return {name: str(out / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}


def stages(options: DemoOptions) -> list[list[Step]]:
    """All steps after the phantom is drawn; the steps of one inner list do not depend on each other."""
    out = options.out
    raw = out / "nnUNet_raw" / dataset_name(DATASET_ID)
    results = out / "nnUNet_results" / dataset_name(DATASET_ID)
    counts = (options.training_cases, options.validation_cases, options.test_cases)
    settings = [*(("--epochs", options.epochs) if options.epochs else ())]
    settings += [*(("--patches-per-image", options.patches_per_image) if options.patches_per_image else ())]

    convert = Step(
        "convert",
        "converting DICOM and volumes to nnU-Net",
        _command(
            "chordoma-convert",
            *("run", out / "source", "--dataset-id", DATASET_ID),
            *("--size", ",".join(map(str, FIELD_OF_VIEW)), "--split", ",".join(map(str, counts)), "--overwrite"),
        ),
        20,
    )
    plan = Step(
        "plan",
        "planning and preprocessing",
        _command("chordoma-plan", DATASET_ID, "-c", DEMO_CONFIGURATION, *settings),
        25,
    )
    train = [
        Step(
            f"train_{model}",
            "training",
            _command(
                "nnUNetv2_train",
                *(DATASET_ID, DEMO_CONFIGURATION, 0, "-tr", trainer, "-p", PLANS),
                # Continues where an interrupted training stopped, else starts anew.
                *("--c", "-device", options.device),
            ),
            75,
            epochs=options.epochs or SMALL_EPOCHS,
        )
        for model, trainer in TRAINERS.items()
    ]
    trained = [
        f"{model}={results / f'{trainer}__{PLANS}__{DEMO_CONFIGURATION}'}" for model, trainer in TRAINERS.items()
    ]
    predicted = {
        "validation": (raw / "imagesTr", ("--splits", raw / SPLITS_FILE, "--split", "val")),
        "predictions": (raw / "imagesTs", ()),
    }
    predict = [
        Step(
            f"predict_{folder}",
            "predicting validation and test cases",
            _command(
                "chordoma-predict",
                *("-i", images, *which, "-o", out / folder, "-m", *trained, "-device", options.device),
            ),
            60,
        )
        for folder, (images, which) in predicted.items()
    ]
    validation = [f"{model}={out / 'validation' / model}" for model in TRAINERS]
    predictions = [f"{model}={out / 'predictions' / model}" for model in TRAINERS]
    ensembles = {"average_ensemble": "average", CHECKED: str(out / "weights.json")}
    fit = Step(
        "fit",
        "fitting the optimal ensemble on the validation cases",
        _command(
            "chordoma-ensemble",
            *("fit", "-m", *validation, "-r", raw / "labelsTr", "-o", out / "weights.json"),
        ),
        15,
    )
    combine = [
        Step(
            f"predict_{name}",
            "predicting with the ensembles",
            _command(
                "chordoma-ensemble",
                *("predict", "-w", weights, "-m", *predictions, "-o", out / "predictions" / name),
                *(("--disagreement",) if name == CHECKED else ()),
            ),
            10,
        )
        for name, weights in ensembles.items()
    ]
    combine.append(
        Step(
            f"predict_validation_{CHECKED}",
            "predicting with the ensembles",
            _command(
                "chordoma-ensemble",
                *("predict", "-w", ensembles[CHECKED], "-m", *validation, "-o", out / "validation" / CHECKED),
                "--disagreement",
            ),
            8,
        )
    )
    qa, verdicts = out / "qa.json", out / VERDICTS
    learn = Step(
        "gate_fit",
        "learning what is normal, for the gate",
        # What an interrupted run has written is replaced.
        _command("chordoma-gate", *("fit", raw, "-p", out / "validation" / CHECKED, "-o", qa, "--overwrite")),
        6,
    )
    check = Step(
        "gate_check",
        "checking the predictions of test and outlier cases",
        _command(
            "chordoma-gate",
            *("check", out / "predictions" / CHECKED, "--dataset", raw, "--qa", qa, "-o", verdicts),
        ),
        5,
        accepted=(0, NOT_ALL),
    )
    segment = Step(
        "segment",
        "a new patient, from CT to contours",
        _command(
            "chordoma-segment",
            *(out / "new" / NEW_PATIENT, "--dataset", raw, "-m", *trained, "-w", ensembles[CHECKED], "--qa", qa),
            *("-o", out / SEGMENTED, "-device", options.device),
        ),
        30,
        accepted=(0, NOT_ALL),
    )
    scores = out / "scores.csv"
    score = Step(
        "score",
        "scoring",
        _command(
            "chordoma-eval",
            *("score", "-m", *predictions),
            *(f"{name}={out / 'predictions' / name}" for name in ensembles),
            *("-r", raw / "labelsTs", "--splits", raw / SPLITS_FILE, "-o", scores),
        ),
        25,
    )
    compare = Step(
        "compare",
        "comparing the models",
        _command(
            "chordoma-eval",
            *("compare", scores, "-o", out / "comparison.csv"),
            *(word for name in ensembles for word in ("--baseline", name)),
        ),
        10,
    )
    report = Step(
        "report",
        "writing the report",
        _command(
            "chordoma-eval",
            *("report", scores, "-o", out / "report", "--weights", out / "weights.json", "--gate", verdicts),
        ),
        20,
    )
    judge = [[learn], [check]]
    return [[convert], [plan], train, predict, [fit], combine, *judge, [score], [compare], [report], [segment]]
