"""From the options of `chordoma-view` to what it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.cases import existing_folder, parse_models
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import read_geometry
from nnunet_chordoma.viewer.contents import Contents, check_contents
from nnunet_chordoma.viewer.details import completed
from nnunet_chordoma.viewer.gate import with_verdicts
from nnunet_chordoma.viewer.manifest import FILE_NAME, read_manifest, write_manifest
from nnunet_chordoma.viewer.sources import Sources, find_contents
from nnunet_chordoma.viewer.tables import read_scores, with_disagreement, with_scores


@dataclass(frozen=True)
class Request:
    """The options of one call, named as there."""

    place: Path
    reference: Path | None = None
    models: tuple[str, ...] = ()
    ensemble: str | None = None
    uncertainty: Path | None = None
    images: Path | None = None
    scores: Path | None = None
    disagreement: Path | None = None
    verdicts: Path | None = None
    cases: tuple[str, ...] = ()
    title: str | None = None
    port: int = 0
    browser: bool = True
    manifest: Path | None = None
    standalone: Path | None = None
    slice: int | None = None


def run(request: Request) -> None:
    """Show, or write what was asked for instead. Raises ChordomaError for anything that cannot be shown."""
    contents = contents_of(request)
    check_contents(contents)
    if request.slice is not None and (request.standalone or request.manifest):
        raise ChordomaError("--slice: opens the page at a slice, but none is opened here; leave it out")
    if request.slice is not None:
        _check_slice(request.slice, contents)
    if request.manifest is not None:
        whole = tuple(completed(contents, case) for case in contents.cases)
        write_manifest(request.manifest, replace(contents, cases=whole))
        console.console().print(f"wrote {request.manifest}", soft_wrap=True, markup=False)
    if request.standalone is not None:
        from nnunet_chordoma.viewer.standalone import write_standalone

        if len(contents.cases) != 1:
            raise ChordomaError(
                f"--standalone {request.standalone} holds one case, found {len(contents.cases)}; name one with --case"
            )
        write_standalone(request.standalone, contents)
        console.console().print(f"wrote {request.standalone}", soft_wrap=True, markup=False)
    if request.manifest is None and request.standalone is None:
        from nnunet_chordoma.viewer.serving import serve

        serve(contents, request.port, request.browser, request.slice)


def _check_slice(index: int, contents: Contents) -> None:
    case = contents.cases[0]
    slices = read_geometry(case.image).shape_zyx[0]
    if index >= slices:
        raise ChordomaError(f"--slice {index}: case '{case.name}' has the slices 0 to {slices - 1}; name one of these")


def contents_of(request: Request) -> Contents:
    """What to show, of a viewer.json or of the folders named."""
    stated = request.place / FILE_NAME
    if stated.is_file():
        return _of_manifest(request, stated)
    ensemble = _ensemble(request.ensemble)
    folder = None if ensemble is None else ensemble[1]
    uncertainty, disagreement = request.uncertainty, request.disagreement
    if folder is not None:
        beside = folder / "uncertainty"
        uncertainty = uncertainty or (beside if any(beside.glob("*_entropy.nii*")) else None)
        disagreement = disagreement or next(iter(folder.glob("disagreement.csv")), None)
    references = () if request.reference is None else (existing_folder(request.reference, "-r"),)
    models = parse_models(request.models)
    sources = Sources(references, models, ensemble, uncertainty, request.images)
    contents = find_contents(request.place, sources, request.cases, request.title)
    if request.scores is not None:
        shown = ensemble[0] if ensemble else next(iter(models), None)
        contents = with_scores(contents, read_scores(request.scores, shown))
    if disagreement is not None:
        contents = with_disagreement(contents, disagreement)
    if request.verdicts is not None:
        contents = with_verdicts(contents, existing_folder(request.verdicts, "--verdicts"))
    return contents


def _of_manifest(request: Request, path: Path) -> Contents:
    given = {
        "-r": request.reference,
        "-m": request.models,
        "-e": request.ensemble,
        "--uncertainty": request.uncertainty,
        "--images": request.images,
        "--scores": request.scores,
        "--disagreement": request.disagreement,
        "--verdicts": request.verdicts,
    }
    for option, value in given.items():
        if value:
            raise ChordomaError(f"{option}: {path} says what is shown; leave {option} out")
    contents = read_manifest(path)
    if request.cases:
        known = {case.name: case for case in contents.cases}
        for name in request.cases:
            if name not in known:
                raise ChordomaError(f"--case {name}: {path} has {', '.join(known)}")
        contents = replace(contents, cases=tuple(known[name] for name in dict.fromkeys(request.cases)))
    return replace(contents, title=request.title or contents.title)


def _ensemble(text: str | None) -> tuple[str, Path] | None:
    if text is None:
        return None
    name, separator, folder = text.partition("=")
    if not separator:
        return "ensemble", existing_folder(Path(text), "-e")
    return name, existing_folder(Path(folder), f"ensemble '{name}'")
