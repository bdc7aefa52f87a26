import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_chordoma.training.search.command import SearchOptions, run_search
from nnunet_chordoma.training.search.training import Command

HERE = Path(__file__).parent
NUMBERS = "model/fold_0/chordoma_progress.json"


class Searches:
    """Searches of fake trainings on a planned dataset."""

    def __init__(self, preprocessed) -> None:
        self.folder = preprocessed.folder / "search"
        self.preprocessed = preprocessed
        self.plan()

    def plan(self, **settings: object) -> None:
        plans = json.dumps(self.preprocessed.plans(**settings))
        (self.preprocessed.base / "ChordomaPlans.json").write_text(plans)

    def options(self, **changes: object) -> dict[str, object]:
        usual = {"dataset_id": 900, "trainer": "ChordomaTrainerCE", "trials": 3, "configuration": "3d_chordoma_demo"}
        few = {"epochs": 4, "patches_per_image": 2, "device": "cpu", "out": self.folder}
        return {**usual, **few, **changes}

    def space(self, **sets: object) -> Path:
        file = self.preprocessed.folder / "space.json"
        file.write_text(json.dumps(sets))
        return file

    def arguments(self, todo: object) -> tuple[str, ...]:
        return (sys.executable, str(HERE / "fake_training.py"), NUMBERS, json.dumps(todo))

    def run(self, todo: object = None, **changes: object) -> list[dict[str, str]]:
        run_search(SearchOptions(**self.options(**changes)), Command(self.arguments(todo or {}), Path(NUMBERS)))
        return self.rows()

    def join(self, todo: object = None, **changes: object) -> "subprocess.Popen[str]":
        """The same in a process of its own."""
        options = {k: str(v) if isinstance(v, Path) else v for k, v in self.options(**changes).items()}
        job = {"options": options, "arguments": self.arguments(todo or {}), "numbers": NUMBERS}
        file = self.preprocessed.folder / "job.json"
        file.write_text(json.dumps(job))
        command = [sys.executable, str(HERE / "join_search.py"), str(file)]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "trials.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def trial(self, name: str) -> Path:
        return self.folder / "trials" / name / "model" / "fold_0"


@pytest.fixture
def searches(preprocessed):
    return Searches(preprocessed)
