"""The probe of labels: its answers against scikit-learn, its pairs counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from augcompress.augmentations.affine import Affine
from augcompress.augmentations.horizontal_flip import HorizontalFlip
from augcompress.augmentations.rotate90 import Rotate90
from augcompress.augmentations.vertical_flip import VerticalFlip
from augcompress.augmenting.label_notes import probe_note
from augcompress.augmenting.label_probe import (
    Answers,
    Probe,
    collisions,
    features,
    passing,
    probe_labels,
    probed,
)
from augcompress.batch import Batch
from augcompress.evidence.statistics import holm, mcnemar
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """All of the digits."""
    spec = validate({"version": 1, "name": "digits", "data": {"kind": "digits"}})
    return Context(spec, RunDir(tmp_path_factory.mktemp("probe")))


def test_answers_are_those_of_the_nearest_other_image():
    generator = torch.Generator().manual_seed(0)
    known = torch.rand((60, 5), generator=generator)
    labels, owners = torch.randint(0, 4, (30,), generator=generator), torch.arange(30)
    twice = Answers(known, owners.repeat(2), labels)
    found, distances = twice.to(known[:30], owners)
    for row in range(30):
        others = [place for place in range(60) if place % 30 != row]
        nearest = KNeighborsClassifier(1).fit(known[others], labels.repeat(2)[others])
        assert found[row] == nearest.predict(known[row : row + 1])[0]
        expected, _ = nearest.kneighbors(known[row : row + 1])
        assert distances[row].item() == pytest.approx(expected[0, 0], abs=1e-5)


def test_an_image_passes_for_a_class_only_within_its_spread():
    answers, distances = torch.tensor([1, 1, 0]), torch.tensor([0.5, 1.5, 9.0])
    taken = passing(answers, distances, torch.tensor([9.0, 1.0]), torch.tensor([0, 0, 1]))
    assert taken.tolist() == [1, 0, 0]


def test_pairs_are_counted_tested_and_adjusted():
    labels = np.repeat([0, 1, 2], 20)
    before, after = labels.copy(), labels.copy()
    before[0] = 1  # a 0 taken for a 1, put right
    after[1:10], after[25:28] = 1, 0  # nine 0s for 1s, three 1s for 0s
    after[45] = 0
    (found,) = collisions(labels, before, after)
    assert (found.classes, found.before, found.after, found.n) == ((0, 1), 1, 12, 40)
    p = [mcnemar(12, 1), mcnemar(1, 0), 1.0]  # pairs 0 and 1, 0 and 2, 1 and 2
    assert found.p == pytest.approx(holm(p)[0])


def test_pairs_that_become_better_are_no_collisions():
    labels = np.repeat([0, 1], 30)
    before = labels.copy()
    before[:20] = 1
    assert collisions(labels, before, labels) == []
    assert collisions(labels, labels, labels) == []


def test_large_images_are_averaged_down():
    images = torch.arange(4.0).repeat_interleave(16).repeat(64, 1)[None, None]  # (1, 1, 64, 64)
    batch = Batch(images, None, torch.arange(1))
    wanted = torch.arange(4.0).repeat_interleave(4).repeat(16)
    torch.testing.assert_close(features(batch)[0], wanted)


def test_digits_do_not_survive_being_turned_over(context):
    flip, quarter = probe_labels(context, [VerticalFlip(), Rotate90()])
    assert flip.worse
    assert (2, 5) in [one.classes for one in flip.lookalikes()]
    assert quarter.worse
    assert (6, 9) in [one.classes for one in quarter.lookalikes()]


def test_wide_turns_are_probed_and_narrow_ones_are_not(context):
    (wide,) = probe_labels(context, [Affine(degrees=30), Affine(degrees=180)])
    assert wide.setting.degrees == 180
    assert (6, 9) in [one.classes for one in wide.hurt()]
    assert probe_labels(context, [HorizontalFlip(probability=0)]) == []


def test_probe_is_the_same_every_time(context):
    first, again = (probe_labels(context, [VerticalFlip()])[0] for _ in range(2))
    np.testing.assert_array_equal(first.after, again.after)
    np.testing.assert_array_equal(first.taken_after, again.taken_after)
    assert len(probed(context)) == len(first.labels)


def made(after, taken) -> Probe:
    labels = np.repeat([0, 1], 30)
    return Probe(VerticalFlip(), labels, labels, after, labels, taken)


def test_words_for_what_was_found():
    same = np.repeat([0, 1], 30)
    swapped = same.copy()
    swapped[:12] = 1
    names = ["cat", "dog"]
    assert "found nothing of that here" in probe_note(made(same, same), names)
    alike = probe_note(made(same, swapped), names)
    assert not alike.startswith("WARNING")
    assert "passes for the other class: cat and dog 0 → 12 of 60 (p < 0.001)" in alike
    hurt = probe_note(made(swapped, swapped), names)
    assert hurt.startswith("WARNING: vertical_flip hurts here")
    assert "Mixed up more: cat and dog 0 → 12 of 60 (p < 0.001)" in hurt
    assert "cat 100 % (88.6–100) → 60.0 % (42.3–75.4)" in hurt


def test_measurements_are_of_all_and_of_the_classes_named():
    same = np.repeat([0, 1], 30)
    swapped = same.copy()
    swapped[:12] = 1
    rows = made(swapped, same).measurements(["cat", "dog"])
    assert [row.conditions.get("class") for row in rows] == [None, None, "cat", "cat", "dog", "dog"]
    assert [row.value for row in rows] == pytest.approx([1, 48 / 60, 1, 18 / 30, 1, 1])
    assert {row.name for row in rows} == {"probe_top1"}
