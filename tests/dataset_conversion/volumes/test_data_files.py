"""Headers that keep their voxels in other files: every file that ITK reads is known, under every spelling."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.volumes.data_files import with_data
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import read_image

VOXELS = np.arange(4 * 5 * 6, dtype="<i2").reshape(4, 5, 6)
SLICES = [f"s{z:02d}.raw" for z in range(4)]
LIST = "LIST\n" + "\n".join(SLICES) + "\n"

METAIMAGE = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
ElementSpacing = 1 1 2
DimSize = 6 5 4
ElementType = MET_SHORT
"""
NRRD = """NRRD0005
type: short
dimension: 3
space: left-posterior-superior
sizes: 6 5 4
space directions: (1,0,0) (0,1,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)
"""

WHOLE = ["v w.raw"]
HEADERS = [
    ("a.mhd", f"{METAIMAGE}ElementDataFile = v w.raw\n", WHOLE),
    ("a.mhd", f"{METAIMAGE}ElementDataFile=v w.raw  \n", WHOLE),
    ("a.mha", f"{METAIMAGE}ElementDataFile : v w.raw\n", WHOLE),
    ("a.mhd", f"{METAIMAGE}ElementDataFile = {LIST}", SLICES),
    ("a.mhd", f"{METAIMAGE}ElementDataFile = {LIST.replace('LIST', 'LIST 2')}", SLICES),
    ("a.mhd", f"{METAIMAGE}ElementDataFile = s%02d.raw 0 3 1\n", SLICES),
    ("a.nrrd", f"{NRRD}data file: v w.raw\n", WHOLE),
    ("a.nrrd", f"{NRRD}datafile: v w.raw\n".replace("\n", "\r\n"), WHOLE),
    ("a.NRRD", f"{NRRD}data file:=x.raw\nDATA FILE: v w.raw\n", WHOLE),
    ("a.nrrd", f"{NRRD}data file: {LIST}", SLICES),
    ("a.nrrd", f"{NRRD}data file: s%02d.raw 0 3 1\n", SLICES),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "v w.raw").write_bytes(VOXELS.tobytes())
    for name, values in zip(SLICES, VOXELS, strict=True):
        (tmp_path / name).write_bytes(values.tobytes())
    return tmp_path


def write(folder, name, header):
    # As bytes, so that line ends stay as they are.
    (folder / name).write_bytes(header.encode())
    return folder / name


@pytest.mark.parametrize(("name", "header", "files"), HEADERS)
def test_files_of_the_voxels(folder, name, header, files):
    path = write(folder, name, header)
    np.testing.assert_array_equal(read_image(path).array, VOXELS)
    assert with_data(path) == (path, *(folder / file for file in files))


@pytest.mark.parametrize(("name", "header", "files"), HEADERS)
def test_missing_file(folder, name, header, files):
    path = write(folder, name, header)
    (folder / files[-1]).unlink()
    with pytest.raises(ChordomaError) as error:
        with_data(path)
    assert str(error.value).startswith(
        f"{path}: expected its voxels in {folder / files[-1]}, as the header says, found"
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["s%02d.raw", "s%02d.raw 0 3", "s%02d.raw 0 3 0", "s%02d%s.raw 0 3 1", "s%x.raw 0 3 1"]
)
def test_numbering_that_is_not_understood(folder, text):
    path = write(folder, "a.mhd", f"{METAIMAGE}ElementDataFile = {text}\n")
    with pytest.raises(ChordomaError, match="write the volume as one file"):
        with_data(path)


def test_numbers_may_run_down(folder):
    path = write(folder, "a.nrrd", f"{NRRD}data file: s%02d.raw 3 0 -1\n")
    assert with_data(path) == (path, *(folder / name for name in reversed(SLICES)))


def test_path_that_is_not_relative(folder, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("other"), "a.nrrd", f"{NRRD}data file: {folder / 'v w.raw'}\n")
    assert with_data(path) == (path, folder / "v w.raw")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.mha", f"{METAIMAGE}ElementDataFile = LOCAL\n"),
        # What follows the header are voxels, whatever they look like.
        ("b.mha", f"{METAIMAGE}ElementDataFile = LOCAL\nElementDataFile = x.raw\n"),
        ("a.nrrd", f"{NRRD}\ndata file: x.raw\n"),
        ("a.nii.gz", "data file: x.raw\n"),
    ],
)
def test_voxels_in_the_file_itself(tmp_path, name, header):
    path = write(tmp_path, name, header)
    assert with_data(path) == (path,)
