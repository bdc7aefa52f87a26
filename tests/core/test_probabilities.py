import contextlib
import io
import pickle
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from nnunet_chordoma import npz_stream
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import find_probability_maps

SCHEME = LabelScheme(("background", "body", "gtv"))
GRID = Geometry((4, 3, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "a.nii.gz", Image(np.zeros(GRID.shape_zyx, np.uint8), GRID))
    return tmp_path


def valid(dtype=np.float32):
    values = np.random.default_rng(0).random((3, 2, 3, 4))
    return (values / values.sum(0)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_probabilities_come_back_as_float32(folder, dtype):
    np.savez_compressed(folder / "a.npz", probabilities=valid(dtype))
    maps = find_probability_maps("m", folder)["a"]
    assert maps.shape() == (3, 2, 3, 4)
    assert maps.geometry() == GRID
    read = maps.read(SCHEME)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, valid(), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.9])
def test_the_offending_voxel_is_named(folder, bad):
    values = valid()
    values[1, 1, 2, 3] = bad
    np.savez_compressed(folder / "a.npz", probabilities=values)
    with pytest.raises(ChordomaError, match=r"case 'a'.*z=1, y=2, x=3"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


def test_negative_probabilities_that_sum_to_one(folder):
    values = valid()
    values[:, 0, 0, 0] = (1.5, -0.5, 0.0)
    np.savez_compressed(folder / "a.npz", probabilities=values)
    with pytest.raises(ChordomaError, match="negative probability for label 1"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


@pytest.mark.parametrize("shape", [(2, 2, 3, 4), (3, 4, 3, 2), (3, 2, 3, 5)])
def test_another_grid_or_label_count(folder, shape):
    np.savez_compressed(folder / "a.npz", probabilities=np.full(shape, 1 / shape[0], np.float32))
    with pytest.raises(ChordomaError, match="expected shape"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.98])
def test_truncated_archives(folder, keep):
    np.savez_compressed(folder / "a.npz", probabilities=valid())
    data = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(data[: int(len(data) * keep)])
    maps = find_probability_maps("m", folder)["a"]
    for read in (lambda: maps.read(SCHEME), maps.shape):
        with pytest.raises(ChordomaError, match="truncated"):
            read()


def test_damage_inside_the_archive(folder):
    np.savez_compressed(folder / "a.npz", probabilities=valid())
    data = bytearray((folder / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / "a.npz").write_bytes(bytes(data))
    with pytest.raises(ChordomaError, match=r"model 'm', case 'a'.*a\.npz: truncated or damaged"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_nothing_is_unpickled(folder, monkeypatch):
    monkeypatch.chdir(folder)
    np.savez(folder / "a.npz", probabilities=np.array([Payload()], dtype=object))
    (folder / "a.pkl").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ChordomaError):
        find_probability_maps("m", folder)["a"].read(SCHEME)
    assert not (folder / "executed").exists()


def test_another_key_says_how_to_predict(folder):
    np.savez(folder / "a.npz", softmax=valid())
    maps = find_probability_maps("m", folder)["a"]
    for read in (lambda: maps.read(SCHEME), maps.shape):
        with pytest.raises(ChordomaError, match="--save_probabilities"):
            read()


def test_label_maps_stored_as_probabilities_are_refused(folder):
    np.savez(folder / "a.npz", probabilities=np.ones((3, 2, 3, 4), np.int64))
    with pytest.raises(ChordomaError, match="floating-point"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


def test_folders_without_probabilities_or_label_maps(folder):
    with pytest.raises(ChordomaError, match=r"no \.npz"):
        find_probability_maps("m", folder)
    np.savez(folder / "b.npz", probabilities=valid())
    with pytest.raises(ChordomaError, match=r"case 'b': expected the label map b\.nii\.gz"):
        find_probability_maps("m", folder)


def put_together(maps, **options):
    """What `blocks` yields as one array (label, voxel), and the places in the order in which they came."""
    result = np.full((len(SCHEME), 24), np.nan, dtype=np.float32)
    places = []
    for label, block, values in maps.blocks(SCHEME, **options):
        assert values.dtype == np.float32
        result[label, block] = values
        places.append((label, block.start, block.stop))
    return result, places


def write_member(path, content, name="probabilities.npy", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content)


def as_npy(values, version=None):
    stream = io.BytesIO()
    npy_format.write_array(stream, values, version, allow_pickle=False)
    return stream.getvalue()


STORED = {
    "deflated": lambda path: np.savez_compressed(path, probabilities=valid()),
    "stored": lambda path: np.savez(path, probabilities=valid()),
    "half precision": lambda path: np.savez_compressed(path, probabilities=valid(np.float16)),
    "double precision": lambda path: np.savez_compressed(path, probabilities=valid(np.float64)),
    "big-endian": lambda path: np.savez_compressed(path, probabilities=valid(">f4")),
    "columns first": lambda path: np.savez_compressed(path, probabilities=np.asfortranarray(valid())),
    "beside others": lambda path: np.savez(path, before=np.ones(99), probabilities=valid(), zlast=np.array(["x"])),
    "a later header": lambda path: write_member(path, as_npy(valid(), (2, 0))),
    "bzip2": lambda path: write_member(path, as_npy(valid()), compression=zipfile.ZIP_BZIP2),
}


@pytest.mark.parametrize("write", STORED.values(), ids=STORED)
def test_blocks_are_what_numpy_reads(folder, write):
    write(folder / "a.npz")
    expected = np.load(folder / "a.npz")["probabilities"].astype(np.float32).reshape(3, 24)
    maps = find_probability_maps("m", folder)["a"]
    found, places = put_together(maps, voxels=10)
    np.testing.assert_array_equal(found, expected)
    assert places == [(label, start, min(start + 10, 24)) for label in range(3) for start in (0, 10, 20)]
    np.testing.assert_array_equal(maps.read(SCHEME), expected.reshape(3, 2, 3, 4))


def test_blocks_of_compact_copies(folder):
    bytes_ = np.random.default_rng(0).multinomial(255, [0.5, 0.3, 0.2], size=(2, 3, 4)).transpose(3, 0, 1, 2)
    np.savez_compressed(folder / "a", probabilities=bytes_.astype(np.uint8))
    (folder / "a.npz").rename(folder / "a.npz8")
    found, _ = put_together(find_probability_maps("m", folder)["a"], voxels=7)
    np.testing.assert_array_equal(found, (bytes_.reshape(3, 24) / np.float32(255)).astype(np.float32))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(voxels=st.integers(1, 30), chunk=st.integers(1, 400), by_isal=st.booleans(), deflated=st.booleans())
def test_neither_block_nor_chunk_size_nor_the_inflater_matters(folder, voxels, chunk, by_isal, deflated):
    (np.savez_compressed if deflated else np.savez)(folder / "a.npz", probabilities=valid())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_stream, "CHUNK_BYTES", chunk)
        if not by_isal:
            patch.setattr(npz_stream, "_zlib", zlib)
        found, places = put_together(find_probability_maps("m", folder)["a"], voxels=voxels)
    np.testing.assert_array_equal(found, valid().reshape(3, 24))
    assert places == sorted(places)
    assert max(stop - start for _, start, stop in places) == min(voxels, 24)


def test_blocks_from_a_stream_read_it_forward_only(folder):
    np.savez_compressed(folder / "a.npz", probabilities=valid())

    class Forward(io.BytesIO):
        def seek(self, offset, whence=0):
            assert whence == 0
            assert offset >= self.tell()
            return super().seek(offset)

    maps = find_probability_maps("m", folder)["a"]
    found, _ = put_together(maps, stream=Forward((folder / "a.npz").read_bytes()))
    np.testing.assert_array_equal(found, valid().reshape(3, 24))


def test_blocks_never_hold_the_whole_map(folder):
    grid = Geometry((80, 60, 50), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    write_image(folder / "a.nii.gz", Image(np.zeros(grid.shape_zyx, np.uint8), grid))
    scheme = LabelScheme(tuple(f"label_{index}" for index in range(16)))
    np.savez_compressed(folder / "a.npz", probabilities=np.full((16, *grid.shape_zyx), 1 / 16, np.float32))
    maps = find_probability_maps("m", folder)["a"]
    whole_bytes = 16 * 80 * 60 * 50 * 4
    tracemalloc.start()
    try:
        assert sum(values.size for _, _, values in maps.blocks(scheme)) == whole_bytes // 4
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < whole_bytes / 4


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_never_passes_unseen(folder, save):
    save(folder / "a.npz", probabilities=valid())
    data = (folder / "a.npz").read_bytes()
    maps = find_probability_maps("m", folder)["a"]
    refused = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        (folder / "a.npz").write_bytes(bytes(damaged))
        try:
            found = maps.read(SCHEME)
        except ChordomaError as error:
            assert "model 'm', case 'a'" in str(error)  # noqa: PT017
            refused += 1
        else:
            # Dates and the like in the archive's directory do not matter.
            np.testing.assert_array_equal(found, valid())
    assert refused > 24 * 3  # bytes of values alone


@pytest.mark.parametrize("size", [GRID.size, (40, 30, 20)])
def test_a_wrong_checksum_names_the_member(folder, size):
    """Two voxels exchanged: everything is plausible but the checksum."""
    grid = Geometry(size, GRID.spacing_mm, GRID.origin_mm)
    write_image(folder / "a.nii.gz", Image(np.zeros(grid.shape_zyx, np.uint8), grid))
    values = np.random.default_rng(0).dirichlet(np.ones(3), size=grid.shape_zyx).astype(np.float32)
    values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    np.savez(folder / "a.npz", probabilities=values)
    data = (folder / "a.npz").read_bytes()
    assert data.count(values.tobytes()) == 1
    (folder / "a.npz").write_bytes(data.replace(values.tobytes(), values[:, ::-1].tobytes()))
    maps = find_probability_maps("m", folder)["a"]
    with pytest.raises(ChordomaError, match=r"(?i)(CRC-32.*probabilities\.npy)"):
        maps.read(SCHEME)


@pytest.mark.parametrize("off_by", [-1.1e-3, 1.1e-3])
def test_sums_within_a_thousandth_and_no_further(folder, off_by):
    values = valid()
    values[2, 1, 0, 3] += off_by
    np.savez_compressed(folder / "a.npz", probabilities=values)
    maps = find_probability_maps("m", folder)["a"]
    with pytest.raises(ChordomaError, match=rf"found {1 + off_by:.4f}.*z=1, y=0, x=3"):
        put_together(maps, voxels=5)
    values[2, 1, 0, 3] -= off_by * 0.2
    np.savez_compressed(folder / "a.npz", probabilities=values)
    np.testing.assert_array_equal(put_together(maps, voxels=5)[0], values.reshape(3, 24))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_blocks_name_the_voxel_after_the_last_label(folder, bad):
    values = valid()
    values[0, 1, 2, 3] = bad
    np.savez_compressed(folder / "a.npz", probabilities=values)
    seen = []
    with pytest.raises(ChordomaError, match=r"found -?(nan|inf) at voxel z=1, y=2, x=3"):
        seen.extend(label for label, _, _ in find_probability_maps("m", folder)["a"].blocks(SCHEME, voxels=8))
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 3, 4), }"[:-4] + "(",
        "{'descr': '<f4', 'fortran_order': False,\n  'shape': (3, 2, 3, 4), }\n !",
        "  {'descr': '<f4',\n 'fortran_order': False, 'shape': (3, 2, 3, 4)}\n  1",
        "{'descr': '<f4', 'fortran_order': False, 3: (3, 2, 3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, [3]: (3, 2, 3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 3, " + "9" * 40 + ")}",
        "{'descr': (3,), 'fortran_order': False, 'shape': (3, 2, 3, 4)}",
        "{'descr': ('<f4', 'x'), 'fortran_order': False, 'shape': (3, 2, 3, 4)}",
        "{'descr': [('a',)], 'fortran_order': False, 'shape': (3, 2, 3, 4)}",
        "\N{LATIN SMALL LETTER Y WITH DIAERESIS}'descr'",
        "(" * 5000,
    ],
)
def test_damaged_headers(folder, header):
    text = header.encode("latin1")
    write_member(folder / "a.npz", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + valid().tobytes())
    maps = find_probability_maps("m", folder)["a"]
    for read in (maps.shape, lambda: maps.read(SCHEME)):
        with pytest.raises(ChordomaError, match=r"model 'm', case 'a': .*a\.npz: truncated or damaged"):
            read()


def test_any_byte_of_a_header_may_be_any_other(folder):
    """As long as the archive's own directory is whole, what numpy raises has many names."""
    content = as_npy(valid())
    random = np.random.default_rng(0)
    for place in range(8, 74):
        for value in random.integers(0, 256, 6):
            damaged = bytearray(content)
            damaged[place] = value
            write_member(folder / "a.npz", bytes(damaged), compression=zipfile.ZIP_STORED)
            maps = find_probability_maps("m", folder)["a"]
            with contextlib.suppress(ChordomaError):
                maps.stored()


def test_sums_beyond_all_numbers_are_refused_without_a_warning(folder, recwarn):
    values = valid()
    values[:2, 1, 2, 3] = np.finfo(np.float32).max
    np.savez_compressed(folder / "a.npz", probabilities=values)
    with pytest.raises(ChordomaError, match="found inf at voxel z=1, y=2, x=3"):
        find_probability_maps("m", folder)["a"].read(SCHEME)
    assert not recwarn.list


def test_more_or_fewer_bytes_than_the_header_says(folder):
    for content in (as_npy(valid()) + b"more", as_npy(valid())[:-4]):
        write_member(folder / "a.npz", content)
        with pytest.raises(ChordomaError, match=r"probabilities\.npy: expected 416 bytes, found (420|412)"):
            find_probability_maps("m", folder)["a"].read(SCHEME)
