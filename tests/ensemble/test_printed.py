"""What the commands print fits the screen and breaks between words."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.ensemble.comparison.counts import Comparison
from nnunet_chordoma.ensemble.comparison.table import print_comparison
from nnunet_chordoma.ensemble.sentences import print_sentences
from nnunet_chordoma.labels import CHORDOMA, LabelScheme

COMMAND = Path(sys.executable).parent / "chordoma-ensemble"
PAPER_MODELS = ("unet_dice", "unet_ce", "unet_wce", "resunet_dice", "resunet_ce", "resunet_wce")


def comparison(scheme: LabelScheme, ensembles: tuple[str, ...], models: tuple[str, ...] = PAPER_MODELS) -> Comparison:
    labels, candidates = len(scheme), len(ensembles) + len(models)
    voxels = np.arange(1, candidates * 2 * labels + 1).reshape(candidates, 2, labels)
    return Comparison(
        scheme, ("p1", "p2"), ensembles, models, None, np.full((2, labels), 500), np.full(voxels.shape, 500), voxels
    )


def printed(of: Comparison, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_comparison(of)
    return capsys.readouterr().out


def tables(said: str) -> list[str]:
    return said[: said.index("IoU and Dice are means")].splitlines()


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_the_table_of_the_project_fits_one_hundred_columns(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = comparison(CHORDOMA, ("average", "vote", "STAPLE", "label-map optimum, shrunk 30%, for gtv"))
    said = printed(of, columns, monkeypatch, capsys)
    assert max(map(len, tables(said))) <= 100
    assert said.count("IoU, mean over") == 1  # in one piece
    words = said.split()
    for word in ("label-map", "optimum,", "shrunk", "(resunet_wce)", "paraspinal", "piriformis", "minimus", "classes"):
        assert word in words
    for value in (*of.iou[0].mean(axis=0)[2:], *of.dice[9].mean(axis=0)[2:], of.iou_sum[4]):
        assert f"{value:.4f}" in words


def test_many_structures_go_into_several_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tuple(f"structure_number_{index:02d}" for index in range(25))
    said = printed(comparison(LabelScheme(("background", "body", *names)), ("average",)), 80, monkeypatch, capsys)
    assert max(map(len, tables(said))) <= 100
    assert "IoU, mean over 2 case(s), continued" in said
    for index in range(25):
        assert said.split().count(f"{index:02d}") == 2  # once for each metric


def test_names_longer_than_the_screen_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "model_" + "x" * 110
    said = printed(comparison(CHORDOMA, ("average",), (name, "other")), 80, monkeypatch, capsys)
    assert name in said.split()


@pytest.mark.parametrize("command", ["fit", "predict", "compare"])
def test_paragraphs_of_the_help_flow(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    done = subprocess.run([COMMAND, command, "--help"], capture_output=True, text=True, check=True)
    text = done.stdout[done.stdout.index("[OPTIONS]") + len("[OPTIONS]") : done.stdout.index("╭")]
    paragraphs = [part.split("\n") for part in "\n".join(map(str.strip, text.splitlines())).strip().split("\n\n")]
    assert len(paragraphs) == 2
    assert "…" not in done.stdout  # nothing is cut off
    for lines in paragraphs:
        for line, following in itertools.pairwise(lines):
            assert len(f"{line} {following.split()[0]}") > 78, f"broken early: {line}"


def test_sentences_break_between_words_on_a_screen_and_nowhere_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "Weights of several models and what they are worth. " * 5
    monkeypatch.setenv("COLUMNS", "33")
    print_sentences([sentence])
    assert capsys.readouterr().out == sentence + "\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes any stream for a screen
    print_sentences([sentence])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 33
    assert " ".join(" ".join(lines).split()) == sentence.strip()
