"""One case as one HTML file: page and voxels in it, NiiVue in it or beside it, no server, no network."""

from __future__ import annotations

import base64
import gzip
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.files import write_text
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, read_label_map, write_image
from nnunet_chordoma.viewer.contents import Contents
from nnunet_chordoma.viewer.details import completed
from nnunet_chordoma.viewer.page import LICENCE, NIIVUE, WEB, case_details, overview, page_files

MARGIN_MM = 20.0
LONGEST_SIDE = 256
"""Voxels along an axis of what is embedded; longer sides are thinned out."""
HU_RANGE = (-1024, 3071)
LONGEST_SIDE_LINKED, HU_STEP_LINKED = 192, 8
"""For pages of a set, which are to stay small; the steps are finer than 64 greys of a window of 400 HU."""

CHARSET = '<meta charset="utf-8">'
POLICY = (
    "default-src 'none'; script-src {scripts}'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src data: blob:"
)
SHARED_SCRIPT, SHARED_LICENCE = "niivue.umd.js", "niivue.LICENSE.txt"
"""One copy of NiiVue beside several pages."""


@dataclass(frozen=True)
class Cut:
    """First voxel, one after the last, and step along z, y and x."""

    first: tuple[int, int, int]
    last: tuple[int, int, int]
    step: tuple[int, int, int]

    def of(self, image: Image) -> Image:
        """The voxels left, on the grid on which they lie."""
        slices = tuple(slice(*each) for each in zip(self.first, self.last, self.step, strict=True))
        array = np.ascontiguousarray(image.array[slices])
        grid = image.geometry
        x, y, z = (float(v) for v in grid.to_physical_mm([self.first[::-1]])[0])
        sx, sy, sz = (each * step for each, step in zip(grid.spacing_mm, self.step[::-1], strict=True))
        size = (array.shape[2], array.shape[1], array.shape[0])
        return Image(array, Geometry(size, (sx, sy, sz), (x, y, z), grid.direction))


def find_cut(
    labels: Sequence[NDArray[np.int16]], background: int, grid: Geometry, longest_side: int = LONGEST_SIDE
) -> Cut:
    """The box of all structures (labels above `background`) with a margin; without any, the whole image.

    Slices in the box are all kept; rows and columns are thinned to `longest_side`.
    """
    shape = grid.shape_zyx
    inside = [np.argwhere(each > background) for each in labels]
    found = np.concatenate([each for each in inside if len(each)]) if any(map(len, inside)) else None
    margin = [round(MARGIN_MM / spacing) for spacing in grid.spacing_mm[::-1]]
    low = (0, 0, 0) if found is None else found.min(axis=0)
    high = shape if found is None else found.max(axis=0) + 1
    first = [max(0, int(a) - m) for a, m in zip(low, margin, strict=True)]
    last = [min(n, int(b) + m) for b, m, n in zip(high, margin, shape, strict=True)]
    step = [1, *(-(-(b - a) // longest_side) for a, b in zip(first[1:], last[1:], strict=True))]
    return Cut((first[0], first[1], first[2]), (last[0], last[1], last[2]), (step[0], step[1], step[2]))


def write_standalone(path: Path, contents: Contents) -> None:
    """Write the one case of `contents`; slices keep the numbers that they have in its file."""
    write_text(path, _page(_embedded(contents, LONGEST_SIDE, 1), None))


def linked_page(contents: Contents) -> str:
    """The one case of `contents` as a smaller page of a set, which needs the `shared_files` beside it."""
    return _page(_embedded(contents, LONGEST_SIDE_LINKED, HU_STEP_LINKED), SHARED_SCRIPT)


def shared_files() -> dict[str, str]:
    """File name to text of what the pages of a set share: NiiVue and its licence."""
    sources = {SHARED_SCRIPT: WEB / NIIVUE, SHARED_LICENCE: LICENCE}
    return {name: path.read_text(encoding="utf-8") for name, path in sources.items()}


def _embedded(contents: Contents, longest_side: int, hu_step: int) -> str:
    """JSON of the case, with CT values rounded to multiples of `hu_step`."""
    case = completed(contents, contents.cases[0])
    label_maps = [read_label_map(each.file).array for each in case.overlays if each.role != "uncertainty"]
    image = read_image(case.image)
    body = contents.scheme.value("body") if "body" in contents.scheme.names else 0
    cut = find_cut(label_maps, body, image.geometry, longest_side)
    left = cut.of(image)
    hu = hu_step * np.round(np.clip(left.array, *HU_RANGE) / hu_step)
    volumes = [Image(hu.astype(np.int16), left.geometry)]
    for overlay in case.overlays:
        read = read_image(overlay.file)
        kind = np.float32 if overlay.role == "uncertainty" else np.uint8
        volumes.append(cut.of(Image(read.array.astype(kind), read.geometry)))
    embedded = {
        "overview": overview(Contents(contents.title, contents.scheme, (case,))),
        "details": case_details(case),
        "firstSlice": cut.first[0],
        "files": [_encoded(volume) for volume in volumes],
    }
    return json.dumps(embedded, allow_nan=False)


def _encoded(image: Image) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.nii"
        write_image(file, image)
        return base64.b64encode(gzip.compress(file.read_bytes(), 6, mtime=0)).decode()


def _page(embedded: str, script: str | None) -> str:
    """The page with its files inline, NiiVue too unless `script` names it.

    Modules become data: addresses that an import map names: a browser loads none from another file.
    """
    files = {name: path.read_text(encoding="utf-8") for name, path in page_files().items()}
    modules = {name: text for name, text in files.items() if name.endswith(".js") and name != NIIVUE}
    imports = {
        f"viewer/{name}": "data:text/javascript;base64,"
        + base64.b64encode(re.sub(r'from "\./(\w+\.js)"', r'from "viewer/\1"', text).encode()).decode()
        for name, text in modules.items()
    }
    parts = (
        f'<script type="importmap">{json.dumps({"imports": imports})}</script>',
        f'<script type="application/json" id="embedded-case">{_in_script(embedded)}</script>',
        f"<!--\n{LICENCE.read_text(encoding='utf-8')}-->\n<script>{_in_script(files[NIIVUE])}</script>"
        if script is None
        else f'<script src="{script}"></script>',
    )
    # A file has no origin that 'self' could mean; pages put on a server have one.
    policy = POLICY.format(scripts="" if script is None else "'self' file: ")
    replacements = {
        CHARSET: f'{CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="stylesheet" href="viewer.css">': f"<style>{files['viewer.css']}</style>",
        f'<script src="{NIIVUE}" defer></script>': "",
        '<script type="module" src="main.js"></script>': "",
        "</body>": "\n".join(parts) + '\n<script type="module">import "viewer/main.js";</script>\n</body>',
    }
    page = files["index.html"]
    for old, new in replacements.items():
        if old not in page:
            raise ValueError(f"index.html lacks {old}")
        page = page.replace(old, new)
    return page


def _in_script(text: str) -> str:
    """Text that cannot end its script element."""
    return re.sub(r"</(script)", r"<\\/\1", text, flags=re.IGNORECASE).replace("<!--", "<\\!--")
