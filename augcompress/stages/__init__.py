"""The verbs.  `STAGES` is the table of contents; `run` carries out several in order."""

from __future__ import annotations

from collections.abc import Sequence

from augcompress.errors import AugcompressError, LimitError, UsageError
from augcompress.evidence import RunResult, StageResult, only_guesses, own_measurements
from augcompress.learning import check_targets
from augcompress.running import Context, Runner, Stage, check_source_is_used
from augcompress.spec import ORDER, StageName, differing_sections, find_spec
from augcompress.stages import (
    augment,
    distill,
    evaluate,
    export,
    pretrain,
    prune,
    quantize,
    train_teacher,
)
from augcompress.stages.augment import preview
from augcompress.wording import nearest

STAGES: dict[str, Stage] = {
    stage.STAGE.name: stage.STAGE
    for stage in (augment, pretrain, train_teacher, distill, prune, quantize, export, evaluate)
}


def run(context: Context, until: StageName | None = None) -> RunResult:
    """All stages of the recipe's pipeline, in order, or up to `until`.

    Raises UsageError when `until` is no stage of the pipeline.
    """
    stages = context.spec.stages()
    if until is not None and until not in stages:
        raise UsageError(
            f"--until {until}: is no stage of the recipe{nearest(until, stages, listed=True)}"
        )
    wanted = stages if until is None else stages[: stages.index(until) + 1]
    runner = Runner(context, STAGES, first_with_source(stages))
    check_source_is_used(runner)
    if "prune" in wanted and (ahead := wanted[: wanted.index("prune")]):
        to_do = {row["name"] for row in planned(context) if row["status"] == "to do"}
        if any(STAGES[name].trains and name in to_do for name in ahead):
            check_targets(context)
    context.processes.rank_zero_only(lambda: take_over(context, wanted))
    stale = [s for s in ORDER if s not in stages and s != "evaluate"]
    for line in context.processes.rank_zero_only(lambda: context.run.remove_stale(stale)) or ():
        context.reporter.message(f"note: {line}")
    return RunResult(
        run_dir=str(context.run.path), stages=[checked(context, runner.perform(n)) for n in wanted]
    )


def first_with_source(stages: tuple[StageName, ...]) -> str:
    """The stage of a pipeline that `--from` speaks of: the first that makes a network or goes on
    with one."""
    making = [name for name in stages if STAGES[name].makes is not None]
    return making[0] if making else "train_teacher"


def run_stage(context: Context, name: StageName) -> RunResult:
    """One stage; what it needs of earlier ones must be there."""
    runner = Runner(context, STAGES, name)
    check_source_is_used(runner)
    context.processes.rank_zero_only(lambda: take_over(context, [name]))
    result = checked(context, runner.perform(name))
    return RunResult(run_dir=str(context.run.path), stages=[result])


def take_over(context: Context, wanted: Sequence[StageName] = ()) -> None:
    """Make the run directory this recipe's.

    What stands there of the stages that are `wanted`, or that other settings made, counts as
    pending until each is carried out: where that fails it is still there, but passes for nobody's.
    """
    context.run.add_pending([*wanted, *made_otherwise(context)])
    context.keep_spec()


def made_otherwise(context: Context) -> list[StageName]:
    """The stages of a pipeline that the settings which the run directory knows led to and this
    recipe's do not, and all that follow them."""
    spec, path, stages = context.spec, context.run.path, list(context.spec.stages())
    try:
        before = find_spec(path) if (path / "spec.json").is_file() else spec
    except AugcompressError:
        return stages  # nobody knows what they were
    differ = differing_sections(before, spec, paths=True)
    ours, theirs = spec.augment, before.augment
    drawn_alike = (ours.pipeline, ours.sampling) == (theirs.pipeline, theirs.sampling)
    if {"seed", "data", "foreign"} & set(differ) or not drawn_alike:
        return stages
    changed = [at for at, name in enumerate(stages) if name in differ and name != "augment"]
    alone: list[StageName] = ["augment"] if "augment" in differ else []
    return [*alone, *stages[changed[0] :]] if changed else alone


def checked(context: Context, result: StageResult) -> StageResult:
    """The result of a stage whose network has learned something.

    Raises LimitError where it only guesses, unless that is allowed.
    """
    scores = own_measurements(result.measurements, "top1")
    told = only_guesses(scores[0]) if scores and STAGES[result.name].makes is not None else ""
    if told and not context.allow_chance:
        raise LimitError(
            f"{result.name}: {told}; look at labels, class order, learning rate and epochs, or go"
            " on with --allow-chance"
        )
    return result


def planned(context: Context) -> list[dict[str, str]]:
    """The pipeline's stages and whether the store has them; does nothing.

    What follows an unfinished stage is not there either: its inputs are not known yet.
    """
    runner = Runner(context, STAGES, "")
    rows: list[dict[str, str]] = []
    for name in context.spec.stages():
        pending = any(r["status"] == "to do" for r in rows if runner.sources.feeds(r["name"]))
        done = not pending and runner.is_done(name)
        rows.append({"name": name, "status": "cached" if done else "to do"})
    return rows
