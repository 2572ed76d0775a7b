"""Every member of the room's union."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from augcompress.component import ALLOW_PLUGINS
from augcompress.errors import AugcompressError
from augcompress.objectives import Objective, ObjectiveFacts, Taps, View
from augcompress.spec import meanings

PLUGIN = """
from typing import Literal
from torch import nn
from augcompress.objectives import ObjectiveSettings, Taps

class Gap(nn.Module):
    def __init__(self, classes, power=2):
        super().__init__()
        self.scale = nn.Parameter(nn.init.ones_(nn.Linear(classes, 1).weight)[0])
        self.power = power
    def forward(self, view):
        gap = view.student_logits - view.teacher_logits[0].detach()
        return (gap * self.scale).pow(self.power).mean()

class GapSettings(ObjectiveSettings):
    kind: Literal["mine"] = "mine"
    power: int = 2
    def taps(self):
        return Taps(student=("a",), teacher=("b",))
    def build(self, facts):
        return Gap(facts.classes, self.power)
"""

MEMBERS = {
    "labels": {"label_smoothing": 0.1, "class_weights": [1, 2, 3, 4, 5]},
    "soft_targets": {"temperature": 3},
    "decoupled": {"temperature": 3, "beta": 2},
    "correlation": {"temperature": 2, "gamma": 3},
    "hint": {"student_layer": "layer2", "teacher_layer": "layer3"},
    "attention": {"student_layers": ["layer2"], "teacher_layers": ["layer3"]},
    "similarity": {"student_layers": ["layer2"], "teacher_layers": ["layer3"]},
    "relational": {"student_layers": ["layer2"], "teacher_layers": ["layer3"]},
    "plugin": {"target": "./loss.py:Gap", "needs_teacher": True},
}
FACTS = ObjectiveFacts(
    samples=100,
    classes=5,
    student_shapes={"layer2": (3, 4, 4)},
    teacher_shapes=({"layer3": (6, 2, 2)},),
)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "loss.py").write_text(PLUGIN)
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    return {"base": str(tmp_path)}


def settings(kind, plugins, **changes):
    data = {"kind": kind, **MEMBERS[kind], **changes}
    return TypeAdapter(Objective).validate_python(data, context=plugins)


def worker(kind, plugins):
    torch.manual_seed(0)
    return settings(kind, plugins).build(FACTS).double()


def view(samples=4, seed=1) -> View:
    draw = torch.Generator().manual_seed(seed)

    def tensor(*shape):
        values = torch.randn(*shape, dtype=torch.float64, generator=draw)
        return values.requires_grad_()

    return View(
        student_logits=tensor(samples, 5),
        teacher_logits=[tensor(samples, 5)],
        targets=torch.softmax(tensor(samples, 5), 1).detach(),
        index=torch.arange(samples),
        student_features={"layer2": tensor(samples, 3, 4, 4)},
        teacher_features=[{"layer3": tensor(samples, 6, 2, 2)}],
    )


def leaves(seen: View) -> list[torch.Tensor]:
    """What the student gives."""
    return [seen.student_logits, *seen.student_features.values()]


def test_the_table_has_every_member():
    members = get_args(get_args(Objective)[0])
    assert {member.model_fields["kind"].default for member in members} == set(MEMBERS)


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_loss_is_a_finite_scalar(kind, plugins):
    loss = worker(kind, plugins)(view())
    assert loss.shape == ()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_gradient_is_that_of_finite_differences(kind, plugins):
    loss, seen = worker(kind, plugins), view()

    def value(logits, features, *parameters):
        changed = replace(seen, student_logits=logits, student_features={"layer2": features})
        names = [name for name, _ in loss.named_parameters()]
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(loss, named, (changed,))

    assert torch.autograd.gradcheck(value, (*leaves(seen), *loss.parameters()))


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_gradient_reaches_student_and_own_parameters_never_the_teacher(kind, plugins):
    loss, seen = worker(kind, plugins), view()
    loss(seen).backward()
    assert any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves(seen))
    assert all(parameter.grad is not None for parameter in loss.parameters())
    teacher = [*seen.teacher_logits, *seen.teacher_features[0].values()]
    assert all(leaf.grad is None for leaf in teacher)


@pytest.mark.parametrize("kind", MEMBERS)
def test_batch_order_does_not_matter(kind, plugins):
    loss, seen = worker(kind, plugins), view()
    order = torch.tensor([2, 0, 3, 1])
    mixed = View(
        student_logits=seen.student_logits[order],
        teacher_logits=[seen.teacher_logits[0][order]],
        targets=seen.targets[order],
        index=seen.index[order],
        student_features={"layer2": seen.student_features["layer2"][order]},
        teacher_features=[{"layer3": seen.teacher_features[0]["layer3"][order]}],
    )
    assert loss(mixed).item() == pytest.approx(loss(seen).item(), rel=1e-12)


def doubled(seen: View) -> View:
    """Each sample twice."""
    return View(
        student_logits=seen.student_logits.repeat(2, 1),
        teacher_logits=[seen.teacher_logits[0].repeat(2, 1)],
        targets=seen.targets.repeat(2, 1),
        index=seen.index.repeat(2),
        student_features={"layer2": seen.student_features["layer2"].repeat(2, 1, 1, 1)},
        teacher_features=[{"layer3": seen.teacher_features[0]["layer3"].repeat(2, 1, 1, 1)}],
    )


@pytest.mark.parametrize("kind", [k for k in MEMBERS if k not in ("similarity", "relational")])
def test_a_batch_twice_has_the_same_mean(kind, plugins):
    loss, seen = worker(kind, plugins), view()
    assert loss(doubled(seen)).item() == pytest.approx(loss(seen).item(), rel=1e-12)


@pytest.mark.parametrize("kind", MEMBERS)
def test_two_processes_see_the_batch_of_both(kind, plugins):
    loss, seen = worker(kind, plugins), view()
    gathered = replace(seen, gather=lambda rows: torch.cat((rows, rows)))
    assert loss(gathered).item() == pytest.approx(loss(doubled(seen)).item(), rel=1e-12)


@pytest.mark.parametrize("kind", MEMBERS)
def test_settings_are_frozen_weighted_and_survive_json(kind, plugins):
    objective = settings(kind, plugins, weight=0.5)
    assert objective.weight == 0.5
    with pytest.raises(ValidationError, match="frozen"):
        objective.weight = 1.0
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        settings(kind, plugins, weight=-1)
    assert TypeAdapter(Objective).validate_json(objective.model_dump_json()) == objective


@pytest.mark.parametrize("kind", MEMBERS)
def test_every_field_is_documented(kind, plugins):
    objective = type(settings(kind, plugins))
    assert objective.__doc__
    assert objective.model_fields.keys() - {"kind"} <= meanings(objective).keys()


@pytest.mark.parametrize("kind", MEMBERS)
def test_taps_and_the_need_for_a_teacher_are_known(kind, plugins):
    objective = settings(kind, plugins)
    assert objective.needs_teacher == (kind != "labels")
    wanted = Taps(("layer2",), ("layer3",)) if "teacher_layer" in str(MEMBERS[kind]) else Taps()
    assert objective.taps() == wanted


@pytest.mark.parametrize("kind", [k for k in MEMBERS if k not in ("labels", "plugin")])
def test_no_teacher_is_said(kind, plugins):
    alone = replace(view(), teacher_logits=[], teacher_features=[])
    with pytest.raises(AugcompressError, match=f"objective {kind}: has (no|0) teacher"):
        worker(kind, plugins)(alone)


def test_a_plugin_may_be_settings_with_taps(plugins):
    objective = settings("plugin", plugins, target="./loss.py:GapSettings", options={"power": 4})
    assert objective.taps() == Taps(("a",), ("b",))
    assert objective.build(FACTS).power == 4


def test_a_plugin_module_names_its_taps_in_the_recipe(plugins):
    objective = settings("plugin", plugins, student_layers=["x"], teacher_layers=["y", "z"])
    assert objective.taps() == Taps(("x",), ("y", "z"))
