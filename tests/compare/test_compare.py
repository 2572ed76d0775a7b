"""compare: paired on the same images, with what chance explains."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from end_to_end import done, invoke, training, write_recipe
from PIL import Image
from scipy.stats import binomtest, ttest_1samp

from augcompress.compare import Contender, compare_models, differing
from augcompress.errors import AugcompressError
from augcompress.evidence import Predictions, value_text
from augcompress.evidence.statistics import tango, wilson
from augcompress.render.comparing import comparison_sentences
from augcompress.storage import model_folder

RUN = Path("runs/tiny")
N = 200


def answers(right: np.ndarray, *, labels=None, **told) -> Predictions:
    """Answers to two classes that are right where `right` says so."""
    labels = np.arange(len(right)) % 2 if labels is None else labels
    chosen = np.where(right, labels, 1 - labels)
    probabilities = np.full((len(right), 2), 0.2)
    probabilities[np.arange(len(right)), chosen] = 0.8
    told = {"classes": ("cat", "dog"), "split": "test", "data": "d", **told}
    return Predictions(probabilities, labels, np.arange(len(right)), **told)


def model(name: str, *rights: np.ndarray) -> Contender:
    return Contender(name, tuple(answers(right) for right in rights))


def rights(wrong: range) -> np.ndarray:
    """All right but these."""
    found = np.ones(N, bool)
    found[list(wrong)] = False
    return found


BASE = model("base", rights(range(0, 30)))  # 85 %
BETTER = model("better", rights(range(20, 30)))  # 95 %: gains 20, loses none


def test_difference_test_and_counts_against_scipy():
    pair = compare_models([BASE, BETTER]).pairs[0]
    assert (pair.only_model_right, pair.only_baseline_right) == (20, 0)
    assert pair.p_value == pytest.approx(binomtest(0, 20).pvalue)
    assert pair.difference.value == pytest.approx(0.1)
    assert (pair.difference.low, pair.difference.high) == tango(20, 0, N, 0.95)
    assert pair.difference.n == N
    assert [one.value for one in pair.top1] == pytest.approx([0.85, 0.95])
    assert pair.agreement.value == pytest.approx(0.9)


def test_bootstrap_intervals_hold_the_difference():
    pair = compare_models([BASE, BETTER]).pairs[0]
    found = {(one.name, one.method): one for one in pair.differences}
    assert set(found) == {
        ("top1_difference", "tango"),
        ("top1_difference", "paired_bootstrap"),
        ("macro_f1_difference", "paired_bootstrap"),
        ("nll_difference", "paired_bootstrap"),
        ("ece_difference", "paired_bootstrap"),
    }
    for one in found.values():
        assert one.low <= one.value <= one.high
    loss = found["nll_difference", "paired_bootstrap"]
    assert loss.value == pytest.approx(0.1 * (np.log(0.2) - np.log(0.8)))
    assert loss.better == "lower"


def test_better_is_not_worse_and_worse_is_not_shown():
    assert compare_models([BASE, BETTER], margin=0.005).pairs[0].not_worse
    assert not compare_models([BETTER, BASE], margin=0.05).pairs[0].not_worse


def test_equal_models_on_few_images_are_not_called_equal():
    """No image differs, yet 200 images cannot rule out half a point."""
    pair = compare_models([BASE, model("same", rights(range(0, 30)))], margin=0.005).pairs[0]
    assert pair.p_value == 1
    assert not pair.not_worse
    assert pair.difference.low < -0.005


def test_holm_corrects_for_several_models():
    others = [model(f"m{k}", rights(range(k, 30 + k))) for k in (4, 12, 20)]
    found = compare_models([BASE, *others])
    told, adjusted = zip(*((p.p_value, p.p_adjusted) for p in found.pairs), strict=True)
    order = np.argsort(told)
    steps = np.maximum.accumulate([told[i] * (3 - rank) for rank, i in enumerate(order)])
    assert [adjusted[i] for i in order] == pytest.approx(list(np.minimum(steps, 1)))


def test_all_pairs_are_compared_when_asked():
    third = model("third", rights(range(5)))
    named = [
        (p.baseline, p.model) for p in compare_models([BASE, BETTER, third], all_pairs=True).pairs
    ]
    assert named == [("base", "better"), ("base", "third"), ("better", "third")]


def test_seeds_are_paired_in_order_with_students_t():
    base = model("a", rights(range(10)), rights(range(12)), rights(range(20)))
    more = model("b", rights(range(4)), rights(range(8)), rights(range(10)))
    pair = compare_models([base, more]).pairs[0]
    gains = np.array([6, 4, 10]) / N
    assert pair.test == "paired_t"
    assert pair.difference.value == pytest.approx(gains.mean())
    assert pair.difference.n == 3
    expected = ttest_1samp(gains, 0)
    interval = expected.confidence_interval(0.95)
    assert (pair.difference.low, pair.difference.high) == pytest.approx(tuple(interval))
    assert pair.p_value == pytest.approx(expected.pvalue)


def test_of_several_seeds_everything_is_a_mean_and_a_share_stays_one():
    left = model("base", rights(range(0, 2)), rights(range(0, 24)), rights(range(0, 1)))
    right = model("better", rights(range(0, 1)), rights(range(0, 20)), rights(range(0, 4)))
    found = compare_models([left, right])
    pair = found.pairs[0]
    for one in (*pair.top1, pair.agreement):
        assert 0 <= one.low < one.value < one.high == 1
    shown = comparison_sentences(found, [], None)
    assert value_text(pair.agreement).endswith("n=3 seeds)")
    apart = (
        "  Right where the other is wrong, mean over seeds: 1.667 images, the other way round: 1;"
    )
    assert f"{apart} they agree on {value_text(pair.agreement)}." in shown


def test_seeds_that_all_differ_alike_have_no_p():
    base, more = (model(n, rights(range(k)), rights(range(k))) for n, k in (("a", 10), ("b", 4)))
    pair = compare_models([base, more]).pairs[0]
    assert (pair.p_value, pair.p_adjusted) == (None, None)
    assert (pair.difference.low, pair.difference.high) == (None, None)
    assert not pair.not_worse


def test_every_interval_has_the_level_asked_for():
    pair = compare_models([BASE, BETTER], level=0.9).pairs[0]
    rows = [*pair.top1, pair.agreement, *pair.differences]
    assert {row.level for row in rows} == {0.9}
    assert (pair.top1[0].low, pair.top1[0].high) == wilson(170, N, 0.9)


def test_last_model_of_the_recipes_own_order_stands_for_the_run(place):
    def change(recipe):
        recipe["pipeline"] = ["train_teacher", "prune", "distill"]
        recipe["distill"]["student"] = None
        for stage in ("train_teacher", "prune", "distill"):
            recipe[stage]["training"] = training(1)

    done("run", "-r", write_recipe(place, change))
    assert model_folder(RUN).name == "distill"


def test_what_stands_for_a_run_is_said_first_and_aloud(mine):
    answer = done("compare", RUN, RUN / "train_teacher")
    assert answer.err.startswith(f"compare: {RUN}: export/model.onnx stands for the run\n")
    shutil.rmtree(RUN / "export")
    shutil.rmtree(RUN / "quantize")
    answer = done("compare", RUN, RUN / "train_teacher", "--split", "validation", "--json")
    told = "prune/model.safetensors stands for the run; unfinished: quantize, export not done"
    assert answer.err.splitlines()[0] == f"compare: {RUN}: {told}"


def test_images_of_another_data_set_are_not_written(mine):
    write_recipe(mine, lambda r: r["data"].update(validation=0.3, validation_from="test"))
    given = ("compare", str(RUN), str(RUN / "train_teacher"), "-r", "tiny.yaml")
    answer = invoke("compare", str(RUN), f"{RUN}/export", *given[3:], "--images", "apart")
    assert answer.code == 1
    assert "are not those that were answered" in answer.error
    assert not list(mine.glob("*apart*"))


@pytest.mark.parametrize(
    "other, said",
    [
        (model("two", rights(range(3)), rights(range(4))), "as many on both sides"),
        (
            Contender("x", (answers(rights(range(3)), classes=("cat", "cow")),)),
            r"base knows 2 classes \(cat, dog\) and x 2 classes \(cat, cow\)",
        ),
        (Contender("x", (answers(np.ones(50, bool)),)), "200 images and x on 50 that are not"),
        (Contender("x", (answers(rights(range(3)), data="e"),)), "that are not the same"),
        (Contender("x", (answers(rights(range(3)), labels=np.ones(N, int)),)), "not the same"),
    ],
)
def test_what_cannot_be_paired(other, said):
    with pytest.raises(AugcompressError, match=said):
        compare_models([BASE, other])


def test_one_model_is_not_compared():
    with pytest.raises(AugcompressError, match="one model alone; give two or more"):
        compare_models([BASE])


def test_differing_images_come_with_what_was_said():
    found = differing(BASE, BETTER)
    assert [one.position for one in found] == list(range(20))
    assert {one.right for one in found} == {"model"}
    assert (found[0].label, found[0].baseline_said, found[0].model_said) == ("cat", "dog", "cat")


def test_run_against_its_stages_on_the_command_line(mine):
    answer = done("compare", str(RUN), str(RUN / "distill"), "--json")
    found = json.loads(answer.out)
    pair = found["pairs"][0]
    shipped = Predictions.load(mine / RUN / "export/predictions.npz")
    assert (found["version"], found["n"], found["split"]) == (1, len(shipped.labels), "test")
    assert pair["top1"][0]["value"] == shipped.right.mean()
    assert pair["model"] == str(RUN / "distill")
    assert len(found["differing"]) == round(found["n"] * (1 - pair["agreement"]["value"]))


def test_files_are_run_on_the_recipes_images(mine):
    file = RUN / "export/model.onnx"
    found = json.loads(done("compare", file, RUN, "--recipe", "tiny.yaml", "--json").out)
    assert found["pairs"][0]["agreement"]["value"] == 1
    assert found["differing"] == []


def test_text_reads_at_80_columns_and_says_what_it_means(mine):
    answer = done("compare", str(RUN), str(RUN / "train_teacher"))
    assert max(map(len, answer.out.splitlines())) <= 80 + len(str(RUN))
    assert "exact McNemar p" in answer.out
    assert "0.5 points (95 %)" in answer.out


def test_images_on_which_they_differ_are_written(mine):
    done("compare", str(RUN), str(RUN / "train_teacher"), "--images", "apart")
    with open("apart/differences.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["file"] for row in rows if row["file"]} | {"differences.csv"} == {
        path.name for path in Path("apart").iterdir()
    }
    with Image.open(Path("apart") / rows[0]["file"]) as image:
        assert image.size == (8, 8)
    again = invoke("compare", str(RUN), str(RUN / "train_teacher"), "--images", "apart")
    assert (again.code, again.error) == (
        1,
        "error: apart: is not empty; give another folder for the images",
    )


def test_failing_on_worse_is_exit_3(mine):
    teacher = ("compare", str(RUN / "train_teacher"), str(RUN))
    answer = invoke(*teacher, "--margin", "0.0", "--fail-if-worse")
    assert answer.code == 3
    assert "not shown to be at most 0 worse on test" in answer.error
    assert done(*teacher, "--margin", "1", "--fail-if-worse").code == 0


@pytest.mark.parametrize(
    "models, said",
    [
        (("runs/tiny", "runs/none"), "runs/none: is no run, stage or model file"),
        (("runs/tiny/augment", "runs/tiny"), "this stage makes no model"),
        (("a.onnx", "b.onnx"), "none of these is a run; say whose test images with --recipe"),
    ],
)
def test_what_is_no_model(mine, models, said):
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(RUN / "export/model.onnx", name)
    answer = invoke("compare", *models)
    assert answer.code in (1, 2)
    assert said in answer.error
