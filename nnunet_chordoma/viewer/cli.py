"""`chordoma-view`: see cases with their contours in the browser, and rate contours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

app = console.new_app()


@app.command(epilog=console.EPILOG)
def view(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="CASE_OR_FOLDER",
            help="A folder with viewer.json, a dataset (imagesTr, imagesTs), the folder of one case, or one CT.",
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("-r", "--reference", metavar="DIR", help="Reference label maps; by default those of the dataset."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("-m", "--model", metavar="NAME=DIR ...", help="Label maps of models.")
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option("-e", "--ensemble", metavar="[NAME=]DIR", help="Label maps of the ensemble.")
    ] = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(
            "--uncertainty", metavar="DIR", help="CASE_entropy.nii.gz; by default uncertainty/ in -e's folder."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="CTs CASE_0000.nii.gz; by default the dataset's.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="SCORES.CSV", help="Of chordoma-eval score: Dice, volumes, order."),
    ] = None,
    disagreement: Annotated[
        Path | None,
        typer.Option(
            "--disagreement", metavar="CSV", help="Slices to look at; by default disagreement.csv in -e's folder."
        ),
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", metavar="DIR", help="What chordoma-gate check wrote.")
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", "--cases", metavar="CASE ...", help="Show these cases; by default all."),
    ] = None,
    slice_index: Annotated[
        int | None, typer.Option("--slice", metavar="K", min=0, help="Open the first case at this slice, from 0.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Heading of the page.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    write_manifest: Annotated[
        Path | None,
        typer.Option("--write-manifest", metavar="VIEWER.JSON", help="Write viewer.json above the files, and end."),
    ] = None,
    standalone: Annotated[
        Path | None,
        typer.Option("--standalone", metavar="FILE.HTML", help="Write one case as one file without a server, and end."),
    ] = None,
) -> None:
    """Show CTs with contours on a local page, the worst slices first. Nothing leaves this machine."""
    from nnunet_chordoma.viewer.command import Request, run

    run(
        Request(
            place,
            reference,
            tuple(model or ()),
            ensemble,
            uncertainty,
            images,
            scores,
            disagreement,
            verdicts,
            tuple(case or ()),
            title,
            port,
            not no_browser,
            write_manifest,
            standalone,
            slice_index,
        )
    )


def main() -> None:
    console.run(app, list_options=("-m", "--model", "--case", "--cases"))


if __name__ == "__main__":
    main()
