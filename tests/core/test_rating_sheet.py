"""The sheet in which minutes of editing are noted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.rating_sheet import Rating, read_sheet, with_rating, write_sheet

HEAD = "patient,contours,structure,minutes,comments\n"
RATINGS = (
    Rating("patient_1", "A", "gtv", 12.5, 'too large at the top, "leaks" into bone; ä'),
    Rating("patient_1", "A", "piriformis", 0.0),
    Rating("patient_1", "B", "gtv"),
    Rating("patient_2", "A", "gtv", 1 / 3, "=1+1"),
    Rating("patient_2", "B", "gtv", 7.0, "first line\nsecond line"),
)


def test_a_sheet_is_plain_csv(tmp_path):
    write_sheet(tmp_path / "ratings.csv", RATINGS[:3])
    assert (tmp_path / "ratings.csv").read_bytes().decode() == (
        HEAD + 'patient_1,A,gtv,12.5,"too large at the top, ""leaks"" into bone; ä"\n'
        "patient_1,A,piriformis,0,\n"
        "patient_1,B,gtv,,\n"
    )


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.xlsx", "RATINGS.XLSX"])
def test_what_is_written_is_read(tmp_path, name):
    write_sheet(tmp_path / name, RATINGS)
    assert read_sheet(tmp_path / name) == RATINGS
    assert [path.name for path in tmp_path.iterdir()] == [name]


@given(st.one_of(st.none(), st.floats(0, 1e9)), st.text(st.characters(codec="utf-8", exclude_categories=["C"])))
def test_minutes_and_comments_survive_in_csv(tmp_path_factory, minutes, comments):
    path = tmp_path_factory.mktemp("sheet") / "ratings.csv"
    rating = Rating("patient_1", "A", "gtv", minutes, comments.strip())
    write_sheet(path, [rating])
    assert read_sheet(path) == (rating,)


def test_comments_are_no_formulas_in_a_spreadsheet(tmp_path):
    from openpyxl import load_workbook

    write_sheet(tmp_path / "ratings.xlsx", RATINGS)
    sheet = load_workbook(tmp_path / "ratings.xlsx").worksheets[0]
    assert (sheet["E5"].value, sheet["E5"].data_type) == ("=1+1", "s")
    assert (sheet["D2"].value, sheet["D2"].data_type) == (12.5, "n")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEAD + "patient_1,A,gtv,2.5,good\n",
        HEAD.replace("\n", "\r\n") + "patient_1,A,gtv,2.5,good\r\n\r\n,,,,\r\n",
        HEAD.replace(",", ";") + "patient_1;A;gtv;2,5;good\n",
        HEAD + " patient_1 , A,gtv, 2.50 ,good \n",
        HEAD + 'patient_1,A,gtv,"2,5",good\n',
        '"patient";"contours";"structure";"minutes";"comments"\n"patient_1";"A";"gtv";2,5;"good"\n',
        "\ufeff" + HEAD.replace(",", ";").replace("\n", "\r\n") + "patient_1;A;gtv;2,5;good\r\n;;;;\r\n;;;;\r\n",
        HEAD.replace(",", "\t") + "patient_1\tA\tgtv\t2,5\tgood\n",
        HEAD.replace("\n", ",,\n") + "patient_1,A,gtv,2.5,good,,\n,,,,,,\n",
    ],
    ids=[
        *("byte order mark", "windows, empty rows", "semicolons and decimal commas", "spaces"),
        *("commas and decimal commas", "all texts quoted", "byte order mark, semicolons, empty rows", "tabs"),
        "columns once used",
    ],
)
def test_what_spreadsheets_save_is_read(tmp_path, text):
    (tmp_path / "ratings.csv").write_bytes(text.encode())
    assert read_sheet(tmp_path / "ratings.csv") == (Rating("patient_1", "A", "gtv", 2.5, "good"),)


def test_commas_in_comments_stay_where_semicolons_separate(tmp_path):
    (tmp_path / "ratings.csv").write_text(HEAD.replace(",", ";") + "patient_1;A;gtv;2,5;large, but good\n")
    assert read_sheet(tmp_path / "ratings.csv")[0].comments == "large, but good"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a rating sheet with the columns patient,contours,structure,minutes,comments, found nothing"),
        ("patient,contours,minutes\n", "found patient,contours,minutes"),
        (HEAD + "patient_1,A,gtv,1,\npatient_1,B,gtv,about 3,\n", "row 3: expected minutes as a number >= 0"),
        (HEAD + "patient_1,A,gtv,-1,\n", "row 2: expected minutes as a number >= 0"),
        (HEAD + "patient_1,A,gtv,nan,\n", "row 2: expected minutes as a number >= 0"),
        (HEAD + "patient_1,A,gtv,inf,\n", "row 2: expected minutes as a number >= 0"),
        (
            HEAD + 'patient_1,A,gtv,"1,500",\n',
            "row 2: expected minutes as a number >= 0 without separators of thousands",
        ),
        (HEAD + "patient_1,A,gtv,1_0,\n", "found '1_0'"),
        (HEAD + "patient_1,A,gtv,00:07:30,\n", "found '00:07:30'"),
        (HEAD + "patient_1,A,gtv,7\n", "row 2: expected 5 cells, found 4"),
        (HEAD + "patient_1,A,gtv,2,5,good\n", "row 2: expected 5 cells, found 6; quote commas"),
        (HEAD + "patient_1,,gtv,2,\n", "row 2: expected patient, contours and structure"),
        (HEAD + "p,A,gtv,2,\n\np,B,gtv,3,\np,A,gtv,4,\n", "row 5: p, contours A, gtv is in row 2 already"),
    ],
)
def test_other_sheets_are_refused_by_row(tmp_path, text, said):
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(ChordomaError) as refused:
        read_sheet(tmp_path / "ratings.csv")
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'ratings.csv'}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ratings.csv", b"\xff\xfe\x00", "not in UTF-8"),
        ("ratings.xlsx", b"no archive", "not a readable .xlsx file"),
        ("ratings.ods", b"", "a rating sheet is a .csv or .xlsx file; save it as one"),
        ("ratings.csv", None, "no such file"),
        ("ratings.xlsx", None, "no such file"),
    ],
)
def test_files_that_are_no_sheets_are_refused(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ChordomaError, match=said):
        read_sheet(tmp_path / name)


def test_a_spreadsheet_that_was_worked_in_is_read(tmp_path):
    from openpyxl import load_workbook

    path = tmp_path / "ratings.xlsx"
    write_sheet(path, RATINGS)
    book = load_workbook(path)
    sheet = book["ratings"]
    # Shown as 12:30 or 13 as it may be, a number is a number; one typed with the other decimal sign is text.
    sheet["D2"].number_format = "0"
    sheet["D4"], sheet["D4"].number_format = "2,5", "@"
    sheet["H9"] = " "
    book.create_sheet("notes", 0)["A1"] = "mine"
    sheet.move_range("A2:E2", rows=6)
    book.save(path)
    filled = with_rating(RATINGS, "patient_1", "B", "gtv", 2.5, "")
    assert read_sheet(path) == (*filled[1:], filled[0])


def test_one_rating_is_replaced_and_the_rest_stays():
    changed = with_rating(RATINGS, "patient_1", "B", "gtv", 3.5, "edge")
    assert changed[2] == Rating("patient_1", "B", "gtv", 3.5, "edge")
    assert (*changed[:2], *changed[3:]) == (*RATINGS[:2], *RATINGS[3:])
    assert RATINGS[2].minutes is None
    cleared = with_rating(changed, "patient_1", "B", "gtv", None, "")
    assert cleared == RATINGS


def test_rows_that_are_not_there_and_impossible_minutes_are_refused():
    with pytest.raises(ChordomaError, match="no row for patient_1, contours C, gtv"):
        with_rating(RATINGS, "patient_1", "C", "gtv", 1, "")
    for minutes in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ChordomaError, match="expected minutes >= 0"):
            with_rating(RATINGS, "patient_1", "A", "gtv", minutes, "")
