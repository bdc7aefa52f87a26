"""Whether anything but the contours themselves tells which source they are of."""

import gzip
import io
import json
import random
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pydicom import dcmread
from scipy.stats import chi2_contingency, chisquare, kendalltau, kruskal, rankdata

from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.review.blinding import assign, secret_seed
from nnunet_chordoma.review.key import read_key
from nnunet_chordoma.viewer.manifest import read_manifest

CERTAIN = 1e-6
"""A p-value that chance does not make; 18 patients whose order tells the source give 1e-22."""


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


def chance_of(kit, key, feature):
    """p-value of a chi-squared test that the rank of a feature among a patient's contours depends on the source."""
    counts = Counter()
    for patient in key.patients:
        items = [item for item in key.items if item.patient == patient]
        ranks = rankdata([feature(kit, item) for item in items])
        counts.update((rank, item.source) for rank, item in zip(ranks, items, strict=True))
    ranks = sorted({rank for rank, _ in counts})
    table = np.array([[counts[rank, source] for source in key.sources] for rank in ranks])
    return 1.0 if len(ranks) == 1 else float(chi2_contingency(table).pvalue)


@pytest.mark.parametrize("name", FEATURES)
def test_no_order_tells_the_source(kit_and_key, name):
    assert chance_of(*kit_and_key, FEATURES[name]) > CERTAIN


def test_the_order_of_the_sources_would_be_noticed(kit_and_key):
    kit, key = kit_and_key
    noise = random.Random(1)
    told = chance_of(kit, key, lambda _, item: key.sources.index(item.source))
    # Told in two of three patients alone.
    partly = chance_of(
        kit,
        key,
        lambda _, item: key.sources.index(item.source) if key.patients.index(item.patient) % 3 else noise.random(),
    )
    assert told < CERTAIN
    assert partly < CERTAIN


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
    assert not {each.patient for each in first} & {each.patient for each in second}


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
