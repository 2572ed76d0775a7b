"""`augment --preview` and `augment --measure`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augcompress.cli.options import Options, open_context, permit_plugins, refuse


def show_preview(options: Options) -> None:
    """Draw the pictures, and say where they are."""
    from augcompress.render import Renderer
    from augcompress.stages import preview

    refuse(options, "augment --preview", "force", "dry_run")
    renderer = Renderer(json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    context, *_ = open_context(options, renderer)
    files = [str(path) for path in preview(context)]
    if options.as_json:
        renderer.payload({"run_dir": str(context.run.path), "files": files})
    else:
        renderer.text("\n".join(files))


def measure_augmentations(options: Options) -> None:
    """Run the study of the recipe's augmentations, in a folder beside the run."""
    from augcompress.cli.studies import run_study
    from augcompress.running import Context
    from augcompress.search import measuring_settings
    from augcompress.spec import load
    from augcompress.storage import RunDir

    permit_plugins(options.allow_plugins)
    refuse(options, "augment --measure", "force", "epochs", "batch")
    overrides = options.every_override
    spec, _ = load(options.recipe, overrides, smoke=options.smoke)
    run = options.run_dir or Path("runs") / spec.name
    study = run.with_name(f"{run.name}-measure")
    data = None if options.dry_run else Context(spec, RunDir(study), options.recipe).data
    images, side = (len(data.train), max(data.size)) if data else (None, None)
    overrides = [*overrides, *measuring_settings(spec, images, side)]
    told = replace(options, overrides=overrides, seed=None, name=None, run_dir=study)
    run_study(told, "augment --measure")
