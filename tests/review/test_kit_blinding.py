"""Whether anything but the contours themselves tells which source they are of."""

import gzip
import io
import json
import random
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread
from scipy.stats import chi2, chi2_contingency, chisquare, kendalltau, kruskal, rankdata

from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.review.blinding import assign, secret_seed
from nnunet_chordoma.review.key import read_key
from nnunet_chordoma.viewer.manifest import read_manifest

CERTAIN = 1e-6
"""A p-value that chance does not make; 18 patients whose order tells the source give 8e-15."""


@pytest.fixture
def kit_and_key(alike):
    return alike.folder, read_key(alike.key_file)


def rtstruct(kit, item):
    return kit / item.patient / "dicom" / f"contours_{item.contours}.dcm"


def label_map(kit, item):
    return kit / item.patient / f"{item.contours}.nii.gz"


def uid_number(text):
    return int(text.rsplit(".", 1)[1])


FEATURES = {
    "name of the contours": lambda kit, item: ord(item.contours),
    "instance UID": lambda kit, item: uid_number(dcmread(rtstruct(kit, item)).SOPInstanceUID),
    "length of the instance UID": lambda kit, item: len(dcmread(rtstruct(kit, item)).SOPInstanceUID),
    "series UID": lambda kit, item: uid_number(dcmread(rtstruct(kit, item)).SeriesInstanceUID),
    "place in the folder": lambda kit, item: [path.name for path in (kit / item.patient).iterdir()].index(
        f"{item.contours}.nii.gz"
    ),
    "inode of the label map": lambda kit, item: label_map(kit, item).stat().st_ino,
    "inode of the RTSTRUCT": lambda kit, item: rtstruct(kit, item).stat().st_ino,
    "change of status": lambda kit, item: label_map(kit, item).stat().st_ctime_ns,
    "change of status of the RTSTRUCT": lambda kit, item: rtstruct(kit, item).stat().st_ctime_ns,
    "last access": lambda kit, item: label_map(kit, item).stat().st_atime_ns,
}


def chance_of(items, feature):
    """p-value of a test that the rank of a feature among a patient's contours depends on the source.

    Anderson's statistic for ranks, (k - 1) / k of Pearson's chi-squared: within a patient every rank comes once,
    so the counts are not independent, and chi-squared alone would err 150 times as often as it says.
    """
    counts = Counter()
    for patient in {item.patient for item in items}:
        own = [item for item in items if item.patient == patient]
        counts.update(zip(rankdata([feature(item) for item in own]), (item.source for item in own), strict=True))
    ranks, sources = (sorted(set(each)) for each in zip(*counts, strict=True))
    if len(ranks) == 1:
        return 1.0
    pearson = chi2_contingency([[counts[rank, source] for source in sources] for rank in ranks])
    return float(chi2.sf(pearson.statistic * (len(sources) - 1) / len(sources), pearson.dof))


@pytest.mark.parametrize("name", FEATURES)
def test_no_order_tells_the_source(kit_and_key, name):
    kit, key = kit_and_key
    assert chance_of(key.items, lambda item: FEATURES[name](kit, item)) > CERTAIN


@pytest.mark.parametrize(("patients", "told_of_three", "noticed"), [(18, 3, True), (60, 2, True), (60, 0, False)])
def test_an_order_that_tells_the_source_would_be_noticed(patients, told_of_three, noticed):
    items = [SimpleNamespace(patient=i, source=source) for i in range(patients) for source in "abc"]
    noise = random.Random(1)
    chance = chance_of(items, lambda it: ord(it.source) if it.patient % 3 < told_of_three else noise.random())
    assert (chance < CERTAIN) == noticed


def test_orders_of_patients_are_independent_and_cases_come_in_no_order():
    sources, cases = ("reference", "unet", "ensemble"), [f"case_{i:04d}" for i in range(1200)]
    made = assign(cases, 600, sources, secret_seed())
    counts = Counter(each.sources for each in made)
    assert len(counts) == 6
    assert chisquare(list(counts.values())).pvalue > CERTAIN
    following = Counter((one.sources, two.sources) for one, two in pairwise(made))
    assert chi2_contingency([[following[o, t] for t in counts] for o in counts]).pvalue > CERTAIN
    drawn = [each.case for each in made]
    assert len(set(drawn)) == 600
    ranks = rankdata(drawn)
    assert kendalltau(range(600), ranks).pvalue > CERTAIN
    by_source = [[r for r, each in zip(ranks, made, strict=True) if each.sources[0] == s] for s in sources]
    assert kruskal(*by_source).pvalue > CERTAIN


def test_a_seed_that_is_guessed_is_not_confirmed_by_any_name():
    cases, sources = ["a", "b", "c"], ("reference", "unet")
    first, second = (assign(cases, 3, sources, 11) for _ in range(2))
    assert [(each.case, each.sources) for each in first] == [(each.case, each.sources) for each in second]
    # One name may be the same by chance, all of them once in 10^16.
    assert {each.patient for each in first} != {each.patient for each in second}


def test_files_of_sources_that_drew_the_same_are_the_same(kit_and_key):
    kit, key = kit_and_key
    for patient in key.patients:
        items = [item for item in key.items if item.patient == patient]
        assert len({label_map(kit, item).read_bytes() for item in items}) == 1
        stripped = set()
        for item in items:
            data = dcmread(rtstruct(kit, item))
            own = {str(data.SOPInstanceUID), str(data.SeriesInstanceUID)}
            text = f"{data.file_meta}{data}"
            for uid in own:
                text = text.replace(uid, "UID")
            text = text.replace(f"contours {item.contours}", "contours").replace(
                f"Contours {item.contours}", "contours"
            )
            # The length of the head depends on that of the UID.
            stripped.add("\n".join(line for line in text.splitlines() if "Group Length" not in line))
        assert len(stripped) == 1


def test_how_a_source_is_stored_is_not_to_be_seen(make_cohort, kit, tmp_path):
    """Predictions come in other types, with other rounding of their grid, and packed otherwise than the reference."""
    cohort = make_cohort()
    same = kit.drawn(kit.grid)
    cohort.add("sacrum", {"reference": same})
    rounded = replace(kit.grid, origin_mm=tuple(v + 3e-4 for v in kit.grid.origin_mm))
    first, second = (cohort.sources[name] for name in kit.models)
    write_image(first / "sacrum.nii", Image(same.astype(np.int16), rounded))
    write_image(second / "sacrum.nii.gz", Image(same.astype(np.float64), kit.grid))
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert done.status == 0, done.error
    (patient,) = (tmp_path / "kit").glob("patient_*")
    assert len({(patient / f"{name}.nii.gz").read_bytes() for name in "ABC"}) == 1
    data = [dcmread(patient / "dicom" / f"contours_{name}.dcm") for name in "ABC"]
    assert len({str(each.ROIContourSequence) for each in data}) == 1


def test_all_files_have_one_time_and_one_mode(kit_and_key):
    kit, _ = kit_and_key
    paths = [kit, *kit.rglob("*")]
    assert {path.stat().st_mtime for path in paths} == {946728000.0}
    assert len({path.stat().st_mode for path in paths if path.is_file()}) == 1


def test_dates_and_identifiers_are_new_and_never_the_same(kit_and_key):
    kit, key = kit_and_key
    seen = Counter()
    for item in key.items[:30]:
        data = dcmread(rtstruct(kit, item))
        assert {data.StudyDate, data.StructureSetDate} == {"20000101"}
        assert {data.StudyTime, data.StructureSetTime} == {"120000"}
        seen.update((data.SOPInstanceUID, data.SeriesInstanceUID))
    assert max(seen.values()) == 1
    frames = {dcmread(rtstruct(kit, item)).FrameOfReferenceUID for item in key.items}
    assert len(frames) == len(key.patients)


def test_the_same_seed_gives_other_identifiers(make_cohort, kit, tmp_path):
    # Else whoever guesses the seed could make the UIDs of each source and compare.
    cohort = make_cohort().add_cases(1)
    uids = []
    for name in ("first", "second"):
        done = kit.run(*cohort.arguments, "-o", tmp_path / name, "--cases", 1, "--seed", 5)
        assert done.status == 0, done.error
        uids.append({dcmread(path).SOPInstanceUID for path in (tmp_path / name).rglob("*.dcm")})
    assert not uids[0] & uids[1]


def test_secret_seeds_differ_and_are_nowhere_in_the_kit(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    seeds = set()
    for name in ("first", "second"):
        assert kit.run(*cohort.arguments, "-o", tmp_path / name, "--cases", 1).status == 0
        seed = read_key(tmp_path / f"{name}.key.json").seed
        assert seed.bit_length() > 90
        assert not found_in(tmp_path / name, [str(seed), f"{seed:x}"])
        seeds.add(seed)
    assert len(seeds) == 2


def contents(path):
    """The bytes of a file, and those packed in it."""
    yield path.read_bytes()
    if path.suffix == ".gz":
        yield gzip.decompress(path.read_bytes())
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def found_in(kit, words):
    found = set()
    for path in kit.rglob("*"):
        texts = [str(path.relative_to(kit)).encode(), *(contents(path) if path.is_file() else ())]
        found |= {(path.name, word) for word in words for text in texts if word.lower().encode() in text.lower()}
    return found


def test_no_name_of_case_source_or_place_is_in_any_byte(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(4)
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 2, "--xlsx", "--copies", 2)
    assert done.status == 0, done.error
    words = [
        *("sacrum", "0003.nii", "unet_", "diceful", "optimal", "mixture", "ensemble", "reference", "predicted"),
        *("labelsTs", "imagesTs", "automatic", str(tmp_path), tmp_path.name),
    ]
    assert not found_in(tmp_path / "kit", words)
    # The search itself would find what is there.
    assert found_in(tmp_path / "kit", ["contours A"])
    assert found_in(tmp_path / "kit", ["<sheetData>"])


def test_the_viewer_is_told_blinded_names_alone(made):
    manifest = json.loads((made.folder / "viewer.json").read_text())
    assert manifest["kind"] == "chordoma-viewer"
    assert manifest["schema"] == 1
    assert manifest["rating"] == {"sheet": "ratings.csv"}
    assert tuple(case["name"] for case in manifest["cases"]) == made.patients
    for case in manifest["cases"]:
        assert [(o["name"], o["role"]) for o in case["overlays"]] == [(name, "blinded") for name in "ABC"]
        assert case["review"] == case["structures"] == []
        for file in (case["image"], *(o["file"] for o in case["overlays"])):
            assert (made.folder / file).is_file()
    contents = read_manifest(made.folder / "viewer.json")
    assert contents.scheme.structures == CHORDOMA.structures
    assert contents.sheet == (made.folder / "ratings.csv").resolve()
