"""A dataset of boxes whose places are known in the picture, a server of it, and a browser."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase
from nnunet_chordoma.viewer.server import ViewerServer

GRID = Geometry((40, 32, 20), (2.0, 2.0, 3.0), (-39.0, -31.0, -28.5))
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def draw_labels(shift=0):
    """A tumour in slices 5 to 14, a muscle in 3 to 8; `shift` moves the tumour along x in slices 9 and up."""
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[:, 2:30, 3:37] = CHORDOMA.value("body")
    labels[5:9, 12:20, 14:26] = CHORDOMA.value("gtv")
    labels[9:15, 12:20, 14 + shift : 26 + shift] = CHORDOMA.value("gtv")
    labels[3:9, 22:27, 5:12] = CHORDOMA.value("gluteus_maximus")
    return labels


def write_case(folder, name="case_1", shift=2, split="Tr", grid=GRID):
    """One case of a dataset, and a prediction whose tumour is moved."""
    labels = draw_labels()
    hu = np.where(labels > 0, 40, -1000).astype(np.int16)
    write_image(folder / f"images{split}" / f"{name}_0000.nii.gz", Image(hu, grid))
    write_image(folder / f"labels{split}" / f"{name}.nii.gz", Image(labels, grid))
    write_image(folder / "predictions" / f"{name}.nii.gz", Image(draw_labels(shift), grid))
    write_json(folder / "dataset.json", {"labels": CHORDOMA.to_nnunet()})


@pytest.fixture
def dataset(tmp_path):
    write_case(tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture(scope="session")
def add_case():
    return write_case


@pytest.fixture(scope="session")
def grid():
    return GRID


def contents_of(folder, name="case_1", sheet=None, roles=("reference", "ensemble")):
    files = (folder / "labelsTr" / f"{name}.nii.gz", folder / "predictions" / f"{name}.nii.gz")
    names = ("A", "B") if "blinded" in roles else roles
    overlays = tuple(Overlay(*each) for each in zip(names, roles, files, strict=True))
    case = ViewerCase(name, folder / "imagesTr" / f"{name}_0000.nii.gz", overlays)
    return Contents("Boxes", CHORDOMA, (case,), sheet)


@pytest.fixture(scope="session")
def make_contents():
    return contents_of


class Served:
    def __init__(self, contents):
        self.server = ViewerServer(contents)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="session")
def serve():
    running = []

    def start(contents):
        running.append(Served(contents))
        return running[-1].server

    yield start
    for each in running:
        each.end()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(BENCHMARKS))
        from headless_browser import CHROMIUM, Browser
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()
