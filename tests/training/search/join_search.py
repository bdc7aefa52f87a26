"""A process that takes part in a search of fake trainings: python join_search.py JOB, a JSON file."""

import json
import sys
from pathlib import Path

from nnunet_chordoma.training.search.command import SearchOptions, run_search
from nnunet_chordoma.training.search.training import Command

job = json.loads(Path(sys.argv[1]).read_text())
options = {name: Path(v) if name in ("out", "space") else v for name, v in job["options"].items()}
try:
    run_search(SearchOptions(**options), Command(tuple(job["arguments"]), Path(job["numbers"])))
except KeyboardInterrupt:
    sys.exit(130)
