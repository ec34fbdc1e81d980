"""Arguments and options that the commands on a data set share."""

from pathlib import Path
from typing import Annotated

import typer

from search_spaces.paths import as_path

NamedDataArgument = Annotated[
    Path,
    typer.Argument(
        parser=as_path,
        metavar="DATA",
        help="Photos: a folder, or a CSV manifest; or a sweep file, whose `data` is what counts.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        parser=as_path,
        metavar="DIR",
        help="Folder of <architecture>.safetensors, as in data.weights_dir; without it, those in timm's hub cache.",
    ),
]
