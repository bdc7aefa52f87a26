"""chordoma-eval report: the page, its tables and pictures."""

import base64
import html.parser
import re

import numpy as np
import pytest

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.layout import Splits, write_splits

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


class Page(html.parser.HTMLParser):
    """Elements of a page as (tag, attributes), and the text inside chosen tags."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.unbalanced = [], [], []
        self.bold, self.headings = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if "b" in self.open:
            self.bold.append(data)
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def report(cohort, evaluate):
    """Function that scores the given models and reports on them; returns the page's text and its parse."""

    def make(*models, splits=True, arguments=()):
        extra = ("--splits", cohort.splits) if splits else ()
        status, _, err = evaluate(*cohort.score_arguments(*(models or ("exact", "shifted")), extra=extra))
        assert status == 0, err
        status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report", *arguments)
        assert status == 0, err
        assert "index.html" in err
        text = (cohort.root / "report" / "index.html").read_text()
        page = Page(text)
        assert page.unbalanced == []
        assert page.open == []
        return text, page

    return make


def pngs(page):
    """The gallery's views; those of the worst results have other words."""
    views = [i for i in page.all("img") if i["src"].startswith("data:image/png")]
    return [i["src"] for i in views if "with contours of" in i["alt"]]


@pytest.fixture
def plain(reported):
    """Text and parse of the page of two models on two test cases and one outlier."""
    text = (reported.root / "report" / "index.html").read_text()
    return text, Page(text)


def test_the_page_stands_alone(plain, reported):
    text, page = plain
    assert page.unbalanced == []
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object"), tag
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name) or "#"
            linked = tag == "a" and name == "href" and value.startswith("tables/")
            assert linked or value.startswith(("data:", "#")), (tag, name, value[:80])
    assert not re.search(r"@import|url\(", text)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [a["href"] for a in page.all("a")]
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= ids
    assert "Research use only" in text
    assert sorted(p.name for p in (reported.root / "report").iterdir()) == ["index.html", "tables"]
    folder = {f"tables/{p.name}" for p in (reported.root / "report" / "tables").iterdir() if p.name[0] != "."}
    assert folder == {link for link in links if link.startswith("tables/")}
    forms = [f"tables/{name}.{form}" for name in ("table_test", "table_outlier") for form in ("csv", "md", "tex")]
    assert folder > set(forms)


def test_every_picture_and_plot_has_words(plain):
    _, page = plain
    images = page.all("img")
    assert all(len(image["alt"]) > 20 for image in images)
    # VDSC and ASSD for six structures of the test cases and five of the outlier; two cases with three views each.
    assert sum(i["src"].startswith("data:image/svg+xml") and "mean ± SD" in i["alt"] for i in images) == 2 * 6 + 2 * 5
    assert len(pngs(page)) == 6
    for uri in pngs(page):
        assert base64.b64decode(uri.partition(",")[2]).startswith(b"\x89PNG")


def test_the_best_is_bold(plain):
    _, page = plain
    # Seven columns of the test and six of the outlier table. `exact` alone is best by VDSC, IoU, ASSD and HD95;
    # by SDSC2 and SDSC3 one voxel of 2 mm is as good, so both models are marked. Below, `exact` alone is best by both
    # directed distances and APL; no surface of either model is beyond 2 or 3 mm; volumes have no best.
    means = [text for text in page.bold if "." in text]
    assert len(means) == (4 + 2 * 2 + 3 + 2 * 2) * (7 + 6)
    assert set(means) == {"100.0 ± 0.0", "0.00 ± 0.00", "0.0 ± 0.0", "100.0", "0.00", "0.0"}
    # Ranks, in each of two splits.
    assert [text for text in page.bold if text not in means] == ["1"] * (4 + 2 * 2) * 2


def test_cells_are_in_the_papers_form(report, cohort, drawn):
    cohort.add_prediction("shifted", "case_2", drawn())
    text, page = report(arguments=("--picture-model", "shifted"))
    # Dice of the paraspinal muscle is 0.75 and 1.
    assert "87.5 ± 12.5 <small>(75.0–100.0)</small>" in text
    assert "Table 1a. Test set, 2 cases" in text
    assert "Table 1b. Outlier set, 1 case" in text
    assert "Piriformis: no reference in any case, not evaluated there." in text
    assert page.headings[0] == "Segmentation report"
    assert "Best case: case_2, mean Dice 100.0 %" in page.headings


def test_names_are_escaped(report, cohort, drawn):
    name = "<b>&\"x'"
    for case, without in (("case_1", ()), ("case_2", ()), ("case_3", ("piriformis",))):
        cohort.add_prediction(name, case, drawn(without=without))
    text, page = report(name, splits=False, arguments=("--title", "<script>alert(1)</script>", "--picture-model", name))
    assert "&lt;script&gt;" in text
    assert page.all("script") == []
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text


def test_misclassified_structures_have_their_own_table(report, cohort, drawn):
    wrong = drawn(without=("piriformis",))
    wrong[2, 2:7, 15:20] = 7
    cohort.add_prediction("shifted", "case_3", wrong)
    text, page = report("shifted")
    assert "Misclassified: predicted where the reference has none" in page.headings
    assert re.search(r"shifted</th><td>case_3</td><td>Piriformis</td><td class=\"value\">0.20</td>", text)


def test_missed_structures_are_told(report, cohort, drawn):
    cohort.add_prediction("shifted", "case_2", drawn(without=("gtv",)))
    text, _ = report("shifted", splits=False)
    assert "Test set, structures missed altogether: shifted: GTV in 1 of 3 cases." in text
    assert '<small class="remark">1 missed</small>' in text


def test_a_structure_that_the_whole_cohort_lacks(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("case_1", "case_2"), outliers=())
    for case in ("case_1", "case_2"):
        cohort.add_case(case, without=("gtv", "piriformis"))
        cohort.add_prediction("model", case, drawn(without=("gtv", "piriformis"), shift=1))
    assert evaluate(*cohort.score_arguments("model"))[0] == 0
    status, out, _ = evaluate("show", cohort.scores)
    assert status == 0
    assert "GTV: no reference in any case" in out
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    page = Page((cohort.root / "report" / "index.html").read_text())
    plots = [i for i in page.all("img") if i["src"].startswith("data:image/svg")]
    assert sum("mean ± SD" in plot["alt"] for plot in plots) == 2 * 4
    assert len(pngs(page)) == 6


def test_no_structure_has_a_reference(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("case_1",), outliers=())
    everything = ("gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis")
    cohort.add_case("case_1", without=everything)
    cohort.add_prediction("model", "case_1", drawn())
    assert evaluate(*cohort.score_arguments("model"))[0] == 0
    assert evaluate("show", cohort.scores)[0] == 0
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 0, err
    text = (cohort.root / "report" / "index.html").read_text()
    assert "No structure has a reference in these cases." in text
    assert "No pictures:" in text


def test_one_model_on_one_case(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("case_1",), outliers=())
    cohort.add_prediction("model", "case_1", drawn(shift=1))
    assert evaluate(*cohort.score_arguments("model"))[0] == 0
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    page = Page((cohort.root / "report" / "index.html").read_text())
    assert page.bold == []
    assert [h for h in page.headings if "case_1" in h] == ["Only case: case_1, mean Dice 75.8 %"]
    text = (cohort.root / "report" / "index.html").read_text()
    findings = text[text.index('<section id="findings"') : text.index('<section id="split-1"')]
    assert "<caption>Mean over structures</caption>" in findings
    for word in ("best", "next", "chance", "ifference"):
        assert word not in findings.lower().replace('class="best', "")
    assert "bold and shaded" not in text
    assert "There is only one model: nothing to compare." in text


def test_three_cases_show_best_median_and_worst(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("a", "b", "c"), outliers=())
    for case, labels in (("a", drawn(shift=1)), ("b", drawn(without=("gtv", "piriformis"))), ("c", drawn())):
        cohort.add_prediction("model", case, labels)
    assert evaluate(*cohort.score_arguments("model"))[0] == 0
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    page = Page((cohort.root / "report" / "index.html").read_text())
    assert [h.partition(",")[0] for h in page.headings if " case: " in h] == [
        "Best case: c",
        "Median case: a",
        "Worst case: b",
    ]


# Where there are no pictures, the page says why


def without_pictures(cohort, evaluate, reason):
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 0, err
    text = (cohort.root / "report" / "index.html").read_text()
    assert pngs(Page(text)) == []
    assert "No pictures:" in text
    assert reason in text
    return err


def test_no_images(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    for image in cohort.images.iterdir():
        image.unlink()
    without_pictures(cohort, evaluate, "no image case_1_0000.nii.gz")


def test_no_sidecar(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    cohort.scores.with_suffix(".json").unlink()
    assert "no .json sidecar" in without_pictures(cohort, evaluate, "no sidecar beside it")


def test_label_maps_changed_since_scoring(cohort, evaluate, drawn):
    evaluate(*cohort.score_arguments("exact"))
    cohort.add_prediction("exact", "case_1", drawn(shift=1))
    without_pictures(cohort, evaluate, "has changed since it was scored")


def test_an_image_on_another_grid(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    grid = Geometry((22, 18, 20), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    write_image(cohort.images / "case_1_0000.nii.gz", Image(np.zeros(grid.shape_zyx, np.int16), grid))
    without_pictures(cohort, evaluate, "origin (0, 0, 0) against")


def test_images_from_another_folder(report, cohort):
    cohort.images.rename(cohort.root / "elsewhere")
    assert pngs(report("exact")[1]) == []
    assert len(pngs(report("exact", arguments=("--images", cohort.root / "elsewhere"))[1])) == 6


def test_an_edited_scores_file_is_told(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact", "shifted"))
    kept = [line for line in cohort.scores.read_text().splitlines() if not line.startswith("shifted")]
    cohort.scores.write_text("\n".join(kept) + "\n")
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 0
    assert "was changed after scoring" in err
    text = (cohort.root / "report" / "index.html").read_text()
    assert "was changed after scoring" in text.partition("</header>")[0]
    assert "was changed after scoring" in text.partition('<section id="provenance"')[2]
    status, _, err = evaluate("show", cohort.scores)
    assert (status, err.count("was changed after scoring")) == (0, 1)
    cohort.scores.with_suffix(".json").write_text("{}")
    status, out, err = evaluate("show", cohort.scores)
    assert status == 0
    assert "Table 1a" in out
    assert "was changed after scoring is unknown" in err


def test_scores_as_they_were_written_need_no_word(report, evaluate, cohort):
    text, _ = report("exact", "shifted")
    assert "was changed after scoring" not in text
    compare = ("compare", cohort.scores, "--baseline", "exact", "--test", "wilcoxon")
    for arguments in (("show", cohort.scores), compare):
        assert "changed after scoring" not in evaluate(*arguments)[2]
    cohort.scores.write_text(cohort.scores.read_text().replace("shifted", "moved"))
    assert "was changed after scoring" in evaluate(*compare)[2]


def test_too_few_cases_are_told_once(report, evaluate, cohort):
    evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    output = cohort.root / "comparison.csv"
    baselines = ("--baseline", "exact", "--baseline", "shifted")
    status, out, err = evaluate("compare", cohort.scores, *baselines, "-o", output)
    assert status == 0, err
    told = "Test set: 2 cases cannot give p &lt; 0.05 (least 0.5): the tests say nothing."
    assert told.replace("&lt;", "<") in out
    assert "Wilcoxon signed-rank test (two-sided; holm" not in out
    text, _ = report("exact", "shifted")
    findings = text[text.index('<section id="findings"') : text.index('<section id="split-1"')]
    assert findings.count(told) == 1
    shown, _, folded = findings.partition("<details>")
    assert "Wilcoxon" not in shown
    assert folded.count("Wilcoxon signed-rank test") == 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--picture-model", "nobody"), "not among the models scored: exact"),
        (("--images", "nowhere"), "nowhere is not an existing folder"),
        (("--images", "."), "no image case_1_0000.nii.gz in ."),
        (("-o", "scores.csv"), "is a file"),
        (("-o", "scores.csv/report"), "scores.csv; choose another place"),
    ],
)
def test_wrong_input_leaves_nothing(cohort, evaluate, monkeypatch, arguments, part):
    evaluate(*cohort.score_arguments("exact"))
    monkeypatch.chdir(cohort.root)
    status, _, err = evaluate("report", "scores.csv", "-o", "report", *arguments)
    assert status == 1
    assert part in err
    assert len(err.splitlines()) == 1
    assert not (cohort.root / "report").exists()


def test_a_sidecar_of_another_version_is_refused(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    sidecar = cohort.scores.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 1
    assert "schema version 1" in err


def test_the_pictures_follow_the_splits(report, cohort):
    write_splits(cohort.splits, Splits((), (), ("case_2",), ("case_1", "case_3")))
    _, page = report("exact")
    assert [h for h in page.headings if " case: " in h] == ["Only case: case_2, mean Dice 100.0 %"]
