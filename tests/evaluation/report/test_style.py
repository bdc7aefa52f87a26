"""The page's style sheets: letters can be read on what they stand on (WCAG 2.2, level AA)."""

import re
from pathlib import Path

import pytest

from nnunet_chordoma.evaluation import report
from nnunet_chordoma.evaluation.report.figures.heat_maps import luminance

TEMPLATES = Path(report.__file__).parent / "templates"
SHEETS = sorted(TEMPLATES.glob("*.css.j2"))
AA = 4.5


def rules(text):
    """(selector, {property: value}) of a style sheet, those within @media included."""
    plain = re.sub(r"@media[^{]*\{", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    return [
        (selector.strip(), dict(re.findall(r"([\w-]+):\s*([^;]+)", body)))
        for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", plain)
    ]


def hex_colour(value, variables):
    """`#abc`, `var(--x)` or the first colour of a shorthand as #rrggbb; None if there is none."""
    for name, colour in variables.items():
        value = value.replace(f"var({name})", colour)
    found = re.search(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b", value)
    if not found:
        return None
    digits = found.group(1)
    return f"#{digits if len(digits) == 6 else ''.join(2 * d for d in digits)}".lower()


def contrast(first, second):
    """WCAG's ratio, 1 to 21."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def sheet():
    found = [rule for path in SHEETS for rule in rules(path.read_text())]
    variables = {k: v for _, body in rules_of_root() for k, v in body.items()}
    return found, variables


def rules_of_root():
    text = (TEMPLATES / "style.css.j2").read_text()
    (body,) = re.findall(r":root\s*\{([^}]*)\}", text)
    return [(":root", dict(re.findall(r"(--\w+):\s*([^;]+)", body)))]


def test_known_contrasts():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_letters_contrast_with_their_ground(sheet):
    found, variables = sheet
    # What letters without a ground of their own may stand on.
    grounds = ["#ffffff", *(hex_colour(variables[name], variables) for name in ("--tint", "--best"))]
    checked = 0
    for selector, body in found:
        letters = hex_colour(body.get("color", ""), variables)
        own = hex_colour(body.get("background", ""), variables)
        if letters:
            for ground in [own] if own else grounds:
                assert contrast(letters, ground) >= AA, (selector, letters, ground)
                checked += 1
        elif own and "gradient" not in body["background"] and luminance(own) > 0.1:
            assert contrast(hex_colour(variables["--ink"], variables), own) >= AA, (selector, own)
    assert checked > 12


def test_focus_can_be_seen(sheet):
    found, variables = sheet
    outlines = [body["outline"] for selector, body in found if ":focus-visible" in selector]
    assert outlines
    for outline in outlines:
        # 3:1 is asked of marks that are no letters.
        assert contrast(hex_colour(outline, variables), "#ffffff") >= 3
    assert not any(body.get("outline") in ("0", "none") for _, body in found)


def test_nothing_is_fetched_by_a_style_sheet():
    for path in SHEETS:
        assert not re.search(r"@import|url\(|@font-face", path.read_text()), path.name


def test_what_is_cut_off_has_a_shadow(sheet):
    grounds = [body.get("background", "") for selector, body in sheet[0] if selector == ".scroll"]
    (ground,) = [ground for ground in grounds if "gradient" in ground]
    layers = ground.split("linear-gradient")[1:]
    # Covers move with the content over shadows that stay at the edges.
    assert ["local" if layer.rstrip(", \n").endswith("local") else "scroll" for layer in layers] == [
        *("local", "local", "scroll", "scroll")
    ]
