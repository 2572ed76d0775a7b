"""`compare`: models of any origin on the same images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augcompress.cli.app import app
from augcompress.cli.evidence import AllowPlugins, AsJson, Overrides, is_run
from augcompress.cli.options import permit_plugins
from augcompress.errors import AugcompressError, LimitError, UsageError

if TYPE_CHECKING:
    from augcompress.evidence import Measurement, Predictions
    from augcompress.render import Renderer
    from augcompress.running import Context
    from augcompress.scoring import Preparation


@app.command("compare")
def compare_command(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Runs, stages (runs/NAME/STAGE), checkpoints or ONNX files; the first is the"
            " baseline.  Commas join the same model trained with several seeds."
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="Whose data; else that of the first run named."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of images, one folder a class, in place of a recipe's data: each model"
            " is run on them as it wants them, and ONNX files are timed.",
        ),
    ] = None,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="Images to compare on: test or validation.")] = "test",
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much worse is still not worse, a fraction.")
    ] = 0.005,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Confidence level.")] = 0.95,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Each against each, not all against the first.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="A new folder for the images on which they differ.")
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit 3 unless each is shown to be not worse.")
    ] = False,
    as_json: AsJson = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Models against each other on the same images, and whether the difference is chance."""
    from augcompress import compare as comparing
    from augcompress.render import Renderer

    permit_plugins(allow_plugins)
    if split not in ("test", "validation"):
        raise UsageError(f"--split {split}: there are no such images; choose test or validation")
    if data is not None and recipe is not None:
        raise UsageError("compare: --data and --recipe both name images; leave one out")
    renderer = Renderer(json=as_json)
    known = cache(lambda: context_of(models, recipe, overrides or [], renderer))
    folder = FolderImages(data, overrides or [], renderer) if data is not None else None
    opened = folder.context if folder is not None else lambda _: known()
    answer = partial(answers_now, opened, renderer)
    for line in (line for given in models for line in comparing.stand_ins(given)):
        renderer.message(f"compare: {line}")
    contenders = [
        comparing.open_contender(given, split, answer, kept=data is None) for given in models
    ]
    found = comparing.compare_models(contenders, margin=margin, level=level, all_pairs=all_pairs)
    apart = comparing.differing(contenders[0], contenders[1])
    if images is not None:
        first = Path(models[0].split(",")[0])
        comparing.write_images(opened(first), contenders[0].answers[0], apart, images)
    if folder is not None:
        told = {"prepared": folder.told(), "timings": timed_in_turns(models, renderer)}
        found = found.model_copy(update=told)
    renderer.comparison(found, apart, images)
    if fail_if_worse and (worse := [one.model for one in found.pairs if not one.not_worse]):
        raise LimitError(
            f"compare: not shown to be at most {margin:g} worse on {split}: {', '.join(worse)};"
            " measure on more images, or allow a larger --margin"
        )


def context_of(
    models: list[str], recipe: str | None, overrides: list[str], renderer: Renderer
) -> Context:
    """The data to run models on: of the recipe, else of the first run among them.

    Raises UsageError where there is neither.
    """
    from augcompress.running import Context
    from augcompress.spec import find_spec, load
    from augcompress.storage import RunDir

    if recipe is not None:
        spec, _ = load(recipe, overrides)
        return Context(spec, RunDir(Path("runs") / spec.name), recipe, reporter=renderer.reporter())
    parts = [Path(part) for given in models for part in given.split(",")]
    for part in parts:
        if (run := next((p for p in (part, *part.parents) if is_run(p)), None)) is not None:
            return Context(find_spec(run, overrides), RunDir(run), reporter=renderer.reporter())
    raise UsageError(
        "compare: none of these is a run; say whose test images with --recipe, or give a folder of"
        " images with --data"
    )


def answers_now(
    opened: Callable[[Path], Context], renderer: Renderer, path: Path, split: str
) -> Predictions:
    """A model's answers to a split, computed now."""
    from augcompress.scoring import open_predict_function, predict

    context = opened(path)
    renderer.message(f"compare: running {path} on {split}")
    return predict(open_predict_function(context, path, "compare")[0], context, split)


class FolderImages:
    """The images of a folder, for each model as it wants them."""

    def __init__(self, folder: Path, overrides: list[str], renderer: Renderer) -> None:
        self.folder, self.overrides, self.renderer = folder, overrides, renderer
        self._decoded = tempfile.TemporaryDirectory()  # is removed with it
        self._prepared: dict[Path, Preparation] = {}

    def context(self, path: Path) -> Context:
        """The images for this model; the first one's way is tried first."""
        from augcompress.scoring import prepare_images
        from augcompress.storage import RunDir, model_file

        file = model_file(path.expanduser())
        if file not in self._prepared:
            self.renderer.message(f"compare: reading {self.folder} for {file}")
            run, like = RunDir(Path(self._decoded.name) / "compare"), [*self._prepared.values()][:1]
            found = prepare_images(file, self.folder, self.overrides, run, *like)
            self._prepared[file] = found
        return self._prepared[file].context

    def told(self) -> dict[str, str]:
        """How the images of each model were prepared, by file."""
        return {str(file): found.told for file, found in self._prepared.items()}


def timed_in_turns(models: Sequence[str], renderer: Renderer) -> list[Measurement]:
    """Each ONNX file against the first, in turns; with several seeds, the first of each."""
    from augcompress.measures import time_file
    from augcompress.storage import model_file

    files = [model_file(Path(given.split(",")[0]).expanduser()) for given in models]
    rows: list[Measurement] = []
    for name, file in list(zip(models, files, strict=True))[1:]:
        if {file.suffix, files[0].suffix} != {".onnx"}:
            continue
        renderer.message(f"compare: timing {name} against {models[0]}")
        try:
            found = time_file(file, baseline=files[0], subject=name, baseline_name=models[0])
        except AugcompressError as error:
            renderer.message(f"compare: not timed: {error}")
            continue
        baselines = {"subject": models[0]}
        rows += [one if one.subject == name else one.model_copy(update=baselines) for one in found]
    return rows
