"""How long the viewer takes to show a CT of 512 x 512 x 400 voxels of 16 bits: from address to picture.

    python benchmarks/viewer.py                    needs Chromium, draws without a GPU
    python benchmarks/viewer.py --size 256,256,200

A body with noise and a label map are written as .nii.gz, served, and opened in headless Chromium, which draws in
software (SwiftShader): a computer with a GPU is faster. Printed are the seconds until the slice is on the screen and
until contours and review list are there too, the share of the browser's work in processor time, the most memory of
its largest process, and that of the server. Goal: 10 s to the picture.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from headless_browser import CHROMIUM, Browser

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase
from nnunet_chordoma.viewer.server import ViewerServer

GOAL_S = 10.0
STARTED = "document.body?.dataset.state"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="512,512,400", help="voxels along x, y, z")
    options = parser.parse_args()
    x, y, z = (int(n) for n in options.size.split(","))
    if not CHROMIUM:
        parser.error("needs Chromium (chromium, chromium-browser or google-chrome)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        contents = draw(Path(folder), (x, y, z))
        megabytes = contents.cases[0].image.stat().st_size / 2**20
        print(f"{x} x {y} x {z} voxels of 16 bits, {megabytes:.0f} MiB as .nii.gz, {os.cpu_count()} cores")
        server = ViewerServer(contents)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = Browser(Path(folder) / "profile")
        begin = time.monotonic()
        browser.call("Page.navigate", url=server.url)
        browser.wait(f"['image', 'ready', 'failed'].includes({STARTED})")
        # A screenshot waits for what is drawn.
        browser.call("Page.captureScreenshot")
        picture_s = time.monotonic() - begin
        browser.wait(f"['ready', 'failed'].includes({STARTED})")
        whole_s = time.monotonic() - begin
        state = browser.js(STARTED)
        processor_s, memory_mib = of_browser(str(Path(folder) / "profile"))
        begin = time.monotonic()
        browser.key("ArrowUp")
        browser.call("Page.captureScreenshot")
        step_s = time.monotonic() - begin
        browser.close()
        server.shutdown()
    if state != "ready":
        raise SystemExit("the page failed")
    print(
        f"picture after {picture_s:.1f} s (goal: {GOAL_S:.0f} s), with contours and review list after {whole_s:.1f} s"
    )
    print(f"next slice after {step_s:.2f} s")
    print(f"processor time of the browser {processor_s:.1f} s, its largest process {memory_mib:.0f} MiB")
    raise SystemExit(0 if picture_s <= GOAL_S else 1)


def draw(folder: Path, size: tuple[int, int, int]) -> Contents:
    """A body with noise, a tumour and a muscle."""
    rng = np.random.default_rng(0)
    x, y, z = size
    grid = Geometry(size, (0.98, 0.98, 1.5), (-x / 2, -y / 2, -z / 2))
    rows, columns = (np.mgrid[:y, :x] / np.array([y, x])[:, None, None] - 0.5) * 2
    body = (rows / 0.7) ** 2 + (columns / 0.9) ** 2 < 1
    tumour = ((rows - 0.3) / 0.25) ** 2 + (columns / 0.3) ** 2 < 1
    hu, labels = np.full((z, y, x), -1000, np.int16), np.zeros((z, y, x), np.uint8)
    for index in range(z):
        hu[index][body] = rng.normal(40, 20, int(body.sum())).astype(np.int16)
        labels[index][body] = CHORDOMA.value("body")
        if z // 4 < index < 3 * z // 4:
            labels[index][tumour] = CHORDOMA.value("gtv")
    image, reference = folder / "image.nii.gz", folder / "labels.nii.gz"
    write_image(image, Image(hu, grid))
    write_image(reference, Image(labels, grid))
    case = ViewerCase("benchmark", image, (Overlay("reference", "reference", reference),))
    return Contents("Benchmark", CHORDOMA, (case,))


def of_browser(profile: str) -> tuple[float, float]:
    """Processor seconds of the browser's processes, and the most memory (MiB) that one of them has held."""
    running = {p.name: command_line(p) for p in Path("/proc").glob("[0-9]*")}
    family = {number for number, line in running.items() if profile in line}
    for _ in range(4):
        family |= {number for number in running if parent(number) in family}
    seconds, memory = 0.0, 0.0
    for number in family:
        fields = (Path("/proc") / number / "stat").read_text().rsplit(") ", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        lines = (Path("/proc") / number / "status").read_text().splitlines()
        memory = max([memory, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
    return seconds, memory


def parent(number: str) -> str:
    try:
        return (Path("/proc") / number / "stat").read_text().rsplit(") ", 1)[1].split()[1]
    except OSError:
        return ""


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
