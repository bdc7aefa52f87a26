"""The page in a real browser: whole without a network, on a phone, and on paper."""

import json
import os
import re
import shutil
import subprocess
import threading
from html import unescape
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
PHONE_PX = 390

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance"),
]

# The page stands in a frame as wide as a phone; the frame around it looks at it and leaves what it saw in the document.
WRAPPER = """<!DOCTYPE html><html><body>
<iframe src="{page}" style="width: {width}px; height: 800px; border: 0"></iframe>
<script>
addEventListener("load", () => {{
  const frame = document.querySelector("iframe").contentWindow, page = frame.document;
  const images = [...page.images];
  const seen = {{
    images: images.length,
    broken: images.filter(image => !image.complete || !image.naturalWidth).map(image => image.alt),
    width: page.documentElement.scrollWidth,
    wide: [...page.querySelectorAll("main *")].filter(e => !e.closest(".scroll") &&
      e.getBoundingClientRect().right > {width} + 1).map(e => e.tagName + " " + e.textContent.slice(0, 40)),
    fetched: frame.performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    unreachable: [...page.querySelectorAll(".scroll")].filter(e => e.tabIndex !== 0).length,
    headings: [...page.querySelectorAll("h1, h2")].length,
  }};
  document.body.replaceChildren("seen:" + JSON.stringify(seen));
}});
</script></body></html>"""


def chromium(folder, *arguments):
    """Run headless Chromium that knows no host but this one, and return what it prints."""
    command = [
        *(CHROMIUM, "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--allow-file-access-from-files"),
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        # Chromium's sandbox refuses the root user, as whom tests run in containers.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def look_at(page, folder, width=PHONE_PX):
    """What a browser of some width saw of a page."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "wrapper.html"
    wrapper.write_text(WRAPPER.format(page=page.absolute().as_uri(), width=width))
    document = chromium(folder, "--dump-dom", wrapper.as_uri())
    found = re.search(r"seen:(\{.*\})", unescape(document))
    assert found, document[-2000:]
    return json.loads(found.group(1))


@pytest.fixture(scope="module")
def page(reported):
    return reported.root / "report" / "index.html"


def test_the_page_on_a_phone(page, tmp_path):
    seen = look_at(page, tmp_path)
    assert seen["images"] > 30
    assert seen["broken"] == []
    assert seen["fetched"] == []
    assert seen["width"] <= PHONE_PX
    assert seen["wide"] == []
    assert seen["unreachable"] == 0
    assert seen["headings"] > 5


@pytest.fixture
def server():
    """A web server on this host: its address, and what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}", asked
        web.shutdown()
        thread.join()


def test_these_checks_notice(page, tmp_path, server):
    address, asked = server
    spoilt = tmp_path / "spoilt.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    additions = f'<img src="{address}/x.png" alt="gone"><p style="width: 500px">wide</p>'
    spoilt.write_text(text.replace("<main>", f"<main>{additions}"))
    seen = look_at(spoilt, tmp_path / "look")
    assert seen["broken"] == ["gone"]
    assert seen["fetched"] == [f"{address}/x.png"]
    assert asked == ["/x.png"]
    # The margin of a narrow page is 0.8 rem.
    assert seen["width"] == round(500 + 0.8 * 16)
    assert "P wide" in seen["wide"]


def test_the_page_itself_forbids_to_fetch(page, tmp_path, server):
    address, asked = server
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text(page.read_text().replace("<main>", f'<main><img src="{address}/x.png" alt="gone">'))
    assert look_at(spoilt, tmp_path / "look")["broken"] == ["gone"]
    assert asked == []


def test_the_page_on_paper(page, tmp_path):
    printed = tmp_path / "report.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.absolute().as_uri())
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    # A4 across, in points.
    boxes = {tuple(round(float(v)) for v in box.split()) for box in re.findall(rb"/MediaBox \[([^\]]+)\]", content)}
    assert boxes == {(0, 0, 842, 595)}
