"""Verdicts: the worst check decides, documents come back as they were, a summary fits into its DICOM attribute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Check, Level, Verdict, one_line, read_verdict, worst, write_verdict

PASSED = Check("volume/piriformis", "piriformis volume", Level.PASS, "piriformis volume 2 cm3")
LOOKED = Check(
    "volume/gtv", "GTV volume", Level.LOOK, "GTV volume 1622 cm3", 1622.0, "cm3", 35, 12.0, 1570.0, 3.2, 100.0
)
STOPPED = Check("hu/muscle", "HU", Level.STOP, "median HU 1060 HU")


def verdict(*checks):
    return Verdict("case_1", checks, ("rotation: not measured",), "ab", (("prediction", "cd"),))


def test_the_worst_check_decides():
    assert worst([]) is Level.PASS
    assert verdict(PASSED).level is Level.PASS
    assert verdict(PASSED, LOOKED).level is Level.LOOK
    assert verdict(STOPPED, LOOKED, PASSED).level is Level.STOP
    assert verdict(PASSED, LOOKED, STOPPED).flagged == (STOPPED, LOOKED)


def test_summaries():
    assert one_line(verdict(PASSED)) == "QA: PASS (1 checks, 1 not judged)"
    assert one_line(verdict(PASSED, LOOKED, STOPPED)) == (
        "QA: STOP (2 of 3 checks, 1 not judged): median HU 1060 HU; GTV volume 1622 cm3"
    )


def test_a_summary_of_checks_that_were_all_made_counts_no_others():
    assert one_line(Verdict("case_1", (PASSED,), (), "ab", ())) == "QA: PASS (1 checks)"


def test_what_does_not_fit_is_counted():
    long = verdict(*(Check(f"a/{i}", "t", Level.LOOK, f"finding {i} " + "x" * 190) for i in range(9)))
    text = one_line(long)
    assert text.startswith("QA: LOOK (9 of 9 checks, 1 not judged): finding 0 x")
    assert text.endswith("; and 5 more")
    assert text.count("finding") == 4
    assert one_line(long, 45) == "QA: LOOK (9 of 9 checks, 1 not judged)"
    with pytest.raises(ValueError, match="at least 38"):
        one_line(long, 20)


@given(st.lists(st.text(max_size=300), max_size=12), st.integers(45, 1024))
def test_a_summary_always_fits_and_is_plain(findings, limit):
    checks = [Check(f"a/{i}", "t", Level.LOOK, text) for i, text in enumerate(findings)]
    text = one_line(verdict(*checks), limit)
    assert len(text) <= limit
    assert text.isascii()
    assert text.isprintable()


def test_documents_come_back(tmp_path):
    path = tmp_path / "case_1.json"
    write_verdict(path, verdict(PASSED, LOOKED), CHORDOMA)
    assert read_verdict(path) == verdict(PASSED, LOOKED)
    content = read_json(path)
    assert (content["schema"], content["schema_version"], content["level"]) == ("chordoma-qa-verdict", 1, "look")
    assert content["one_line"] == "QA: LOOK (1 of 2 checks, 1 not judged): GTV volume 1622 cm3"


def test_a_verdict_that_was_changed_by_hand_is_refused(tmp_path):
    path = tmp_path / "case_1.json"
    write_verdict(path, verdict(STOPPED), CHORDOMA)
    write_json(path, read_json(path) | {"level": "pass"})
    with pytest.raises(ChordomaError, match="says 'pass', but its checks say 'stop'"):
        read_verdict(path)
    write_json(path, {key: value for key, value in read_json(path).items() if key != "checks"})
    with pytest.raises(ChordomaError, match="damaged verdict"):
        read_verdict(path)
