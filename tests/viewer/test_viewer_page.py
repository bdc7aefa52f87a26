"""The page in a real browser: what is drawn where, the keyboard, no request to elsewhere, a timed rating."""

import time

import pytest
from matplotlib.image import imread

from nnunet_chordoma.colours import STRUCTURE_COLOURS
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.rating_sheet import Rating, read_sheet, write_sheet

# Centre of a voxel (x, y) of the axial slice in the screenshot: where its crosshair would lie.
PLACE = """(() => {
  const box = document.getElementById("image").getBoundingClientRect();
  const scale = Math.min(box.width / 80, box.height / 64);
  return [box.left + box.width / 2, box.top + box.height / 2, scale];
})()"""


class Page:
    def __init__(self, browser):
        self.browser = browser
        self.seen = None

    def at(self, x, y):
        """Colour at a voxel (x, y): 2 mm each of 80 x 64 mm, the patient's right (low x) on the left, front on top."""
        # One screenshot serves until something is done and `settled`.
        self.seen = self.seen or (self.browser.js(PLACE), self.browser.pixels())
        (left, top, scale), pixels = self.seen
        return pixels[round(top + (2 * y + 1 - 32) * scale), round(left + (2 * x + 1 - 40) * scale)]

    def text(self, name):
        return self.browser.js(f"document.getElementById('{name}').textContent")

    def settled(self, expression):
        self.seen = None
        self.browser.wait(expression)
        # Two frames later it is on the screen.
        self.browser.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory, add_case, make_contents):
    folder = tmp_path_factory.mktemp("page")
    add_case(folder)
    return serve(make_contents(folder))


@pytest.fixture
def page(browser, server):
    """The page at slice 7 with the reference and the ensemble as contours and all structures shown."""
    # Anew, whatever other tests have done to it.
    browser.open(server.url)
    page = Page(browser)
    for name in (".layer select", "#structures tbody input"):
        browser.js(
            f"document.querySelectorAll('{name}').forEach(e => {{ const was = e.type === 'checkbox' ? !e.checked : "
            "e.value !== 'contour'; if (was && !e.ariaLabel.includes('body')) { e.type === 'checkbox' ? e.click() : "
            "(e.value = 'contour', e.dispatchEvent(new Event('change'))); } })"
        )
    browser.js("[...document.querySelectorAll('#views button')].find(b => b.textContent === 'axial').click()")
    go_to(page, 7)
    return page


def go_to(page, slice_index):
    # The address follows the page a little later; setting it to what it still is would tell the page nothing.
    page.browser.js(f"location.hash = ''; location.hash = '#case=case_1&slice={slice_index}'")
    page.settled(f"document.getElementById('slice').textContent.startsWith('slice {slice_index} ')")


def rgb(structure):
    return [int(STRUCTURE_COLOURS[structure][i : i + 2], 16) for i in (1, 3, 5)]


def is_grey(colour):
    return max(colour) - min(colour) <= 2


def test_the_page_loads_and_asks_no_one_else(browser, server):
    browser.open(server.url)
    assert browser.js("document.body.dataset.state") == "ready"
    assert browser.js("document.getElementById('problem').textContent") == ""
    assert browser.complaints == []
    asked = [url for url in browser.requests if not url.startswith(("data:", "blob:", "about:"))]
    assert len(asked) > 10
    assert all(url.startswith(server.url) for url in asked), asked


def test_the_policy_lets_no_request_out(page):
    assert page.browser.js("fetch('http://127.0.0.1:9/').then(() => 'out', error => error.name)") == "TypeError"
    assert any("Content Security Policy" in str(each) for each in page.browser.complaints)


def test_the_ct_is_grey_and_the_fill_has_the_colour_of_its_structure(page):
    # Soft tissue of 40 HU in the window -160 to 240 is half of 255, air is black.
    assert is_grey(page.at(20, 15))
    assert abs(page.at(20, 15)[0] - 128) <= 2
    assert page.at(1, 1).max() <= 2
    page.browser.key("c")
    page.settled("document.querySelector('.layer select').value === 'fill'")
    # Slice 7: both sets agree, each 0.45 over what is below.
    share = 1 - 0.55**2
    expected = [share * c + (1 - share) * 128 for c in rgb("gtv")]
    assert abs(page.at(16, 13) - expected).max() <= 6
    muscle = [share * c + (1 - share) * 128 for c in rgb("gluteus_maximus")]
    assert abs(page.at(7, 24) - muscle).max() <= 6
    assert is_grey(page.at(30, 24))


def test_a_contour_runs_along_the_border_and_nowhere_else(page):
    left, top, scale = page.browser.js(PLACE)
    pixels = page.browser.pixels()
    # The tumour's first voxel along x is 14, so its border lies at 28 mm, 12 mm left of the middle.
    row, border = round(top + (2 * 13 + 1 - 32) * scale), round(left + (2 * 14 - 40) * scale)
    near = pixels[row, border - 2 : border + 3]
    assert abs(near - rgb("gtv")).max(axis=1).min() <= 70
    inside = pixels[row, round(left + (2 * 16 - 40) * scale) : round(left + (2 * 18 - 40) * scale)]
    assert all(is_grey(colour) for colour in inside)


def test_a_structure_is_switched_off_and_on(page):
    page.browser.key("c")
    page.settled("document.querySelector('.layer select').value === 'fill'")
    assert not is_grey(page.at(16, 13))
    # body is 1, the tumour 2.
    page.browser.key("2")
    page.settled("!document.querySelector('[aria-label=\"Show gtv\"]').checked")
    assert is_grey(page.at(16, 13))
    assert not is_grey(page.at(7, 24))
    page.browser.key("2")
    page.settled("document.querySelector('[aria-label=\"Show gtv\"]').checked")
    assert not is_grey(page.at(16, 13))


def test_arrow_keys_move(page):
    page.browser.key("c")
    page.browser.key("ArrowUp")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 8 ')")
    assert not is_grey(page.at(7, 24))
    # The muscle ends with slice 8.
    page.browser.key("ArrowUp")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 9 ')")
    assert is_grey(page.at(7, 24))
    page.browser.key("ArrowDown")
    page.browser.key("ArrowDown")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 7 ')")
    assert "HU" in page.text("value")


def test_the_review_list_leads_to_the_worst_slices(page):
    items = page.browser.js("[...document.querySelectorAll('#review button')].map(b => b.textContent)")
    # Six slices from 9 on differ by 2 x 2 x 8 voxels of 0.04 cm2; three are listed, muscles agree.
    assert items == [f"gtv, slice {i}ensemble and reference differ, 1.3 cm²" for i in (9, 10, 11)]
    page.browser.js("document.querySelectorAll('#review button')[0].click()")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 9 ')")
    page.browser.key("ArrowRight")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 10 ')")
    page.browser.key("ArrowLeft")
    page.settled("document.getElementById('slice').textContent.startsWith('slice 9 ')")


def test_an_address_counts_although_the_page_writes_its_own_meanwhile(page):
    # As a moment after a move, when the address follows it.
    page.browser.js(
        "location.hash = '#case=case_1&slice=9'; history.replaceState(null, '', '#case=case_1&slice=7')",
    )
    page.settled("document.getElementById('slice').textContent.startsWith('slice 9 ')")


def test_other_views_show_the_same_structures(page):
    page.browser.key("c")
    for view in ("coronal", "sagittal", "planes", "3D"):
        page.browser.js(
            f"[...document.querySelectorAll('#views button')].find(b => b.textContent === '{view}').click()"
        )
        page.settled(f"document.querySelector('#views [aria-pressed=true]').textContent === '{view}'")
        stage = page.browser.pixels()[60:700, 260:960]
        reddish = (stage[..., 0] > stage[..., 1] + 60) & (stage[..., 0] > stage[..., 2] + 60)
        assert reddish.sum() > 200, view


def test_a_screenshot_has_image_and_contours_and_says_of_what(page, tmp_path):
    page.browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.browser.key("s")
    saved = tmp_path / "case_1_slice7.png"
    end = time.monotonic() + 60
    while not saved.is_file() and time.monotonic() < end:
        page.browser.js("1")
    pixels = imread(saved)[..., :3] * 255
    grey = abs(pixels.max(axis=2) - pixels.min(axis=2)) < 3
    assert ((abs(pixels - 128).max(axis=2) < 3) & grey).sum() > 10_000
    assert (pixels[..., 0] > pixels[..., 1] + 60).sum() > 200


def test_typing_is_no_command(page):
    page.browser.js("document.getElementById('level').focus()")
    page.browser.key("2")
    assert page.browser.js("document.querySelector('[aria-label=\"Show gtv\"]').checked")
    page.browser.js("document.activeElement.blur()")


def test_slices_count_as_in_the_file_where_it_runs_downwards(browser, serve, tmp_path, add_case, make_contents, grid):
    turned = Geometry(grid.size, grid.spacing_mm, (-39.0, 31.0, 28.5), (1, 0, 0, 0, -1, 0, 0, 0, -1))
    add_case(tmp_path, grid=turned)
    browser.open(serve(make_contents(tmp_path)).url + "#case=case_1&slice=2")
    page = Page(browser)
    seen = {}
    # The muscle lies in slices 3 to 8 of the array.
    for index in (2, 3, 8, 9):
        go_to(page, index)
        stage = browser.pixels()[60:700, 260:960]
        seen[index] = int((abs(stage - rgb("gluteus_maximus")).max(axis=2) < 60).sum())
    assert seen[2] == seen[9] == 0, seen
    assert min(seen[3], seen[8]) > 100, seen


def test_blinded_one_set_at_a_time_without_body(browser, serve, tmp_path, add_case, make_contents):
    sheet = tmp_path / "ratings.csv"
    write_sheet(sheet, [Rating("case_1", contours, "gtv") for contours in ("A", "B")])
    add_case(tmp_path)
    browser.open(serve(make_contents(tmp_path, sheet=sheet, roles=("blinded", "blinded"))).url)
    Page(browser)
    ticks = "JSON.stringify([...document.querySelectorAll('.layer input[type=checkbox]')].map(e => e.checked))"
    shown = "document.querySelector('.sets [aria-pressed=true]').textContent"
    browser.wait(f"{shown} === 'A' && {ticks} === '[true,false]'")
    browser.js("document.querySelectorAll('.layer input[type=checkbox]')[1].click()")
    browser.wait(f"{shown} === 'B' && {ticks} === '[false,true]'")
    names = browser.js("[...document.querySelectorAll('#structures tbody button')].map(e => e.textContent)")
    assert "body" not in names
    assert names[0] == "gtv"


def test_a_rating_is_timed_into_the_sheet(browser, serve, tmp_path, add_case, make_contents):
    sheet = tmp_path / "ratings.csv"
    write_sheet(sheet, [Rating("case_1", contours, "gtv") for contours in ("A", "B")])
    add_case(tmp_path)
    contents = make_contents(tmp_path, sheet=sheet, roles=("blinded", "blinded"))
    browser.open(serve(contents).url)
    page = Page(browser)
    assert page.text("rated") == "0 of 2 rated"
    assert browser.js("[...document.querySelectorAll('.layer input[type=checkbox]')].map(e => e.checked)") == [
        True,
        False,
    ]
    browser.js("document.querySelector('[aria-label^=\"Start the clock\"]').click()")
    browser.wait("document.querySelector('.running-clock')")
    browser.wait("document.querySelector('.running-clock').textContent >= '0:01'")
    browser.js("document.querySelector('[aria-label^=\"Pause the clock\"]').click()")
    browser.wait("document.getElementById('rated').textContent === '1 of 2 rated'")
    rated, other = read_sheet(sheet)
    assert 0.01 <= rated.minutes <= 2
    assert other.minutes is None
    typed = "const e = document.querySelector('[aria-label^=\"Comments on\"]'); e.value = 'edge, left';"
    browser.js(f"{{ {typed} e.dispatchEvent(new Event('change')); }}")
    browser.wait("document.querySelector('[aria-label^=\"Comments on\"]').value === 'edge, left'")
    # Another tab stops a clock: this one lets go of it, and writes nothing of its own.
    browser.js("document.querySelector('[aria-label^=\"Start the clock\"]').click()")
    browser.wait("document.querySelector('.running-clock')")
    told = "new StorageEvent('storage', { key: 'chordoma-rating-clock', newValue: null })"
    browser.js(f"localStorage.removeItem('chordoma-rating-clock'); dispatchEvent({told})")
    browser.wait("!document.querySelector('.running-clock')")
    assert read_sheet(sheet)[0].minutes == rated.minutes
    # Minutes typed into the other set, then the tab key: what is typed next goes into its comments, not to the viewer.
    browser.js("[...document.querySelectorAll('.sets button')].find(b => b.textContent === 'B').click()")
    browser.js("document.querySelector('[aria-label^=\"Minutes for\"]').focus()")
    browser.key("3")
    browser.js("document.querySelector('[aria-label^=\"Comments on\"]').focus()")
    browser.key("2")
    browser.wait("document.getElementById('rated').textContent === '2 of 2 rated'")
    browser.key("x")
    assert browser.js("document.activeElement.value") == "2x"
    browser.js("document.activeElement.blur()")
    end = time.monotonic() + 20
    while read_sheet(sheet)[1] != Rating("case_1", "B", "gtv", 3.0, "2x") and time.monotonic() < end:
        time.sleep(0.05)
    assert read_sheet(sheet)[1] == Rating("case_1", "B", "gtv", 3.0, "2x")
    browser.open(browser.js("location.href.split('#')[0]"))
    assert page.text("rated") == "2 of 2 rated"
    assert read_sheet(sheet)[0].comments == "edge, left"
