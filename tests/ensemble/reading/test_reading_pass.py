"""The pass over files: the same as arrays give, in little memory, each file read once, resumed if interrupted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.reading import reading_pass, work_folder
from nnunet_chordoma.ensemble.reading.case_reader import Buffers, CaseReader, Keep, what_to_keep
from nnunet_chordoma.ensemble.reading.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.reading.reading_pass import BUDGET_BYTES, compress_files
from nnunet_chordoma.ensemble.reading.spill import SpilledProbabilities
from nnunet_chordoma.ensemble.reading.work_folder import WorkFolder
from nnunet_chordoma.ensemble.results import CaseSource
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps, find_probability_maps

Result = tuple[list[CompressedCase], list[CaseSource]]

NOTHING, EVERYTHING = 0, BUDGET_BYTES
"""Budgets with which files are read twice and cases left on disk, and with which all stays in memory."""


def read(cohort: Any, work: WorkFolder, **options: Any) -> Result:
    found = [find_probability_maps(model, cohort.folder(model)) for model in cohort.maps]
    cases = sorted(found[0])
    return compress_files(
        {case: [of_model[case] for of_model in found] for case in cases},
        {case: cohort.reference_folder / f"{case}.nii.gz" for case in cases},
        LabelScheme(cohort.labels),
        work,
        **options,
    )


def from_arrays(cohort: Any) -> list[CompressedCase]:
    models = list(cohort.maps)
    return [
        compress(case, [cohort.maps[model][case] for model in models], cohort.references[case])
        for case in sorted(cohort.references)
    ]


def assert_same(found: Sequence[CompressedCase], expected: Sequence[CompressedCase]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.case, one.voxels) == (other.case, other.voxels)
        for name in ("agreed_predicted", "agreed_intersection", "reference_count", "reference"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert one.probabilities.shape == other.probabilities.shape
        for model in range(one.probabilities.shape[0]):
            np.testing.assert_array_equal(one.probabilities[model], other.probabilities[model])
        np.testing.assert_allclose(one.soft.intersection, other.soft.intersection, rtol=1e-12)
        np.testing.assert_allclose(one.soft.predicted, other.soft.predicted, rtol=1e-12)
        np.testing.assert_array_equal(one.soft.reference, other.soft.reference)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProbabilityMaps, "blocks", partialmethod(ProbabilityMaps.blocks, voxels=13))


@pytest.fixture
def kept_between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Decide what is kept of each model between the two passes, whatever the budget."""

    def decide(*keep: Keep) -> None:
        monkeypatch.setattr(reading_pass, "what_to_keep", lambda values, files, budget: list(keep)[: len(values)])

    return decide


MIXED = (Keep.FILE, Keep.NOTHING, Keep.VALUES)


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the archives whose values have been read from disk, in order."""
    names: list[str] = []
    first = CaseReader.first

    def noted(self: CaseReader) -> Iterator[Any]:
        names.append(str(Path(*self._maps.npz.parts[-2:])))
        yield from first(self)

    monkeypatch.setattr(CaseReader, "first", noted)
    return names


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("keep", [*([each] * 3 for each in Keep), MIXED], ids=[*(each.name for each in Keep), "mixed"])
def test_files_give_what_arrays_give(
    cohort: Any, kept_between: Callable[..., None], keep: Sequence[Keep], workers: int, small_blocks: None
) -> None:
    kept_between(*keep)
    with WorkFolder() as work:
        cases, _ = read(cohort, work, workers=workers)
        assert_same(cases, from_arrays(cohort))


def test_neither_budget_nor_threads_change_a_bit(make_cohort: Any, kept_between: Callable[..., None]) -> None:
    cohort = make_cohort(seed=4)
    found = []
    for keep, workers in (([Keep.NOTHING] * 3, 1), ([Keep.FILE] * 3, 2), ([Keep.VALUES] * 3, 3), (MIXED, 2)):
        kept_between(*keep)
        with WorkFolder() as work:
            cases, _ = read(cohort, work, workers=workers)
            found.append([(case.soft.intersection.tobytes(), case.soft.predicted.tobytes()) for case in cases])
    assert found[0] == found[1] == found[2] == found[3]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_objective_is_that_of_full_maps_to_the_last_count(compressed: Any, data: st.DataObject) -> None:
    cohort, cases = compressed
    parts = data.draw(st.lists(st.integers(0, 12), min_size=4, max_size=4).filter(any))
    weights = np.array(parts) / sum(parts)
    counts = LabelMapIoU(tuple(cases)).counts(weights)
    for index, (case, truth) in enumerate(sorted(cohort.references.items())):
        winner = label_map_of([maps[case] for maps in cohort.maps.values()], weights)
        for label in range(len(cohort.labels)):
            assert counts.predicted[index, label] == np.sum(winner == label)
            assert counts.intersection[index, label] == np.sum((winner == label) & (truth == label))


def label_map_of(maps: list[NDArray[np.float32]], weights: NDArray[np.float64]) -> NDArray[np.intp]:
    used = [(m, w) for m, w in zip(maps, weights, strict=True) if w > 0]
    if len({w for _, w in used}) == 1:  # nnU-Net's arithmetic
        mean = sum((m for m, _ in used[1:]), used[0][0].copy()) / np.float32(len(used))
        assert mean.dtype == np.float32
        return mean.argmax(axis=0)
    total = sum(w * m.astype(np.float64) for m, w in used)
    return (total >= total.max(axis=0) - 1e-13).argmax(axis=0)


@pytest.fixture
def compressed(make_cohort: Any) -> Iterator[tuple[Any, list[CompressedCase]]]:
    """A cohort in tenths, so that models tie here and there, and its cases on disk."""
    cohort = make_cohort(models=tuple("abcd"), seed=7)
    rng = np.random.default_rng(7)
    for model in "abcd":
        for case, truth in cohort.references.items():
            favoured = 0.15 + 0.4 * (np.arange(4) == truth[..., None])
            tenths = rng.multinomial(10, favoured, size=truth.shape)
            cohort.write_prediction(model, case, np.moveaxis(tenths / 10, -1, 0).astype(np.float32))
    with WorkFolder() as work:
        cases, _ = read(cohort, work, budget_bytes=NOTHING)
        assert all(0.2 < case.disagreeing / case.voxels < 0.8 for case in cases)
        yield cohort, cases


def test_sources_are_the_checksums_of_the_files(cohort: Any, kept_between: Callable[..., None]) -> None:
    for keep in Keep:
        kept_between(keep, keep, keep)
        with WorkFolder() as work:
            _, sources = read(cohort, work)
        assert [source.case for source in sources] == ["p1", "p2"]
        files = [cohort.folder(model) / "p2.npz" for model in "abc"]
        assert list(sources[1].probabilities_sha256) == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
        reference = cohort.reference_folder / "p2.nii.gz"
        assert sources[1].reference_sha256 == hashlib.sha256(reference.read_bytes()).hexdigest()


def test_half_precision_compact_and_uncompressed_files(cohort: Any) -> None:
    for case in ("p1", "p2"):
        half = cohort.maps["a"][case].astype(np.float16)
        cohort.maps["a"][case] = half.astype(np.float32)
        np.savez(cohort.folder("a") / f"{case}.npz", probabilities=half)
        bytes_ = np.floor(cohort.maps["b"][case] * 255).astype(np.uint8)
        bytes_[0] += 255 - bytes_.sum(axis=0, dtype=np.uint8)
        cohort.maps["b"][case] = bytes_ / np.float32(255)
        np.savez_compressed(cohort.folder("b") / f"{case}.npz", probabilities=bytes_)
        (cohort.folder("b") / f"{case}.npz").rename(cohort.folder("b") / f"{case}.npz8")
        np.savez(cohort.folder("c") / f"{case}.npz", probabilities=np.asfortranarray(cohort.maps["c"][case]))
    for budget in (NOTHING, EVERYTHING):
        with WorkFolder() as work:
            cases, _ = read(cohort, work, budget_bytes=budget)
            assert_same(cases, from_arrays(cohort))


def test_twenty_models_of_one_case(make_cohort: Any) -> None:
    cohort = make_cohort(models=tuple(f"model_{index:02d}" for index in range(20)), cases=("p1",))
    for budget in (NOTHING, EVERYTHING):
        with WorkFolder() as work:
            cases, _ = read(cohort, work, budget_bytes=budget)
            assert_same(cases, from_arrays(cohort))


# On disk or in memory


def test_kept_probabilities_on_disk_are_indexed_like_arrays(cohort: Any) -> None:
    with WorkFolder() as work:
        in_memory, _ = read(cohort, work, budget_bytes=EVERYTHING)
    with WorkFolder() as work:
        on_disk, _ = read(cohort, work, budget_bytes=NOTHING)
        for one, other in zip(on_disk, in_memory, strict=True):
            spilled, array = one.probabilities, other.probabilities
            assert isinstance(spilled, SpilledProbabilities)
            assert isinstance(array, np.ndarray)
            assert (spilled.shape, spilled.dtype) == (array.shape, array.dtype)
            np.testing.assert_array_equal(spilled.load(), array)
            for block in (slice(0, 5), slice(3, 3), slice(7, None), slice(-4, None), slice(90, 10**6), slice(None)):
                np.testing.assert_array_equal(spilled[1, :, block], array[1, :, block])
                np.testing.assert_array_equal(spilled[np.intp(2), :, block], array[2, :, block])
            np.testing.assert_array_equal(spilled[-1], array[-1])
            for wrong in (
                (3, slice(None), slice(None)),
                (0, slice(1, 2), slice(None)),
                (0, slice(None), slice(0, 9, 2)),
            ):
                with pytest.raises(IndexError):
                    spilled[wrong]


def test_the_objective_of_cases_on_disk(cohort: Any) -> None:
    weights = np.array([0.5, 0.2, 0.3])
    with WorkFolder() as work:
        on_disk, _ = read(cohort, work, budget_bytes=NOTHING)
        value = LabelMapIoU(tuple(on_disk)).value(weights)
    assert value == LabelMapIoU(tuple(from_arrays(cohort))).value(weights)


def test_only_as_many_finished_cases_are_in_memory_as_the_budget_allows(make_cohort: Any) -> None:
    cohort = make_cohort(cases=("p1", "p2", "p3"))
    nbytes = from_arrays(cohort)[0].probabilities.nbytes
    with WorkFolder() as work:
        cases, _ = read(cohort, work, budget_bytes=int(nbytes * 1.3 / 0.2))
        assert [isinstance(case.probabilities, np.ndarray) for case in cases] == [True, False, False]


def test_memory_stays_within_bounds(tmp_path: Path) -> None:
    """Models of 2 MB each: one at a time is looked at, none is held."""
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    scheme = LabelScheme(tuple(f"label_{index}" for index in range(8)))
    truth = np.arange(64000).reshape(40, 40, 40) * 8 // 64000
    clear = np.float32(0.01) + np.float32(0.92) * (np.arange(8).reshape(8, 1, 1, 1) == truth)
    maps = []
    for model in range(6):
        (tmp_path / f"m{model}").mkdir()
        write_image(tmp_path / f"m{model}" / "p.nii.gz", Image(truth.astype(np.uint8), grid))
        values = clear.astype(np.float32)
        values[:, model] = np.roll(values[:, model], 1, axis=0)
        np.savez_compressed(tmp_path / f"m{model}" / "p.npz", probabilities=values)
        maps.append(find_probability_maps("m", tmp_path / f"m{model}")["p"])
    write_image(tmp_path / "reference.nii.gz", Image(truth.astype(np.uint8), grid))
    whole_bytes = 6 * values.nbytes
    del values, clear
    peaks = {}
    for budget in (NOTHING, EVERYTHING):
        with WorkFolder() as work:
            tracemalloc.start()
            try:
                cases, _ = compress_files(
                    {"p": maps}, {"p": tmp_path / "reference.nii.gz"}, scheme, work, budget, workers=1
                )
                peaks[budget] = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert cases[0].disagreeing == 6 * 1600
    assert peaks[NOTHING] < 0.35 * whole_bytes
    assert peaks[EVERYTHING] > 0.9 * whole_bytes


# What is kept between the two passes


def test_what_is_kept_between_the_passes() -> None:
    assert what_to_keep([100, 100, 100], [30, 30, 30], 300) == [Keep.VALUES] * 3
    assert what_to_keep([100, 100, 100], [30, 30, 30], 299) == [Keep.VALUES, Keep.VALUES, Keep.FILE]
    assert what_to_keep([100, 100, 100], [30, 30, 30], 90) == [Keep.FILE] * 3
    assert what_to_keep([100, 100, 100], [30, 30, 30], 89) == [Keep.FILE, Keep.FILE, Keep.NOTHING]
    assert what_to_keep([100, 100], [101, 30], 130) == [Keep.VALUES, Keep.FILE]
    assert what_to_keep([100], [30], 0) == [Keep.NOTHING]


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=20), st.integers(0, 2000))
def test_what_is_kept_fits_the_budget(models: list[tuple[int, int]], budget: int) -> None:
    values, files = zip(*models, strict=True)
    keep = what_to_keep(values, files, budget)
    cost = {Keep.VALUES: values, Keep.FILE: files, Keep.NOTHING: [0] * len(models)}
    assert sum(cost[what][model] for model, what in enumerate(keep)) <= budget


@pytest.mark.parametrize("keep", list(Keep))
def test_the_second_time_gives_the_same_blocks(cohort: Any, keep: Keep, small_blocks: None) -> None:
    maps = find_probability_maps("a", cohort.folder("a"))["p1"]
    reader = CaseReader(maps, LabelScheme(cohort.labels), keep, Buffers())
    first = [(label, block, values.copy()) for label, block, values in reader.first()]
    again = [(label, block, values.copy()) for label, block, values in reader.again()]
    assert [item[:2] for item in first] == [item[:2] for item in again]
    assert all(np.array_equal(one[2], other[2]) for one, other in zip(first, again, strict=True))


def test_buffers_serve_cases_of_another_size(make_cohort: Any) -> None:
    buffers = Buffers()
    large = buffers.take(100)
    buffers.give_back(large)
    assert buffers.take(100) is large
    buffers.give_back(large)
    buffers.keep_only(3, 40)
    assert buffers.take(40).size == 40
    buffers.give_back(large)
    assert buffers.take(40).size == 40


def test_a_file_that_changes_between_the_passes(cohort: Any) -> None:
    maps = find_probability_maps("a", cohort.folder("a"))["p1"]
    reader = CaseReader(maps, LabelScheme(cohort.labels), Keep.NOTHING, Buffers())
    for _ in reader.first():
        pass
    np.savez_compressed(maps.npz, probabilities=cohort.maps["b"]["p1"])
    with pytest.raises(ChordomaError, match=r"model 'a', case 'p1'.*changed while it was being read"):
        list(reader.again())


# Interrupted and resumed


def output_of(cohort: Any) -> Path:
    return Path(cohort.root) / "results" / "weights.json"


def interrupt_second_case(cohort: Any, **options: Any) -> None:
    """A fit that ends in the middle of p2: the file of model b is damaged, and repaired afterwards."""
    damaged = cohort.folder("b") / "p2.npz"
    content, status = damaged.read_bytes(), damaged.stat()
    damaged.write_bytes(content[:-40])
    with pytest.raises(ChordomaError, match=r"model 'b', case 'p2'"), WorkFolder(output_of(cohort)) as work:
        read(cohort, work, **options)
    damaged.write_bytes(content)
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("budget", [NOTHING, EVERYTHING])
def test_finished_cases_are_not_read_again(cohort: Any, read_files: list[str], budget: int) -> None:
    interrupt_second_case(cohort, budget_bytes=budget)
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        cases, sources = read(cohort, work, budget_bytes=budget)
        assert sorted(read_files) == ["a/p2.npz", "b/p2.npz", "c/p2.npz"]
        assert_same(cases, from_arrays(cohort))
    with WorkFolder() as work:
        assert read(cohort, work)[1] == sources
    assert list(output_of(cohort).parent.iterdir()) == []


def test_ctrl_c_keeps_finished_cases(cohort: Any, read_files: list[str]) -> None:
    def interrupted(names: Sequence[str]) -> Iterator[str]:
        yield names[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), WorkFolder(output_of(cohort)) as work:
        read(cohort, work, progress=interrupted)
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        read(cohort, work)
    assert sorted(read_files) == ["a/p2.npz", "b/p2.npz", "c/p2.npz"]


def test_nothing_is_left_where_no_case_was_finished(cohort: Any) -> None:
    (cohort.folder("a") / "p1.npz").write_bytes(b"")
    with pytest.raises(ChordomaError), WorkFolder(output_of(cohort)) as work:
        read(cohort, work)
    assert list(output_of(cohort).parent.iterdir()) == []


def rewrite_document(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / work_folder.DOCUMENT).read_text())
    (folder / work_folder.DOCUMENT).write_text(json.dumps(content | changes))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


SPOILED: dict[str, Callable[[Path], object]] = {
    "no document": lambda folder: (folder / work_folder.DOCUMENT).unlink(),
    "half a document": lambda folder: os.truncate(folder / work_folder.DOCUMENT, 100),
    "another schema": lambda folder: rewrite_document(folder, schema_version=0),
    "other labels": lambda folder: rewrite_document(folder, labels=["x", "y", "z", "w"]),
    "half the probabilities": lambda folder: os.truncate(folder / work_folder.KEPT, 500),
    "no probabilities": lambda folder: (folder / work_folder.KEPT).unlink(),
    "a flipped bit": lambda folder: flip(folder / work_folder.KEPT),
    "damaged counts": lambda folder: flip(folder / work_folder.ARRAYS),
    "no counts": lambda folder: (folder / work_folder.ARRAYS).unlink(),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_damaged_work_is_done_again(cohort: Any, spoil: Callable[[Path], object], read_files: list[str]) -> None:
    interrupt_second_case(cohort)
    [folder] = output_of(cohort).parent.glob(".*.work")
    spoil(folder / "p1")
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        cases, _ = read(cohort, work)
        assert_same(cases, from_arrays(cohort))
    assert len(read_files) == 6


def test_changed_files_are_read_again(cohort: Any, read_files: list[str]) -> None:
    interrupt_second_case(cohort)
    os.utime(cohort.folder("c") / "p1.npz", ns=(0, 1))
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        read(cohort, work)
    assert len(read_files) == 6


def test_a_changed_reference_is_read_again(cohort: Any, read_files: list[str]) -> None:
    interrupt_second_case(cohort)
    cohort.write_reference("p1", np.roll(cohort.references["p1"], 1))
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        cases, _ = read(cohort, work)
        assert_same(cases, from_arrays(cohort))
    assert len(read_files) == 6


def test_another_version_does_its_own_work(cohort: Any, read_files: list[str], monkeypatch: Any) -> None:
    interrupt_second_case(cohort)
    of = work_folder.CaseKey.of
    monkeypatch.setattr(
        work_folder.CaseKey, "of", lambda *files: dataclasses.replace(of(*files), package_version="another")
    )
    read_files.clear()
    with WorkFolder(output_of(cohort)) as work:
        read(cohort, work)
    assert len(read_files) == 6


def test_a_case_in_the_making_does_not_count(cohort: Any) -> None:
    with WorkFolder(output_of(cohort)) as work:
        with pytest.raises(IsADirectoryError), work.new("p1") as folder:
            folder.write_text("fails")
        assert list(work.folder.iterdir()) == []


def test_two_fits_to_one_output(cohort: Any) -> None:
    with WorkFolder(output_of(cohort)):
        with (
            pytest.raises(ChordomaError, match=r"another fit is writing .*weights\.json"),
            WorkFolder(output_of(cohort)),
        ):
            pass
        with WorkFolder(output_of(cohort).with_name("other.json")):
            pass


# Bad input


def test_nan_is_named_by_model_case_and_voxel(cohort: Any, kept_between: Callable[..., None]) -> None:
    values = cohort.maps["b"]["p2"].copy()
    values[3, 1, 2, 4] = np.nan
    np.savez_compressed(cohort.folder("b") / "p2.npz", probabilities=values)
    for keep in Keep:
        kept_between(keep, keep, keep)
        with pytest.raises(ChordomaError, match=r"model 'b', case 'p2'.*z=1, y=2, x=4"), WorkFolder() as work:
            read(cohort, work)


def test_references_that_do_not_fit(cohort: Any) -> None:
    cohort.write_reference("p2", np.full((4, 5, 6), 4, dtype=np.uint8))
    with pytest.raises(ChordomaError, match=r"case 'p2'.*expected labels 0 to 3 .*found 4"), WorkFolder() as work:
        read(cohort, work)
    small = Geometry((6, 5, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    cohort.write_reference("p2", np.zeros((3, 5, 6), dtype=np.uint8), small)
    with pytest.raises(ChordomaError, match=r"case 'p2'.*\(4, 5, 6\) voxels.*found \(3, 5, 6\)"), WorkFolder() as work:
        read(cohort, work)


def test_no_threads(cohort: Any) -> None:
    with pytest.raises(ChordomaError, match="--workers must be 1 or more, found 0"), WorkFolder() as work:
        read(cohort, work, workers=0)
