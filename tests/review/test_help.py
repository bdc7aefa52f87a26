"""What chordoma-eval says of itself."""

from __future__ import annotations

import pytest

from nnunet_chordoma import console
from nnunet_chordoma.review.cli import app


def test_the_help_says_what_the_program_is_for(capsys):
    with pytest.raises(SystemExit) as end:
        console.run(app, arguments=["--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Measure predictions against references, compare models, and prepare a blinded review" in said
    assert "Research use only." in said
