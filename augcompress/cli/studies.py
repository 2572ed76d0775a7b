"""`search`, and whatever else is a study."""

from __future__ import annotations

from augcompress.cli.app import app
from augcompress.cli.options import PROCESSES, Options, permit_plugins, pick_device, refuse, shared
from augcompress.errors import AugcompressError


@app.command("search")
@shared("source", "force", "epochs", "batch", "seed", "allow_chance", *PROCESSES)
def search_command(options: Options) -> None:
    """Variants of a recipe, as its `search` section says: one table, with intervals."""
    permit_plugins(options.allow_plugins)
    refuse(options, "search", "epochs", "batch")  # as bare words
    run_study(options, "search")


def run_study(options: Options, command: str) -> None:
    """Run the study of a recipe's section `search`, or list its trials; `command` is named in
    errors."""
    from augcompress.render import Renderer
    from augcompress.search import plan_search, run_search, study_notes, study_tables, trials_table

    renderer = Renderer(json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    overrides, folder = options.every_override, options.run_dir
    if options.dry_run:
        plan = plan_search(options.recipe, overrides, run_dir=folder, smoke=options.smoke)
        renderer.study(plan.to_json(), [trials_table(plan)], [])
        return
    study = run_search(
        options.recipe,
        overrides,
        run_dir=folder,
        reporter=renderer.reporter(),
        device=pick_device(options.device),
        smoke=options.smoke,
        teacher=options.teacher,
    )
    renderer.study(study.to_json(), study_tables(study), study_notes(study))
    failed = [trial.name for trial in study.trials if trial.error]
    if failed:
        raise AugcompressError(
            f"{command}: {len(failed)} trials failed: {', '.join(failed)}; see above why,"
            " and run it again"
        )
