"""Label maps beside an image: how they are told from masks, and where their names come from."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.dataset_conversion.volumes.label_names import slicer_segments
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, to_sitk, write_image

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (10.0, -20.0, 30.0))
VOXELS = {1: 3, 2: 2, 5: 1}


def values(voxels=VOXELS):
    array = np.zeros(GRID.shape_zyx, np.uint8)
    for row, (value, count) in enumerate(voxels.items()):
        array[1, row, :count] = value
    return array


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "src/p1"
    write_image(folder / "ct.nii.gz", Image(np.zeros(GRID.shape_zyx, np.int16), GRID))
    return folder


def put(path, array=None):
    write_image(path, Image(values() if array is None else array, GRID))


def sizes(folder, **options):
    source = open_case("p1", folder, SourceOptions(**options))
    return {roi.key: int(source.mask(roi.key).mask.sum()) for roi in source.rois}


def refused(folder, **options):
    with pytest.raises(ChordomaError) as error:
        open_case("p1", folder, SourceOptions(**options))
    assert str(error.value).startswith("case 'p1': ")
    assert "\n" not in str(error.value)
    return str(error.value)


class TestWhereNamesComeFrom:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("labels.yaml", "1: gtv\n2: [x]\n"),
            ("labels.yaml", "gtv: 1\nx: 2\n5: y\n"),
            ("labels.json", '{"1": "gtv", "2": "x", "5": "y"}'),
            ("labels.json", '{\n\t"gtv": 1, "x": 2, "y": 5}'),
            ("dataset.json", '{"labels": {"background": 0, "gtv": 1, "x": 2, "y": 5}, "file_ending": ".mha"}'),
            ("dataset.json", '{"labels": {"0": "background", "1": "gtv", "2": "x", "5": "y"}}'),
        ],
    )
    def test_forms(self, case, name, text):
        put(case / "segmentation.nii.gz")
        (case / name).write_text(text)
        if "[x]" in text:
            assert "expected lines such as" in refused(case)
        else:
            assert sizes(case) == {"gtv": 3, "x": 2, "y": 1}

    def test_several_values_make_one_roi_and_regions_may_share_them(self, case):
        put(case / "seg.nii.gz")
        (case / "dataset.json").write_text('{"labels": {"whole": [1, 2, 5], "core": [2, 5]}}')
        assert sizes(case) == {"whole": 6, "core": 3}

    def test_one_name_for_two_values(self, case):
        put(case / "seg.nii.gz")
        (case / "labels.yaml").write_text("1: gluteus\n2: gluteus\n5: x\n")
        assert sizes(case) == {"gluteus": 5, "x": 1}

    def test_order_of_places(self, case, tmp_path):
        """From the strongest to the weakest: each is found once those before it are gone."""
        volume = case / "masks/segmentation.nii.gz"
        put(volume)
        places = [
            tmp_path / "given.yaml",
            volume.with_name("segmentation.json"),
            volume.with_name("labels.json"),
            case / "labels.yml",
            case / "dataset.json",
            case.parent / "labels.yaml",
            case.parent / "dataset.json",
        ]
        for place in places:
            place.write_text(json.dumps({f"from_{place.name}": [1, 2, 5]}))
        assert list(sizes(case, label_names=places[0])) == ["from_given.yaml"]
        for place in places[1:]:
            assert list(sizes(case)) == [f"from_{place.name}"]
            place.unlink()
        assert "nothing names them" in refused(case)

    def test_named_values_that_do_not_occur_are_empty_rois(self, case):
        put(case / "seg.nii.gz")
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c, 7: d}")
        assert sizes(case) == {"a": 3, "b": 2, "c": 1, "d": 0}

    def test_files_that_decide_are_inputs(self, case):
        put(case / "seg.nii.gz")
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        inputs = open_case("p1", case).input_files()
        assert inputs["roi:b"] == (case / "seg.nii.gz", case / "labels.yaml")
        assert inputs["image"] == (case / "ct.nii.gz",)


class TestWhatIsALabelMap:
    @pytest.mark.parametrize(
        "name", ["labels", "Segmentation", "p1_seg", "label_map", "all-labels", "ct_labels", "P1-segmentation"]
    )
    def test_by_its_name_beside_masks(self, case, name):
        put(case / f"{name}.nrrd")
        put(case / "bladder.nrrd", values({1: 4}))
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert sizes(case) == {"bladder": 4, "a": 3, "b": 2, "c": 1}

    def test_the_only_volume_with_several_values(self, case):
        put(case / "export_17.mha")
        assert "a label map with the values 1, 2, 5, and nothing names them" in refused(case)
        (case.parent / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert sizes(case) == {"a": 3, "b": 2, "c": 1}

    def test_one_value_without_names_is_a_mask(self, case):
        put(case / "seg.mha", values({1: 4}))
        assert sizes(case) == {"seg": 4}

    def test_one_value_with_names_is_a_label_map(self, case):
        put(case / "seg.mha", values({5: 4}))
        (case.parent / "labels.yaml").write_text("{1: a, 5: c}")
        assert sizes(case) == {"a": 0, "c": 4}

    def test_the_name_of_a_structure_is_a_mask_whatever_lies_beside(self, case):
        put(case / "gtv.nii.gz", values({1: 4}))
        (case / "gtv.json").write_text('{"Modality": "CT"}')
        (case / "dataset.json").write_text('{"labels": {"background": 0, "body": 1}}')
        assert sizes(case) == {"gtv": 4}

    def test_names_of_the_same_stem_make_any_volume_one(self, case):
        put(case / "muscles.nii.gz")
        put(case / "gtv.nii.gz", values({1: 4}))
        (case / "muscles.yaml").write_text("{1: a, 2: b, 5: c}")
        assert sizes(case) == {"gtv": 4, "a": 3, "b": 2, "c": 1}

    def test_nnunet_names_image_and_labels_by_the_case(self, case):
        (case / "ct.nii.gz").rename(case / "p1_0000.nii.gz")
        put(case / "p1.nii.gz")
        (case.parent / "dataset.json").write_text('{"labels": {"background": 0, "a": 1, "b": 2, "c": 5}}')
        assert open_case("p1", case).files.image.name == "p1_0000.nii.gz"
        assert sizes(case) == {"a": 3, "b": 2, "c": 1}

    def test_image_with_ct_as_a_word_beside_a_label_map(self, case):
        (case / "ct.nii.gz").rename(case / "planning_ct.nii.gz")
        put(case / "labels.nii.gz")
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert open_case("p1", case).files.image.name == "planning_ct.nii.gz"


class TestRefused:
    def test_no_names_says_how_to_give_them(self, case):
        put(case / "labels.nii.gz")
        message = refused(case)
        assert "labels.yaml with lines such as '1: gtv'" in message
        assert "--label-names FILE" in message

    def test_values_without_a_name_are_counted(self, case):
        put(case / "labels.nii.gz")
        (case / "labels.yaml").write_text("1: gtv\n")
        assert "has no name for the value(s) 2 (2 voxels), 5 (1 voxels)" in refused(case)

    @pytest.mark.parametrize("array", [values() + 0.5, values().astype(np.int16) - 1, values() * 70000.0])
    def test_no_integers(self, case, array):
        write_image(case / "labels.mha", Image(array, GRID))
        (case / "labels.yaml").write_text("1: gtv\n")
        assert "expected a label map of integers from 0 to 65535" in refused(case)

    def test_integers_stored_as_numbers_with_a_point_are_fine(self, case):
        write_image(case / "labels.mha", Image(values().astype(np.float32), GRID))
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert sizes(case) == {"a": 3, "b": 2, "c": 1}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{1: a, 2: b, 2: c}", "'2' is given twice"),
            ("{a: 1, b: 1}", "the value 1 is both 'a' and 'b'"),
            ("{gtv: 0, a: 1}", "'gtv' has the value 0, which is background"),
            ("{0: background}", "names no value above 0"),
            ("{1: 2}", "expected lines such as '1: gtv' or 'gtv: 1', found '1: 2'"),
            ("{a: b}", "found 'a: b'"),
            ("{a: -1}", "found 'a: -1'"),
            ("{a: []}", "found 'a: []'"),
            ("[1, 2]", "found a list"),
            ("{1: [", "not readable YAML"),
        ],
    )
    def test_bad_names(self, case, text, expected):
        put(case / "labels.nii.gz")
        (case / "labels.yaml").write_text(text)
        assert expected in refused(case)

    def test_two_files_of_names(self, case):
        put(case / "labels.nii.gz")
        for suffix in ("yaml", "json"):
            (case / f"labels.{suffix}").write_text('{"1": "a"}')
        assert "both labels.json and labels.yaml name the labels" in refused(case)

    def test_a_name_in_two_volumes(self, case):
        put(case / "labels.nii.gz")
        put(case / "a.nii.gz", values({1: 1}))
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert "two ROIs named 'a', in a.nii.gz and in labels.nii.gz" in refused(case)

    def test_another_grid(self, case):
        other = Geometry(GRID.size, GRID.spacing_mm, (0.0, 0.0, 0.3))
        write_image(case / "labels.nii.gz", Image(values(), other))
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert "label map labels.nii.gz does not lie on the grid of the image" in refused(case)
        source = open_case("p1", case, SourceOptions(resample_masks=True))
        with pytest.raises(ChordomaError, match=r"case 'p1': labels.nii.gz, 'a': 100.0% of the mask lies outside"):
            source.mask("a")


def write_seg_nrrd(path, components, origin, fields, grid=GRID):
    """`components` (z, y, x, component) as 3D Slicer writes them: one list axis before three of space."""
    spacing = [" ".join(f"({','.join(f'{v:g}' for v in column)})" for column in np.diag(grid.spacing_mm))]
    z, y, x, count = components.shape
    listed = count > 1
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {4 if listed else 3}",
        "space: left-posterior-superior",
        f"sizes: {f'{count} ' if listed else ''}{x} {y} {z}",
        f"space directions: {'none ' if listed else ''}{spacing[0]}",
        f"kinds: {'list ' if listed else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: ({','.join(f'{v:g}' for v in origin)})",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    path.write_bytes("\n".join([*header, "", ""]).encode() + gzip.compress(components.astype(np.uint8).tobytes()))


class TestSlicer:
    def test_layers_overlap_and_a_crop_is_put_in_place(self, case):
        # Slicer stores the part that is segmented, with a margin that may lie outside the image.
        cropped = np.zeros((2, 3, 4, 2))
        cropped[1, 1, 1:4, 0] = 1
        cropped[1, 2, 1:3, 0] = 2
        cropped[1, 1, 1, 1] = 1
        fields = {
            "Segment0_ID": "Segment_1",
            **{"Segment0_Name": "GTV", "Segment0_LabelValue": 1, "Segment0_Layer": 0},
            **{"Segment1_Name": "Piriformis_L", "Segment1_LabelValue": 2, "Segment1_Layer": 0},
            **{"Segment2_Name": "core", "Segment2_LabelValue": 1, "Segment2_Layer": 1},
        }
        write_seg_nrrd(case / "x.seg.nrrd", cropped, (9.0, -20.0, 28.0), fields)
        (case / "labels.yaml").write_text("1: wrong\n")
        source = open_case("p1", case)
        expected = {
            "GTV": [(0, 1, 0), (0, 1, 1), (0, 1, 2)],
            "Piriformis_L": [(0, 2, 0), (0, 2, 1)],
            "core": [(0, 1, 0)],
        }
        assert [roi.key for roi in source.rois] == list(expected)
        for key, voxels in expected.items():
            mask = source.mask(key)
            assert mask.mask.shape == GRID.shape_zyx
            assert [tuple(v) for v in np.argwhere(mask.mask).tolist()] == voxels
            assert mask.warnings == ()

    def test_voxels_of_a_crop_outside_the_image_are_not_lost_silently(self, case):
        cropped = np.ones((2, 3, 4, 1))
        write_seg_nrrd(case / "x.seg.nrrd", cropped, (9.0, -20.0, 30.0), {"Segment0_Name": "GTV"})
        source = open_case("p1", case)
        with pytest.raises(ChordomaError, match=r"'GTV': 25.0% of the mask lies outside the image"):
            source.mask("GTV")

    def test_values_without_a_segment(self, case):
        fields = {"Segment0_Name": "GTV", "Segment0_LabelValue": 1, "Segment0_Layer": 0}
        write_seg_nrrd(case / "x.seg.nrrd", values()[..., None], GRID.origin_mm, fields)
        assert "its header has no name for the value(s) 2 (2 voxels), 5 (1 voxels)" in refused(case)

    def test_a_value_has_its_meaning_in_one_layer_only(self, case):
        layers = np.zeros((*GRID.shape_zyx, 2))
        layers[1, 1, 1, 1] = 2
        fields = {"Segment0_Name": "a", "Segment0_LabelValue": 2, "Segment0_Layer": 0}
        write_seg_nrrd(case / "x.seg.nrrd", layers, GRID.origin_mm, fields)
        assert "has no name for the value(s) 2 (1 voxels)" in refused(case)

    def test_one_voxel_means_that_all_segments_are_empty(self, case):
        fields = {"Segment0_Name": "GTV", "Segment0_LabelValue": 1, "Segment0_Layer": 0}
        write_seg_nrrd(case / "x.seg.nrrd", np.zeros((1, 1, 1, 1)), (0.0, 0.0, 0.0), fields)
        assert sizes(case) == {"GTV": 0}

    def test_equal_names_are_told_apart(self, case):
        fields = {}
        for index, value in enumerate((1, 2, 5)):
            fields |= {f"Segment{index}_Name": "GTV" if value < 5 else "x", f"Segment{index}_LabelValue": value}
        write_seg_nrrd(case / "x.seg.nrrd", values()[..., None], GRID.origin_mm, fields)
        assert sizes(case) == {"GTV (segment 1)": 3, "GTV (segment 2)": 2, "x": 1}
        assert {roi.name for roi in open_case("p1", case).rois} == {"GTV", "x"}

    def test_old_files_without_layers_and_values(self):
        found = slicer_segments({"Segment0_Name": "a", "Segment1_Name": "b", "Segment1_Extent": "0 1 0 1 0 1"})
        assert [(s.name, s.values, s.layer) for s in found] == [("a", (1,), 0), ("b", (1,), 1)]

    def test_more_layers_named_than_stored(self, case):
        fields = {"Segment0_Name": "a", "Segment0_LabelValue": 1, "Segment0_Layer": 3}
        write_seg_nrrd(case / "x.seg.nrrd", values({1: 2})[..., None], GRID.origin_mm, fields)
        assert "expected 4 components, as its header says, found 1" in refused(case)


def add_extension(path, text, code=0):
    """A NIfTI-1 header extension, as TotalSegmentator writes its table of labels."""
    stored = gzip.decompress(path.read_bytes())
    length = -(-(len(text) + 8) // 16) * 16
    extension = np.array([length, code], "<i4").tobytes() + text.encode().ljust(length - 8, b"\0")
    offset = np.array([352 + length], "<f4").tobytes()
    changed = stored[:108] + offset + stored[112:348] + b"\1\0\0\0" + extension + stored[352:]
    path.write_bytes(gzip.compress(changed))


class TestNiftiHeader:
    TABLE = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><VolumeInformation Index="0"><LabelTable>'
        '<Label Key="0">background</Label>\n'
        '<Label Key="1" Red="0.1" Green="0" Blue="0" Alpha="1"><![CDATA[gluteus_maximus_left]]></Label>\n'
        '<Label Key="2"><![CDATA[gluteus_maximus_right]]></Label><Label Key="5">x</Label>\n'
        "</LabelTable></VolumeInformation></CaretExtension>"
    )

    def test_table_of_labels(self, case):
        put(case / "total.nii.gz")
        add_extension(case / "total.nii.gz", self.TABLE)
        np.testing.assert_array_equal(read_image(case / "total.nii.gz").array, values())
        put(case / "gtv.nii.gz", values({1: 4}))
        assert sizes(case) == {"gtv": 4, "gluteus_maximus_left": 3, "gluteus_maximus_right": 2, "x": 1}

    @pytest.mark.parametrize("text", ["<LabelTable><Label></LabelTable>", "<LabelTable></LabelTable>", "hello", ""])
    def test_other_extensions_name_nothing(self, case, text):
        put(case / "labels.nii.gz")
        add_extension(case / "labels.nii.gz", text)
        assert "nothing names them" in refused(case)

    def test_a_file_of_the_same_stem_goes_before_it(self, case):
        put(case / "labels.nii.gz")
        add_extension(case / "labels.nii.gz", self.TABLE)
        (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
        assert list(sizes(case)) == ["a", "b", "c"]


def test_metaimage_data_files_are_inputs(case):
    (case / "ct.nii.gz").unlink()
    for name, array in {"scan": values(), "gtv": values({1: 2}), "labels": values()}.items():
        sitk.WriteImage(to_sitk(Image(array, GRID)), str(case / f"{name}.mhd"))
    (case / "labels.yaml").write_text("{1: a, 2: b, 5: c}")
    assert open_case("p1", case).input_files() == {
        "image": (case / "scan.mhd", case / "scan.raw"),
        "roi:gtv": (case / "gtv.mhd", case / "gtv.raw"),
        **dict.fromkeys(("roi:a", "roi:b", "roi:c"), (case / "labels.mhd", case / "labels.raw", case / "labels.yaml")),
    }


@pytest.mark.real_data
class TestRealData:
    def test_segments_of_one_file_are_those_of_two(self, real_data, tmp_path):
        data = real_data / "dcmqi"
        both = tmp_path / "src/p1"
        (both / "seg").mkdir(parents=True)
        image = read_image(data / "liver_spine_seg.nrrd")
        write_image(both / "ct.nrrd", Image(np.zeros(image.array.shape, np.int16), image.geometry))
        shutil.copy(data / "liver_spine_seg.nrrd", both / "seg/labels.nrrd")
        (both / "labels.yaml").write_text("{1: liver, 2: spine}")
        source = open_case("p1", both)
        for name in ("liver", "spine"):
            single = read_image(data / f"{name}_seg.nrrd")
            assert source.geometry.difference(single.geometry) is None
            np.testing.assert_array_equal(source.mask(name).mask, single.array > 0)

    def test_totalsegmentator_masks_as_one_label_map(self, real_data, tmp_path):
        """A label map made of the masks gives the masks back, under the names that are known."""
        data = real_data / "totalsegmentator"
        case = tmp_path / "src/p1"
        case.mkdir(parents=True)
        (case / "example_ct.nii.gz").symlink_to((data / "example_ct.nii.gz").resolve())
        names = ["gluteus_maximus_left", "gluteus_maximus_right", "autochthon_left", "brain"]
        masks = [read_image(data / f"example_seg/{name}.nii.gz") for name in names]
        labels = sum((m.array.astype(np.uint8) * value for value, m in enumerate(masks, start=1)), start=np.uint8(0))
        write_image(case / "segmentation.nii.gz", Image(labels, masks[0].geometry))
        (case / "labels.json").write_text(json.dumps({name: v for v, name in enumerate(names, start=1)}))
        source = open_case("p1", case)
        for name, mask in zip(names, masks, strict=True):
            np.testing.assert_array_equal(source.mask(name).mask, mask.array > 0)

    def test_vertebrae(self, real_data, tmp_path):
        data = real_data / "panoptica_spine"
        case = tmp_path / "src/p1"
        case.mkdir(parents=True)
        stored = read_image(data / "ref.nii.gz")
        write_image(case / "image.nii.gz", Image(np.zeros(stored.array.shape, np.int16), stored.geometry))
        shutil.copy(data / "ref.nii.gz", case / "ref.nii.gz")
        assert "values 26, 41, 42, 43" in refused(case)
        found = {int(v): int((stored.array == v).sum()) for v in np.unique(stored.array) if v}
        (case / "labels.json").write_text(json.dumps({f"v{v}": v for v in found}))
        assert sizes(case) == {f"v{v}": count for v, count in found.items()}
