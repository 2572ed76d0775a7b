"""`augment --preview` and `augment --measure`."""

from __future__ import annotations

from augcompress.cli.options import Options, open_context, permit_plugins, pick_device, refuse
from augcompress.errors import AugcompressError


def show_preview(options: Options) -> None:
    """Draw the pictures, and say where they are."""
    from augcompress.render import Renderer
    from augcompress.stages.augment import preview

    refuse(options, "augment --preview", "source", "teacher", "force", "dry_run")
    renderer = Renderer(json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    context, _ = open_context(options, renderer)
    files = [str(path) for path in preview(context)]
    if options.as_json:
        renderer.payload({"run_dir": str(context.run.path), "files": files})
    else:
        renderer.text("\n".join(files))


def measure_augmentations(options: Options) -> None:
    """Train with and without each augmentation, and say what helps."""
    from augcompress import search
    from augcompress.render import Renderer
    from augcompress.spec import load

    permit_plugins(options.allow_plugins)
    refuse(options, "augment --measure", "source", "teacher", "force")
    renderer = Renderer(json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    recipe, overrides = options.recipe, options.overrides or []
    folder, smoke = options.run_dir, options.smoke
    if options.dry_run:
        plan = search.plan_measure(recipe, overrides, run_dir=folder, smoke=smoke)
        renderer.study(plan.to_json(), [search.trials_table(plan)], [])
        return
    study = search.run_measure(
        recipe,
        overrides,
        run_dir=folder,
        reporter=renderer.reporter(),
        device=pick_device(options.device),
        smoke=smoke,
    )
    spec, _ = load(recipe, overrides, smoke=smoke)
    notes = search.measure_notes(study, spec)
    renderer.study(study.to_json(), [search.measure_table(study)], notes)
    failed = [trial.name for trial in study.failures]
    if failed:
        raise AugcompressError(
            f"augment --measure: {len(failed)} trials failed: {', '.join(failed)}"
        )
