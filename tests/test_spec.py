"""The recipe: what it means, what it refuses, what of it makes a stage's key."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from end_to_end import TINY, write_recipe

from augcompress.component import key_of
from augcompress.errors import UsageError
from augcompress.raw import find_recipe, override_value
from augcompress.spec import ORDER, load, validate


def recipe(**changes):
    return {**copy.deepcopy(TINY), **changes}


def test_stages_stand_in_their_own_order_without_a_pipeline():
    spec = validate(recipe())
    assert spec.stages() == tuple(s for s in ORDER if s not in ("pretrain", "evaluate"))
    assert validate(recipe(prune=None)).stages() == (
        "augment",
        "train_teacher",
        "distill",
        "quantize",
        "export",
    )


def test_pipeline_gives_another_order():
    order = ["train_teacher", "prune", "distill", "export"]
    assert validate(recipe(pipeline=order)).stages() == tuple(order)


@pytest.mark.parametrize(
    "pipeline, message",
    [
        (["prune", "prune"], "prune stands twice; each stage runs at most once"),
        (["quantize", "prune"], "prune trains a network and cannot follow quantize"),
        (["export", "distill"], "distill trains a network and cannot follow export"),
        (["trim"], 'pipeline.0: unknown "trim"; did you mean|known: augment, pretrain'),
    ],
)
def test_pipeline_that_cannot_be(pipeline, message):
    with pytest.raises(UsageError, match=message):
        validate(recipe(pipeline=pipeline))


@pytest.mark.parametrize(
    "limit, message",
    [
        (
            {"measure": "top1"},
            r"limits\.0: has no goal; give exactly one of at_least, at_most, at_most_worse",
        ),
        ({"measure": "top1", "at_least": 0.5, "at_most": 1}, "exactly one"),
        ({"measure": "top1", "at_most_worse": 0.1}, "at_most_worse has nothing to compare with"),
    ],
)
def test_limit_that_says_nothing(limit, message):
    with pytest.raises(UsageError, match=message):
        validate(recipe(limits=[limit]))


@pytest.mark.parametrize(
    ("measure", "pipeline", "message"),
    [
        (
            "accuracy",
            None,
            r"^limits\.1\.measure: unknown measure 'accuracy'; did you mean top1\?$",
        ),
        ("topp1", None, r"^limits\.1\.measure: unknown measure 'topp1'; did you mean top1\?$"),
        ("zzz", None, r"unknown measure 'zzz'; known: top1, top5, .*, weights_licence$"),
        (
            "int8_kernels",
            ["train_teacher", "export"],
            "int8_kernels is measured by quantize, which the pipeline does not",
        ),
        (
            "speedup",
            ["train_teacher"],
            "speedup is measured by export, which the pipeline does not",
        ),
    ],
)
def test_limit_on_what_is_never_measured(measure, pipeline, message):
    limits = [{"measure": "top1", "at_least": 0.5}, {"measure": measure, "at_least": 1}]
    with pytest.raises(UsageError, match=message):
        validate(recipe(limits=limits, pipeline=pipeline))
    if measure in ("topp1", "zzz"):
        steps = [{"kind": "plugin", "target": "own.steps:Mine"}]
        validate(recipe(limits=limits, prune={"steps": steps}))


def test_missing_fields_are_named():
    with pytest.raises(
        UsageError, match=r"^version: is missing; add version: 1 \| data: is missing; add data: "
    ):
        validate({"name": "tiny"})


def test_more_than_three_mistakes_are_counted():
    with pytest.raises(UsageError, match=r"\(and 2 more\)$"):
        validate(recipe(a=1, b=1, c=1, d=1, e=1))


def test_component_without_kind():
    with pytest.raises(
        UsageError, match=r"^train_teacher\.model: .*has no kind|no mapping with a kind"
    ):
        validate(recipe(train_teacher={"model": {"widths": [8]}}))


def test_wrong_item_of_a_list_is_the_only_mistake():
    with pytest.raises(
        UsageError, match=r"^prune\.steps\.0\.mac: unknown key; did you mean macs\?$"
    ):
        validate(recipe(prune={"steps": [{"kind": "channels", "mac": 0.5}]}))
    with pytest.raises(UsageError, match=r"^prune\.steps: is empty; give at least 1$"):
        validate(recipe(prune={"steps": []}))


WRONG = {
    "train_teacher.model=3": r"^train_teacher\.model: 3 is no mapping with a kind; write .* small_",
    "train_teacher.model={kind: small_cn}": r"did you mean small_cnn\? known: cifar_resnet, small_",
    "data.kind=[1]": r"^data\.kind: unknown \[1\]; known: digits, mnist",
    "export.targets=3": r"^export\.targets: 3 is no list; put it in \[ \]$",
    "limits=[3]": r"^limits\.0: 3 is no mapping; write \{field: value\} of measure, ",
    "data.normalization=foo": r"^data\.normalization: \"foo\" does not fit; give 'standardize', ",
    "data.normalization.mean=[x]": r"^data\.normalization\.mean\.0: \"x\" is no number; give one$",
    "distill.objectives.0.weight=x": r"^distill\.objectives\.0\.weight: \"x\" is no number; give",
}


@pytest.mark.parametrize("change", WRONG)
def test_what_is_allowed_is_shown_and_places_are_the_recipes_own(change):
    raw = recipe(data={"kind": "digits", "normalization": {"mean": [0.5], "std": [1]}})
    raw["distill"]["objectives"] = [{"kind": "labels"}]
    override_value(raw, change)
    with pytest.raises(UsageError, match=WRONG[change]) as caught:
        validate(raw)
    assert "[" not in str(caught.value).partition(": ")[0]


def bomb() -> str:
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(["a0: &a0 [x]", *rows])


HOSTILE = {
    "x: &a {b: *a}": "stands inside itself",
    "x: &a [1]\ny: &a [*a]": "stands inside itself",
    bomb(): "holds more than 20000 values",
    "x: [" + "1," * 30_000 + "]": "holds more than 20000 values",
    "x: [{" * 200: "deeper than 32 levels",
    "- " * 300: "deeper than 32 levels",
    "#" * 300_000: "longer than 256 KiB",
    "x: {2020-01-01: 1}": "x: a key is date, not text",
    "? [a, b]\n: c": "a key is tuple, not text",
    "1.5: c": "a key is float, not text",
    "? !!binary aGVsbG8=\n: 1": "binary is no kind of value that a recipe has",
    "x: !!binary aGVsbG8=": "binary is no kind of value that a recipe has",
    "x: !!set {a, b}": "set is no kind of value",
    "x: !!python/object:os.system {}": "python/object:os.system is no kind of value",
    "x: !!float x": "could not convert string to float",
    "x: !!int x": "is not YAML",
    "x: !!bool maybe": "is not YAML",
    "x: !!map 3": "is not YAML",
    "x: 1" + "0" * 30: "the number has more than 64 bits",
    "x: 1" + "0" * 6000: "is not YAML",
    "x: 0x" + "f" * 6000: "the number has more than 64 bits",
    'x: {y: "a\\e[31m"}': r"x\.y: holds the character '\\x1b'",
    'x: "a\\0"': r"x: holds the character '\\x00'",
    'x: "\\ud800"': "holds the character|is not YAML",
    "a: 1\na: 2": "is not YAML",
    "a: 1\n---\nb: 2": "is not YAML",
    "%YAML 9.9\n---\na: 1": "is not YAML|unknown key",
    "x: [1": "is not YAML",
    "\ufeffx: *nowhere": "stands inside itself or before its &anchor",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24])
def test_hostile_recipes_are_one_line(tmp_path, text):
    path = tmp_path / "hostile.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=HOSTILE[text]) as caught:
        load(path)
    assert len(str(caught.value)) < 600
    with pytest.raises(UsageError, match=r"^(--set )?x: "):
        set_and_validated(f"x={text}")


def set_and_validated(override: str) -> None:
    raw = recipe()
    override_value(raw, override)
    validate(raw)


def test_aliases_that_stand_for_little_are_read(tmp_path):
    path = write_recipe(tmp_path)
    path.write_text(
        "{version: 1, name: a, data: {kind: digits},\n"
        " train_teacher: {model: &m {kind: small_cnn}, training: &t {epochs: 2}},\n"
        " distill: {student: *m, training: {<<: *t, batch_size: 16}}}"
    )
    spec, _ = load(path)
    assert (spec.distill.training.epochs, spec.distill.training.batch_size) == (2, 16)


def test_a_setting_that_is_nested_too_deep_is_refused():
    raw = recipe()
    override_value(raw, f"{'a.' * 2000}a=1")
    with pytest.raises(UsageError, match="is deeper than 32 levels"):
        validate(raw)


def test_sections_are_frozen():
    spec = validate(recipe())
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3


@pytest.mark.parametrize(
    "override, place, value",
    [
        ("seed=3", ("seed",), 3),
        ("prune.steps.0.macs=0.5", ("prune", "steps", 0, "macs"), 0.5),
        ("train_teacher.training.optimizer={kind: adamw}", None, None),
        ("distill.student=null", ("distill", "student"), None),
        ("data.subset=", ("data", "subset"), None),
        ("name=a=b", ("name",), "a=b"),
    ],
)
def test_override_puts_a_value_in_its_place(override, place, value):
    raw = recipe()
    override_value(raw, override)
    if place is None:
        place, value = ("train_teacher", "training", "optimizer"), {"kind": "adamw"}
    found = raw
    for part in place:
        found = found[part]
    assert found == value


def test_override_makes_sections_that_are_not_there(tmp_path):
    path = write_recipe(tmp_path)
    spec, text = load(path, ["evaluate.split=validation", "limits=[{measure: top1, at_least: 0}]"])
    assert spec.evaluate.split == "validation"
    assert spec.limits[0].at_least == 0
    assert text == path.read_text()


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("distill.objectives.0.temperature=8", "temperature", 8),
        ("distill.objectives.0.weight=0.5", "weight", 0.5),
    ],
)
def test_override_of_a_list_that_the_recipe_leaves_as_usual(tmp_path, override, place, value):
    spec, _ = load(write_recipe(tmp_path), [override])
    usual = validate(recipe()).distill.objectives
    assert getattr(spec.distill.objectives[0], place) == value
    assert spec.distill.objectives[1] == usual[1]
    with pytest.raises(
        UsageError,
        match=r"distill\.objectives\.2: the list has no such item; its 2 items are 0 to 1",
    ):
        load(write_recipe(tmp_path), ["distill.objectives.2.weight=1"])
    with pytest.raises(UsageError, match=r"^limits: .* is no list; put it in"):
        load(write_recipe(tmp_path), ["limits.0.at_least=1"])


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("distill.temperature=8", "distill.objectives.0.temperature"),
        ("distill.lr=0.1", "distill.training.optimizer.lr"),
        ("distill.training.lr=0.1", "distill.training.optimizer.lr"),
        ("prune.macs=0.5", "prune.steps.0.macs"),
        ("temperature=8", "distill.objectives.0.temperature"),
        ("export.opset=18", "export.targets.0.opset"),
        ("data.seed=3", "seed"),
        ("distill.learning_rate=0.1", "distill.training.optimizer.lr"),
        ("distill.training.bs=32", "distill.training.batch_size"),
        ("distill.batch=32", "distill.training.batch_size"),
        ("quantize.calibration_images=64", "quantize.steps.0.samples"),
        ("distill.training.schedule.warmup_epochs=2", "distill.training.schedule.warmup"),
    ],
)
def test_a_key_at_the_wrong_place_is_found_at_the_right_one(tmp_path, override, meant):
    value = override.partition("=")[2]
    told = rf"unknown key; did you mean {re.escape(meant)}\?  --set {re.escape(meant)}={value}$"
    with pytest.raises(UsageError, match=told):
        load(write_recipe(tmp_path), [override])


def test_the_same_is_said_of_a_recipes_own_text(tmp_path):
    def temperature(raw):
        raw["distill"]["temperature"] = 8

    with pytest.raises(UsageError, match=r"--set distill\.objectives\.0\.temperature=8$"):
        load(write_recipe(tmp_path, temperature))


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("prune.sparsity=0.5", "did you mean prune.steps.0.macs?  see: augcompress explain prune."),
        ("quantize.bits=4", "did you mean quantize.steps?  see: augcompress explain"),
        ("training.optimizer.lr=1", "--set train_teacher.training.optimizer.lr=1"),
        ("data.classes_=[a b, c]", "did you mean classes?"),
        ("classes=[a b, c]", '--set \'data.classes=["a b", "c"]\''),
    ],
)
def test_what_is_to_be_pasted_means_the_same_and_survives_a_shell(tmp_path, override, hint):
    with pytest.raises(UsageError, match=re.escape(hint)):
        load(write_recipe(tmp_path), [override])


def test_a_component_without_a_kind_is_of_the_usual_one(tmp_path):
    told = ["distill.training.optimizer.lr=0.3", "train_teacher.training.schedule.warmup=2"]
    spec, _ = load(write_recipe(tmp_path), told)
    usual = validate(recipe())
    assert spec.distill.training.optimizer.kind == "sgd"
    assert spec.distill.training.optimizer.lr == 0.3
    assert spec.train_teacher.training.schedule.warmup == 2
    assert spec.train_teacher.training.schedule.kind == usual.train_teacher.training.schedule.kind
    with pytest.raises(UsageError, match=r"^train_teacher\.model: has no kind; add kind: "):
        load(write_recipe(tmp_path), ["train_teacher.model={widths: [8]}"])


def test_a_key_of_several_sections_names_them(tmp_path):
    with pytest.raises(
        UsageError, match=r"^epochs: unknown key; did you mean train_teacher\.train"
    ) as caught:
        load(write_recipe(tmp_path), ["epochs=3"])
    assert "distill.training.epochs" in str(caught.value)
    assert "pretrain.training.epochs" not in str(caught.value)


def test_paths_start_at_the_recipe_and_expand(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS", "/somewhere")

    def weights(given):
        path = write_recipe(tmp_path, lambda r: r["train_teacher"].update(weights=given))
        return load(path)[0].train_teacher.weights

    assert weights("teacher.pt") == str(tmp_path / "teacher.pt")
    assert weights("${WEIGHTS}/teacher.pt") == "/somewhere/teacher.pt"
    assert weights("~/teacher.pt") == str(Path.home() / "teacher.pt")


def test_key_leaves_paths_out_and_keeps_settings(tmp_path):
    def key(**section):
        return key_of(validate(recipe(train_teacher={**TINY["train_teacher"], **section})))

    assert key(weights="a.pt") == key(weights="b.pt")
    assert key(training={"epochs": 3}) != key(training={"epochs": 4})
    (tmp_path / "one.py").write_text("one")
    (tmp_path / "two.py").write_text("two")
    plugin = {"kind": "plugin", "target": f"{tmp_path}/one.py:Net"}
    other = {"kind": "plugin", "target": f"{tmp_path}/two.py:Net"}
    assert key(model=plugin) != key(model=other)
    (tmp_path / "two.py").write_text("one")
    assert key(model=plugin) == key(model=other)


def test_stage_has_its_own_augmentations_or_the_common_ones():
    flip = {"kind": "horizontal_flip"}
    spec = validate(recipe(distill={**TINY["distill"], "augment": [flip]}))
    assert [each.kind for each in spec.augmentations("distill")] == ["horizontal_flip"]
    assert [each.kind for each in spec.augmentations("train_teacher")] == ["affine"]


def test_smoke_shrinks_training_and_takes_a_name_of_its_own(tmp_path):
    spec, _ = load(write_recipe(tmp_path, lambda r: r.update(prune=None)), smoke=True)
    assert spec.name == "tiny-smoke"
    assert spec.train_teacher.training.epochs == spec.distill.training.epochs == 1
    assert spec.quantize.max_drop is None
    assert spec.prune is None


def test_shipped_recipe_by_name_with_and_without_ending():
    assert find_recipe("digits") == find_recipe("digits.yaml")
    with pytest.raises(UsageError, match=r"did you mean digits\.yaml\?"):
        find_recipe("digit")


PHOTOS = {"version": 1, "name": "photos", "data": {"kind": "image_folder", "root": "photos"}}
LITE = {"kind": "timm", "name": "tf_efficientnet_lite0"}  # 224 px of 256, bicubic
LITE_SIZE = {"size": (224, 224), "fit": "crop", "resize": 256, "interpolation": "bicubic"}
SWAG = {"kind": "torchvision", "name": "vit_b_16"}  # of these weights: 384 px of 384, bicubic
SWAG_FILE = "vit_b_16_swag-9ac1b537.pth"


@pytest.mark.parametrize(
    ("data", "teacher", "student", "wanted"),
    [
        ({}, {"model": LITE, "weights": "w.pt"}, None, LITE_SIZE),
        ({}, {"model": SWAG, "weights": SWAG_FILE}, {"student": LITE, "weights": "w.pt"},
         LITE_SIZE),
        ({}, {"model": SWAG, "weights": SWAG_FILE}, {"student": LITE},
         {"size": (384, 384), "resize": 384, "interpolation": "bicubic"}),
        ({"interpolation": "nearest"}, {"model": LITE, "weights": "w.pt"}, None,
         {**LITE_SIZE, "interpolation": "nearest"}),
        ({"resize": 300}, {"model": LITE, "weights": "w.pt"}, None,
         {"size": (224, 224), "fit": None, "resize": 300}),
        ({"fit": "stretch"}, {"model": LITE, "weights": "w.pt"}, None,
         {"size": (224, 224), "fit": "stretch", "resize": None}),
        ({"size": 64}, {"model": LITE, "weights": "w.pt"}, None,
         {"size": 64, "fit": None, "resize": None, "interpolation": "bilinear"}),
    ],
)  # fmt: skip
def test_a_size_that_is_left_out_is_the_weights(data, teacher, student, wanted):
    recipe = {**PHOTOS, "data": {**PHOTOS["data"], **data}, "train_teacher": teacher}
    spec = validate(recipe if student is None else {**recipe, "distill": student})
    assert {name: getattr(spec.data, name) for name in wanted} == wanted
    again = validate(json.loads(spec.model_dump_json()))
    assert again.data == spec.data


def test_a_size_that_is_left_out_is_that_of_a_checkpoint(tmp_path):
    resizing = {"resize": 120, "crop": [96, 100], "interpolation": "bicubic", "mode": "RGB"}
    told = {"facts": {"input": {"size": [96, 100]}}, "resizing": resizing}
    (tmp_path / "model.json").write_text(json.dumps(told))
    teacher = {"model": {"kind": "small_cnn"}, "weights": str(tmp_path / "model.safetensors")}
    data = validate({**PHOTOS, "train_teacher": teacher}).data
    found = {"size": data.size, "fit": data.fit, "resize": data.resize}
    assert found == {"size": (96, 100), "fit": "crop", "resize": 120}
    assert data.resizing().items() >= resizing.items()


@pytest.mark.parametrize("weights", [{}, {"weights": "w.pt"}])
def test_a_size_that_nothing_tells_is_asked_for(weights):
    teacher = {"model": {"kind": "small_cnn"}, **weights}
    with pytest.raises(UsageError, match=r"^data\.size: is missing, and .*: data\.size=64$"):
        validate({**PHOTOS, "train_teacher": teacher})


@pytest.mark.parametrize(
    "targets", [None, [{"kind": "onnx", "opset": 19}], [{"kind": "onnx", "input": "uint8"}]]
)
def test_the_input_of_every_target_has_a_short_name(targets):
    export = {"input": "image"} if targets is None else {"input": "image", "targets": targets}
    spec = validate({**copy.deepcopy(TINY), "export": export})
    assert spec.export.headline.input == (targets or [{}])[0].get("input", "image")
    written_out = [{"input": "image", **one} for one in targets or [{"kind": "onnx"}]]
    assert spec == validate({**copy.deepcopy(TINY), "export": {"targets": written_out}})


def test_whole_images_make_no_batch():
    target = {"kind": "onnx", "input": "image", "batch": 8}
    with pytest.raises(UsageError, match=r"^export\.targets\.0.*whole images takes one a call"):
        validate({**copy.deepcopy(TINY), "export": {"targets": [target]}})
