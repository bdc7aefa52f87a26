"""Which checks of `chordoma-gate` flag damaged cases, and how many sound ones: a confusion table.

    python benchmarks/gate.py --demo DEMO_DIR      the networks of a finished chordoma-demo, 10 training cases
    python benchmarks/gate.py --draw 67            a cohort of the paper's size drawn and converted here; references
                                                   stand for predictions

Ranges are fitted to training and validation cases. Every test case is then judged as it is and with each damage of
gate_damages.py. Damage to a scan is done to the converted image; the label map is damaged alike, or with --predict
(and --demo) predicted anew from the damaged image by all networks, which takes about a quarter of an hour on two
cores. Alignment is not repeated: its quality measures are those of the sound scan.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from gate_damages import DAMAGES, LABEL_DAMAGES, Scan

from nnunet_chordoma.demo.cohort import CohortPlan, write_case
from nnunet_chordoma.demo.steps import DATASET_ID, FIELD_OF_VIEW, TRAINERS
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.images import Image, read_image, read_label_map, write_image
from nnunet_chordoma.layout import DEMO_CONFIGURATION, PLANS, dataset_name, read_splits
from nnunet_chordoma.verdicts import Level, Verdict, read_verdict

OTHER_PATIENT = "label map of another patient"
BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="folder of a finished chordoma-demo")
    parser.add_argument("--draw", type=int, help="cases to draw: 35 train, 6 are outliers, the rest are test cases")
    parser.add_argument("--predict", action="store_true", help="predict damaged images anew (with --demo)")
    parser.add_argument("--case", nargs="+", help="test cases to damage; by default all")
    parser.add_argument("--out", type=Path, default=Path("gate-benchmark"), help="folder to work in")
    options = parser.parse_args()
    if (options.demo is None) == (options.draw is None):
        parser.error("give either --demo or --draw")
    if options.draw is not None and options.draw < 45:
        parser.error("--draw needs at least 45 cases")
    if options.predict and options.demo is None:
        parser.error("--predict needs the networks of --demo")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    fitted: tuple[str | Path, ...] = ()
    if options.demo:
        dataset, predictions, fitted = of_demo(options.demo.resolve(), out)
    else:
        dataset, predictions = drawn(options.draw, out)
    run("chordoma-gate", "fit", dataset, *fitted, "-o", out / "qa.json", "--overwrite")
    splits = read_splits(dataset / "splits_final.json")
    rows = [
        ("sound test case", judged(predictions, dataset, splits.test, out / "sound")),
        ("outlier", judged(predictions, dataset, splits.outlier, out / "outlier")),
    ]
    shutil.rmtree(out / "damaged", ignore_errors=True)
    chosen = tuple(case for case in splits.test if options.case is None or case in options.case)
    names = write_damaged(dataset, predictions, chosen, out / "damaged")
    if options.predict:
        predict_anew(options.demo.resolve(), out / "damaged", [name for name in DAMAGES for name in names[name]])
    for damage, cases in names.items():
        rows.append((damage, judged(out / "damaged/predictions", out / "damaged", cases, out / "verdicts")))
    print_rows(rows)


def run(command: str, *arguments: object) -> int:
    """Status of a command of this environment; its output goes to this one's stderr."""
    if (BIN / command).is_file():
        call = [str(BIN / command)]
    else:
        module = {"chordoma-gate": "nnunet_chordoma.gate.cli"}[command]
        call = [sys.executable, "-m", module]
    status = subprocess.run([*call, *map(str, arguments)], check=False, stdout=sys.stderr).returncode
    if status not in (0, 3):
        raise SystemExit(f"{command} failed with status {status}")
    return status


def of_demo(demo: Path, out: Path) -> tuple[Path, Path, tuple[str | Path, ...]]:
    """Dataset and the average ensemble's predictions of a finished demo, and the options of the fit."""
    for folder in ("validation", "predictions"):
        models = [f"{model}={demo / folder / model}" for model in TRAINERS]
        run("chordoma-ensemble", "predict", "-w", "average", "-m", *models, "-o", out / folder, "--disagreement")
    return demo / "nnUNet_raw" / dataset_name(DATASET_ID), out / "predictions", ("-p", out / "validation")


def drawn(cases: int, out: Path) -> tuple[Path, Path]:
    """A cohort of phantoms, converted; its references are the predictions."""
    plan = CohortPlan(cases=cases, outliers=6)
    for number in range(cases):
        write_case(plan, number, out / "source")
    dataset = out / "nnUNet_raw" / dataset_name(DATASET_ID)
    counts = ("30", "5", str(cases - 41))
    if not dataset.is_dir():
        command = [BIN / "chordoma-convert", "run", out / "source", "--dataset-id", str(DATASET_ID)]
        command += ["--size", ",".join(map(str, FIELD_OF_VIEW)), "--split", ",".join(counts)]
        subprocess.run(
            [str(part) for part in command],
            check=True,
            stdout=sys.stderr,
            env={"PATH": "/usr/bin:/bin", "nnUNet_raw": str(out / "nnUNet_raw")},
        )
    return dataset, dataset / "labelsTs"


def write_damaged(dataset: Path, predictions: Path, cases: tuple[str, ...], out: Path) -> dict[str, list[str]]:
    """Write every case with every damage as a dataset of its own; names of the cases by damage."""
    names: dict[str, list[str]] = {}
    shutil.copytree(dataset, out, ignore=lambda _, found: [name for name in found if name != "dataset.json"])
    sources = {case: _rows(predictions, case) for case in cases}
    lines: list[dict[str, str]] = []
    damages = {**DAMAGES, **LABEL_DAMAGES, OTHER_PATIENT: lambda scan: scan}
    for number, (damage, function) in enumerate(damages.items()):
        for position, case in enumerate(cases):
            name = f"{case}_d{number:02d}"
            names.setdefault(damage, []).append(name)
            image = read_image(dataset / "imagesTs" / f"{case}_0000.nii.gz")
            predicted = cases[(position + 1) % len(cases)] if damage == OTHER_PATIENT else case
            labels = read_label_map(predictions / f"{predicted}.nii.gz")
            record = read_json(dataset / "conversion" / f"{case}.json")
            scan = function(Scan(image.array, labels.array, image.geometry.spacing_mm, record))
            write_image(out / "imagesTs" / f"{name}_0000.nii.gz", Image(scan.hu.copy(), image.geometry))
            write_image(out / "predictions" / f"{name}.nii.gz", Image(scan.labels.astype("uint8"), image.geometry))
            write_json(out / "conversion" / f"{name}.json", dict(scan.record))
            lines += [row | {"case": name} for row in sources[case]]
    if lines:
        with (out / "predictions" / "disagreement.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    return names


def _rows(predictions: Path, case: str) -> list[dict[str, str]]:
    table = predictions / "disagreement.csv"
    if not table.is_file():
        return []
    with table.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["case"] == case]


def predict_anew(demo: Path, damaged: Path, cases: list[str]) -> None:
    """Replace the label maps of damaged scans by what the demo's networks find in them."""
    images = damaged / "to_predict"
    images.mkdir()
    for case in cases:
        shutil.copyfile(damaged / "imagesTs" / f"{case}_0000.nii.gz", images / f"{case}_0000.nii.gz")
    results = demo / "nnUNet_results" / dataset_name(DATASET_ID)
    models = [f"{name}={results / f'{trainer}__{PLANS}__{DEMO_CONFIGURATION}'}" for name, trainer in TRAINERS.items()]
    run("chordoma-predict", "-i", images, "-o", damaged / "models", "-m", *models, "-device", "cpu")
    maps = [f"{name}={damaged / 'models' / name}" for name in TRAINERS]
    run("chordoma-ensemble", "predict", "-w", "average", "-m", *maps, "-o", damaged / "anew", "--disagreement")
    for case in cases:
        shutil.copyfile(damaged / "anew" / f"{case}.nii.gz", damaged / "predictions" / f"{case}.nii.gz")


def judged(predictions: Path, dataset: Path, cases: tuple[str, ...] | list[str], out: Path) -> list[Verdict]:
    command = ("check", predictions, "--dataset", dataset, "--qa", out.parent / "qa.json", "-o", out, "--case", *cases)
    run("chordoma-gate", *command)
    return [read_verdict(out / f"{case}.json") for case in cases]


def print_rows(rows: list[tuple[str, list[Verdict]]]) -> None:
    """A table in Markdown; each group of checks with the number of cases that it flagged (of them stopped)."""
    print("| case | n | pass | look | stop | flagged by (cases) |")
    print("|---|---|---|---|---|---|")
    for title, verdicts in rows:
        levels = Counter(verdict.level for verdict in verdicts)
        groups = Counter(group for each in verdicts for group in {check.name.split("/")[0] for check in each.flagged})
        flagged = ", ".join(
            f"{group} {count}" for group, count in sorted(groups.items(), key=lambda item: (-item[1], item[0]))
        )
        counts = " | ".join(str(levels[level]) for level in Level)
        print(f"| {title} | {len(verdicts)} | {counts} | {flagged} |")
    print(
        json.dumps({title: dict(Counter(v.level.value for v in verdicts)) for title, verdicts in rows}), file=sys.stderr
    )


if __name__ == "__main__":
    main()
