"""Each objective against numbers worked out by plain arithmetic, and its known minimum."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.objectives import (
    Attention,
    Correlation,
    Decoupled,
    Hint,
    Labels,
    ObjectiveFacts,
    Relational,
    Similarity,
    SoftTargets,
    View,
)
from augcompress.objectives.correlation import correlation_loss

STUDENT = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]
TEACHER = [[0.0, 3.0, 1.0], [1.0, 0.5, 2.0]]
OTHER = [[2.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
TARGETS = [[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]]
PAIRS = list(zip(STUDENT, TARGETS, strict=True))
FACTS = ObjectiveFacts(samples=2, classes=3)


def softmax(row, temperature=1.0):
    powers = [exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence(target, found):
    return sum(t * log(t / f) for t, f in zip(target, found, strict=True) if t > 0)


def view(teachers=(TEACHER,), targets=TARGETS, student=STUDENT) -> View:
    return View(
        student_logits=torch.tensor(student, dtype=torch.float64, requires_grad=True),
        teacher_logits=[torch.tensor(each, dtype=torch.float64) for each in teachers],
        targets=None if targets is None else torch.tensor(targets, dtype=torch.float64),
        index=torch.arange(2),
    )


def cross_entropy(targets, weights=(1, 1, 1)):
    terms = [
        -w * t * log(f)
        for row, target in zip(STUDENT, targets, strict=True)
        for t, f, w in zip(target, softmax(row), weights, strict=True)
    ]
    return sum(terms) / 2


def test_labels():
    assert Labels().build(FACTS)(view()).item() == pytest.approx(cross_entropy(TARGETS))


def test_labels_smoothed():
    smooth = [[0.9 * value + 0.1 / 3 for value in row] for row in TARGETS]
    found = Labels(label_smoothing=0.1).build(FACTS)(view())
    assert found.item() == pytest.approx(cross_entropy(smooth))


def test_labels_weighted_are_divided_by_the_batch_size():
    found = Labels(class_weights=(1, 2, 4)).build(FACTS)(view())
    assert found.item() == pytest.approx(cross_entropy(TARGETS, (1, 2, 4)))


def test_labels_focal():
    terms = [
        -w * (0.9 * t + 0.1 / 3) * (1 - p) ** 2 * log(p)
        for row, target in zip(STUDENT, TARGETS, strict=True)
        for t, p, w in zip(target, softmax(row), (1, 2, 4), strict=True)
    ]
    settings = Labels(focal=2, label_smoothing=0.1, class_weights=(1, 2, 4))
    assert settings.build(FACTS)(view()).item() == pytest.approx(sum(terms) / 2)


def test_labels_focal_is_finite_where_a_student_is_certain():
    seen = view(student=[[900.0, 0.0, -900.0], [0.0, 0.0, 900.0]])
    loss = Labels(focal=0.5).build(FACTS)(seen)
    loss.backward()
    assert torch.isfinite(seen.student_logits.grad).all()


def test_labels_of_the_hardest_images():
    rows = [-sum(t * log(p) for t, p in zip(t_, softmax(s), strict=True)) for s, t_ in PAIRS]
    found = Labels(hard_examples=0.5).build(FACTS)(view())
    assert found.item() == pytest.approx(max(rows))
    alike = Labels(hard_examples=0.99).build(FACTS)(view())
    assert alike.item() == pytest.approx(cross_entropy(TARGETS))


def test_labels_take_half_precision_targets():
    seen = view()
    half = View(seen.student_logits.float(), [], seen.targets.half(), seen.index)
    assert Labels().build(FACTS)(half).item() == pytest.approx(cross_entropy(TARGETS), rel=1e-5)


def test_labels_are_least_at_the_labels():
    logs = [[log(0.2), log(0.3), log(0.5)], [log(0.6), log(0.3), log(0.1)]]
    seen = view(targets=[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], student=logs)
    Labels().build(FACTS)(seen).backward()
    assert seen.student_logits.grad.abs().max() < 1e-12


def test_labels_refuse_what_does_not_fit():
    with pytest.raises(AugcompressError, match="2 entries for 3 classes"):
        Labels(class_weights=(1, 2)).build(FACTS)
    with pytest.raises(AugcompressError, match="the batch has no labels"):
        Labels().build(FACTS)(view(targets=None))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets(temperature):
    pairs = zip(TEACHER, STUDENT, strict=True)
    parts = [divergence(softmax(t, temperature), softmax(s, temperature)) for t, s in pairs]
    found = SoftTargets(temperature=temperature).build(FACTS)(view())
    assert found.item() == pytest.approx(temperature**2 * sum(parts) / 2)


@pytest.mark.parametrize("shares", [None, (3.0, 1.0)])
def test_soft_targets_of_two_teachers_are_averaged(shares):
    first, second = (0.5, 0.5) if shares is None else (0.75, 0.25)
    parts = []
    for one, two, student in zip(TEACHER, OTHER, STUDENT, strict=True):
        both = zip(softmax(one, 2), softmax(two, 2), strict=True)
        parts.append(divergence([first * a + second * b for a, b in both], softmax(student, 2)))
    found = SoftTargets(temperature=2, teacher_weights=shares).build(FACTS)(view((TEACHER, OTHER)))
    assert found.item() == pytest.approx(4 * sum(parts) / 2)


def standardized(row):
    mean = sum(row) / len(row)
    deviation = sqrt(sum((value - mean) ** 2 for value in row) / (len(row) - 1))
    return [(value - mean) / deviation for value in row]


def test_soft_targets_standardized():
    pairs = zip(TEACHER, STUDENT, strict=True)
    parts = [divergence(softmax(standardized(t), 2), softmax(standardized(s), 2)) for t, s in pairs]
    found = SoftTargets(temperature=2, standardize=True).build(FACTS)(view())
    assert found.item() == pytest.approx(4 * sum(parts) / 2, rel=1e-6)


@pytest.mark.parametrize("standardize", [False, True])
def test_soft_targets_vanish_where_the_student_is_the_teacher(standardize):
    seen = view(student=TEACHER)
    loss = SoftTargets(standardize=standardize).build(FACTS)(seen)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert seen.student_logits.grad.abs().max() < 1e-12


def test_standardized_soft_targets_ignore_scale_and_shift():
    stretched = [[3 * value + 7 for value in row] for row in TEACHER]
    loss = SoftTargets(standardize=True).build(FACTS)(view(student=stretched))
    assert loss.item() == pytest.approx(0, abs=1e-10)


def test_soft_targets_want_one_share_per_teacher():
    with pytest.raises(AugcompressError, match="2 entries for 1 teachers"):
        SoftTargets(teacher_weights=(1, 2)).build(FACTS)(view())


def apart(row, target, temperature):
    """The target's probability and that of all others; the others among themselves."""
    own = softmax(row, temperature)[target]
    return [own, 1 - own], softmax([v for c, v in enumerate(row) if c != target], temperature)


@pytest.mark.parametrize("teachers", [(TEACHER,), (TEACHER, OTHER)])
def test_decoupled(teachers):
    parts = []
    for row, (student, target) in enumerate(zip(STUDENT, (1, 2), strict=True)):
        soft = [softmax(each[row], 2) for each in teachers]
        mean = [sum(column) / len(soft) for column in zip(*soft, strict=True)]
        (two, others), (own, rest) = (
            apart([log(p) for p in mean], target, 1),
            apart(student, target, 2),
        )
        parts.append(0.5 * divergence(two, own) + 3 * divergence(others, rest))
    found = Decoupled(temperature=2, alpha=0.5, beta=3).build(FACTS)(view(teachers))
    assert found.item() == pytest.approx(4 * sum(parts) / 2)


def test_decoupled_parts_make_up_soft_targets():
    """KL = TCKD + (1 - the teacher's probability of the target) NCKD, for one sample."""
    seen = view(([TEACHER[0]],), [TARGETS[0]], [STUDENT[0]])
    whole = SoftTargets(temperature=1).build(FACTS)(seen).item()
    own = Decoupled(temperature=1, alpha=1, beta=0).build(FACTS)(seen).item()
    others = Decoupled(temperature=1, alpha=0, beta=1).build(FACTS)(seen).item()
    assert whole == pytest.approx(own + (1 - softmax(TEACHER[0])[1]) * others)


def test_decoupled_is_finite_where_a_teacher_is_certain():
    certain = [[200.0, 0.0, -200.0], [0.0, -200.0, 200.0]]
    loss = Decoupled(temperature=1).build(FACTS)(view((certain, certain)))
    assert torch.isfinite(loss)


def test_decoupled_wants_labels():
    with pytest.raises(AugcompressError, match="objective decoupled: the batch has no labels"):
        Decoupled().build(FACTS)(view(targets=None))


def r(first, second):
    pairs = [
        (a - sum(first) / len(first), b - sum(second) / len(second))
        for a, b in zip(first, second, strict=True)
    ]
    spread = [sum(pair[side] ** 2 for pair in pairs) for side in (0, 1)]
    return sum(a * b for a, b in pairs) / sqrt(spread[0] * spread[1])


def test_correlation():
    student, teacher = ([softmax(row, 2) for row in rows] for rows in (STUDENT, TEACHER))
    between = 1 - sum(map(r, student, teacher)) / 2
    columns = [list(zip(*rows, strict=True)) for rows in (student, teacher)]
    within = 1 - sum(map(r, *columns)) / 3
    found = Correlation(temperature=2, beta=0.5, gamma=3).build(FACTS)(view())
    assert found.item() == pytest.approx(4 * (0.5 * between + 3 * within))


def test_correlation_within_classes_is_over_the_rows_of_all_processes():
    seen = replace(view(), gather=lambda rows: torch.cat((rows, rows**2)))
    own, other = (F.softmax(each, dim=1) for each in (seen.student_logits, seen.teacher_logits[0]))
    expected = correlation_loss(torch.cat((own, own**2)).T, torch.cat((other, other**2)).T)
    assert Correlation(beta=0).build(FACTS)(seen).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("objective", [Decoupled(), Correlation(temperature=3)])
def test_nothing_is_left_to_learn_where_the_student_is_the_teacher(objective):
    seen = view(student=TEACHER)
    loss = objective.build(FACTS)(seen)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert seen.student_logits.grad.abs().max() < 1e-12


def test_correlation_of_a_single_image_is_finite():
    loss = Correlation().build(FACTS)(view(([TEACHER[0]],), [TARGETS[0]], [STUDENT[0]]))
    loss.backward()
    assert torch.isfinite(loss)


def maps(student, teacher) -> View:
    """A batch of which layer `a` of the student and layer `b` of the teacher are seen."""
    return View(
        student_logits=torch.zeros(len(student), 3),
        teacher_logits=[],
        targets=None,
        index=torch.arange(len(student)),
        student_features={"a": student},
        teacher_features=[{"b": teacher}],
    )


def hint(student, teacher):
    facts = ObjectiveFacts(2, 3, {"a": student.shape[1:]}, ({"b": teacher.shape[1:]},))
    return Hint(student_layer="a", teacher_layer="b").build(facts), maps(student, teacher)


def test_hint():
    loss, seen = hint(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 1.0]], [[4.0, 4.0]]]]))
    loss.regressor.weight.data = torch.tensor([2.0, 3.0]).view(2, 1, 1, 1)
    loss.regressor.bias.data = torch.tensor([0.0, 1.0])
    # regressed: 2, 4 and 4, 7; differences: 2, 3 and 0, 3
    assert loss(seen).item() == pytest.approx((4 + 9 + 0 + 9) / 4)


def test_hint_pools_the_larger_map():
    loss, seen = hint(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), torch.tensor([[[[1.0]]]]))
    loss.regressor.weight.data.fill_(1)
    loss.regressor.bias.data.zero_()
    assert loss(seen).item() == pytest.approx((4 - 1) ** 2)


def test_hint_vanishes_where_the_regressed_student_is_the_teacher():
    features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    loss, seen = hint(features, features.clone())
    loss.regressor.weight.data = torch.eye(3).view(3, 3, 1, 1)
    loss.regressor.bias.data.zero_()
    assert loss(seen).item() == pytest.approx(0, abs=1e-12)


def test_hint_takes_features_of_mixed_precision():
    features = torch.ones(2, 3, 4, 4, dtype=torch.bfloat16)
    loss, seen = hint(features, features.half())
    assert loss(seen).dtype == torch.float32


@pytest.mark.parametrize("shape", [(), (8,)])
def test_hint_wants_feature_maps(shape):
    facts = ObjectiveFacts(2, 3, {"a": (3, 4, 4)}, ({"b": shape},))
    with pytest.raises(AugcompressError, match="teacher_layer b has shape"):
        Hint(student_layer="a", teacher_layer="b").build(facts)


LAYERS = {"student_layers": ("a",), "teacher_layers": ("b",)}


def loss_of_maps(objective, student, teacher):
    return objective.build(FACTS)(maps(student, teacher))


def test_attention():
    student = torch.tensor([[[[1.0, 2.0]], [[0.0, 2.0]]]], dtype=torch.float64)  # (1, 2, 1, 2)
    teacher = torch.tensor([[[[3.0, 0.0]]]], dtype=torch.float64)
    ours = [0.5 / sqrt(0.5**2 + 4**2), 4 / sqrt(0.5**2 + 4**2)]
    expected = ((ours[0] - 1) ** 2 + ours[1] ** 2) / 2
    found = loss_of_maps(Attention(**LAYERS), student, teacher)
    assert found.item() == pytest.approx(expected)


def test_similarity():
    student = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    teacher = torch.tensor([[2.0], [1.0]], dtype=torch.float64)
    ours = [[1 / sqrt(2), 1 / sqrt(2)], [1 / sqrt(5), 2 / sqrt(5)]]
    theirs = [[2 / sqrt(5), 1 / sqrt(5)], [2 / sqrt(5), 1 / sqrt(5)]]
    gaps = [
        (a - b) ** 2 for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    ]
    found = loss_of_maps(Similarity(**LAYERS), student, teacher)
    assert found.item() == pytest.approx(sum(gaps) / 4)


POINTS = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
LINE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)


def test_relational_distances():
    """Sides 3, 4, 5 of mean 4 against 1, 2, 1 of mean 4/3: all gaps are below 1."""
    gaps = [3 / 4 - 3 / 4, 1 - 6 / 4, 5 / 4 - 3 / 4]
    expected = sum(2 * 0.5 * gap**2 for gap in gaps) / 9
    found = loss_of_maps(Relational(**LAYERS, angle=0), POINTS, LINE)
    assert found.item() == pytest.approx(expected)


def test_relational_angles():
    """Cosines at the corners of a right-angled triangle: 0, 3/5, 4/5; on the line 1, -1, 1; and 1
    of a side with itself in both."""
    gaps = [0 - 1, 3 / 5 + 1, 4 / 5 - 1]
    huber = [0.5 * gap**2 if abs(gap) < 1 else abs(gap) - 0.5 for gap in gaps]
    found = loss_of_maps(Relational(**LAYERS, distance=0, angle=1), POINTS, LINE)
    assert found.item() == pytest.approx(2 * sum(huber) / 27)


def test_relational_means_over_positions():
    spread = torch.stack([POINTS - 1, POINTS + 1], dim=2)[..., None]  # (3, 2, 2, 1)
    found = loss_of_maps(Relational(**LAYERS), spread, POINTS)
    assert found.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [Attention, Similarity, Relational])
def test_the_same_features_leave_nothing_to_learn(kind):
    maps = torch.rand(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    loss = loss_of_maps(kind(**LAYERS), maps, 2 * maps.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert maps.grad.abs().max() < 1e-9


def test_layers_are_named_in_pairs():
    with pytest.raises(ValidationError, match="names as many layers as teacher_layers"):
        Attention(student_layers=("a",))
    with pytest.raises(ValidationError, match="names as many layers as teacher_layers"):
        Attention(student_layers=("a", "b"), teacher_layers=("c",))
