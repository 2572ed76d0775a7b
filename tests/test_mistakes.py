"""What real users get wrong, over all commands: one line that names the place and the cure."""

from __future__ import annotations

import ast
import contextlib
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from end_to_end import invoke
from onnx import TensorProto, helper
from PIL import Image
from typer.main import get_command

from augcompress.cli import app

LONGEST = 160
"""Characters of a statement, before its cure."""
MODEL = "runs/tiny/export/model.onnx"
TEACHER = "runs/tiny/train_teacher/model.safetensors"
NET = "train_teacher.model={kind: plugin, target: './net.py:Net'}"

COMMAND_LINES = [
    ("rum -r tiny.yaml", 2, "no such command 'rum'", "did you mean run?"),
    ("-r tiny.yaml", 2, "no option -r", "augcompress --help"),
    ("run", 2, "--recipe: is missing", "augcompress recipes"),
    ("run -r", 2, "-r", "augcompress"),
    ("run --recipy tiny.yaml", 2, "run: there is no option --recipy", "did you mean --recipe?"),
    ("run -r tiny.yaml --epochs 0", 2, "--epochs: 0 is too small", "give at least 1"),
    ("run -r tiny.yaml --epochs ten", 2, '--epochs: "ten" is no whole number', "give one"),
    ("run -r tiny.yaml --seed -1", 2, "--seed: -1 is too small", "give at least 0"),
    ("run -r tiny.yaml --name 'my run'", 2, 'name: "my run"', "use letters, digits"),
    ("run -r tiny.yaml --device gpu", 2, '--device: unknown "gpu"', "known: auto, cpu, cuda"),
    ("run -r tiny.yaml --device cuda", 2, "--device cuda: torch finds no CUDA", "--device cpu"),
    ("run -r tiny.yaml --devices 0", 2, "--devices 0", "give 1 or more, or auto"),
    ("run -r tiny.yaml --nodes 2", 2, "--nodes 2", "give --node-rank 0 to 1"),
    ("run -r tiny.yaml --nodes 2 --node-rank 0", 2, "--nodes 2", "give --rendezvous HOST:PORT"),
    (
        "run -r tiny.yaml --nodes 2 --node-rank 0 --rendezvous host:99999",
        2,
        "--rendezvous host:99999: 99999 is no port",
        "give HOST:PORT",
    ),
    ("run -r tiny.yaml --node-rank 0", 2, "--node-rank", "give --nodes too"),
    ("run -r tiny.yaml --until train", 2, "--until train", "did you mean train_teacher?"),
    ("run -r tiny.yaml --until pretrain", 2, "--until pretrain", "known: augment"),
    ("run -r tiny.yaml --run-dir one.png", 1, "one.png: cannot be made a folder", "--run-dir"),
    ("augment -r tiny.yaml --preview --measure", 2, "augment: --preview and --measure", "give one"),
    ("augment -r tiny.yaml --measure --devices 2", 2, "no option --devices", "mean --device?"),
    ("search -r tiny.yaml --epochs 3", 2, "no option --epochs", "search --help"),
    ("recipes digits", 2, "recipes: got unexpected extra argument", "recipes --help"),
    ("schema recipe", 2, "schema: got unexpected extra argument", "schema --help"),
    ("doctor --jsn", 2, "doctor: there is no option --jsn", "did you mean --json?"),
]
RECIPES = [
    ("run -r digit.yaml", 2, "digit.yaml: no such file", "did you mean digits.yaml?"),
    ("run -r some/where.yaml", 2, "some/where.yaml: no such file", "augcompress recipes"),
    ("run -r pictures", 2, "pictures: is no file", "give a recipe"),
    ("run -r one.png", 2, "one.png: is no text", "YAML"),
    ("run -r version.yaml", 2, "version: is missing", "add version: 1"),
    ("run -r empty.yaml", 2, "empty.yaml: holds no sections", "augcompress init"),
    ("run -r tabs.yaml", 2, "tabs.yaml: line 4 is not YAML", "indent with spaces"),
    (
        "run -r twice.yaml",
        2,
        'twice.yaml: line 2 is not YAML: found duplicate key "version"',
        "one",
    ),
    ("run -r colon.yaml", 2, "colon.yaml: line 3 is not YAML", "write a space after each colon"),
    ("run -r brace.yaml", 2, "brace.yaml: line 4 is not YAML", "close what was opened"),
    ("run -r indent.yaml", 2, "indent.yaml: line 3 is not YAML", "indent it like its neighbours"),
    ("run -r tag.yaml", 2, "tag.yaml: !!python/object:os.system", "write text or a number"),
    ("run -r onlydata.yaml", 1, "export: nothing to start from", "put a stage"),
    ("init nothing", 2, "nothing: no such file", "augcompress recipes"),
    ("init digits.yaml --to tiny.yaml", 1, "tiny.yaml: is already there", "--to"),
    ("explain objectivs", 2, "explain objectivs", "did you mean objectives?"),
    ("explain objectives soft_target", 2, "explain objectives soft_target", "soft_targets"),
]
SETS = [
    ("seed", "--set seed: sets nothing", "write section.field=value"),
    ("seed=[1", '--set seed: "[1" cannot be read', "close what was opened"),
    ("seed=", "seed: null is no whole number", "give one"),
    ("seed=1.5", "seed: 1.5 is no whole number", "give one"),
    ("version=2", "version: 2 does not fit", "give 1"),
    ("version.deep=1", "--set version.deep: version is 1", "set version"),
    ("prune.steps.3.macs=0.5", "--set prune.steps.3: the list has no such item", "0"),
    ("distil.training=3", "distil: unknown key", "did you mean distill?"),
    ("distill.training.epoch=3", "distill.training.epoch: unknown key", "did you mean epochs?"),
    ("distill.temperature=4", "distill.temperature: unknown key", "distill.objectives.0.temperat"),
    ("bogus=1", "bogus: unknown key", "known: version, name, seed"),
    ("data.channels=1", "data.channels: unknown key", "known: kind"),
    ("train_teacher.model.kind=resnet18", ".kind: unknown 'resnet18'", "{kind: torchvision, name:"),
    (
        "train_teacher.model=resnet18",
        '"resnet18" is no mapping',
        "{kind: torchvision, name: resnet",
    ),
    (
        "train_teacher.model.name=resnet18",
        "model.name: unknown key of kind small_cnn",
        "torchvision",
    ),
    ("train_teacher.model={name: resnet18}", "train_teacher.model: has no kind", "torchvision"),
    (
        "train_teacher.model={kind: torchvision, nmae: resnet18}",
        "train_teacher.model.name: is missing",
        "did you mean name?",
    ),
    ("train_teacher.model={kind: torchvision, name: resnet19}", "model.name", "'resnet18'"),
    ("train_teacher.training.optimizer.kind=adam", "optimizer.kind: unknown 'adam'", "adamw"),
    ("train_teacher.training.schedule=cosine", '"cosine" is no mapping', "write {kind: cosine}"),
    ("train_teacher.training.epochs=0", "training.epochs: 0 is too small", "give at least 1"),
    ("train_teacher.training.epochs=many", '"many" is no whole number', "give one"),
    ("train_teacher.training.accumulation=3", "training.accumulation: 3 does not divide", "change"),
    ("train_teacher.training.optimizer.lr=.nan", "lr: NaN is no finite number", "give one"),
    ("train_teacher.training.optimizer.lr=-1", "lr: -1 is too small", "give more than 0"),
    ("train_teacher.training.select_by=accuracy", 'select_by: unknown "accuracy"', "known: top1"),
    ("train_teacher.training=null", "train_teacher: training is null", "give one of the two"),
    ("train_teacher=[]", "train_teacher: [] is no mapping", "write {field: value}"),
    ("data.validation=20%", 'data.validation: "20%" is no number', "write 0.2"),
    ("data.validation=2", "data.validation: 2 is too large", "give less than 1"),
    ("data=digits", 'data: "digits" is no mapping', "write {kind: digits}"),
    ("data.kind=folder", "data.kind: unknown 'folder'", "did you mean image_folder?"),
    ("pipeline=[]", "pipeline: is empty", "give at least 1"),
    ("pipeline=distill", 'pipeline: "distill" is no list', "put it in [ ]"),
    ("pipeline=[distil]", 'pipeline.0: unknown "distil"', "did you mean distill?"),
    (
        "pipeline=[export, distill]",
        "pipeline: distill trains a network and cannot",
        "put it before",
    ),
    ("pipeline=[distill, distill]", "pipeline: distill stands twice", "at most once"),
    ("pipeline=[pretrain]", "pipeline: pretrain has no section", "write one"),
    ("augment.pipeline=[flip]", 'augment.pipeline.0: "flip"', "{kind: horizontal_flip}"),
    ("augment.pipeline=[{kind: blur}]", "pipeline.0.kind: unknown 'blur'", "box_blur or"),
    ("augment.pipeline=[{degrees: 5}]", "augment.pipeline.0: has no kind", "affine"),
    ("augment.pipeline.0.scale=[1.1, 0.9]", "augment.pipeline.0.scale", "[0.9, 1.1]"),
    ("distill.objectives=[]", "distill.objectives: is empty", "give at least 1"),
    ("distill.objectives=[{kind: kd}]", "objectives.0.kind: unknown 'kd'", "known: labels"),
    ("distill.student.widths=[8, -1]", "distill.student.widths.1: -1 is too small", "at least 1"),
    ("prune.steps=[]", "prune.steps: is empty", "give at least 1"),
    ("prune.steps.0.macs=50%", 'prune.steps.0.macs: "50%" is no number', "write 0.5"),
    (
        "prune.steps=[{kind: static_int8}]",
        "prune.steps.0: static_int8 works on the graph",
        "put it",
    ),
    ("quantize.steps=[{kind: int8}]", "quantize.steps.0.kind: unknown 'int8'", "static_int8?"),
    ("quantize.max_drop=5", "quantize.max_drop: 5 is too large", "give at most 1"),
    ("export.targets=[{kind: tflite}]", "targets.0.kind: unknown 'tflite'", "known: onnx"),
    ("export.targets.0.opset=99", "export.targets.0.opset: 99 is too large", "give at most"),
    ("limits={measure: top1, at_least: 0.9}", "limits: {", "put it in [ ]"),
    ("limits=[{measure: accuracy, at_least: 0.9}]", "limits.0.measure", "did you mean top1?"),
    ("limits=[{measure: topp1, at_least: 0.9}]", "limits.0.measure: unknown", "did you mean top1?"),
    ("limits=[{measure: size_bytes, at_most: 5KB}]", 'at_most: "5KB" is no number', "write 5000"),
    ("limits=[{measure: latency_ms, at_most: 0.2 s}]", 'limits.0.at_most: "0.2 s"', "write 200"),
    ("limits=[{measure: top1, at_least: 90%}]", 'limits.0.at_least: "90%"', "write 0.9"),
    ("limits=[{measure: top1, at_least: 90}]", "limits.0.at_least: 90 is more than 1", "fraction"),
    ("limits=[{measure: top1}]", "limits.0: has no goal", "give exactly one of at_least"),
    ("limits=[{measure: top1, at_least: 0.5, at_most: 1}]", "limits.0: has 2 goals", "exactly one"),
    ("limits=[{measure: top1, at_most_worse: 0.1}]", "limits.0: at_most_worse", "give baseline"),
    ("limits=[{measure: top1, minimum: 0.9}]", "limits.0.minimum: unknown key", "known: measure"),
]
DATA = [
    ("data.root=nowhere", "data.root", "check the path"),
    ("data.root=one.png", "data.root", "check the path"),
    ("data.root=emptyclass", "data.root: class folder", "add some or remove it"),
    ("data.root=damaged", "7.png: not a readable image", "data.corrupt: skip"),
    ("data.root=othertest", "data: train and test have different classes: bright", "add images"),
    ("data.root=one", "data.root: one class only", "give the folder"),
    ("data.root=null", "data: neither of root and manifest given", "give one"),
    ("data.size=[8]", "data.size: [8] does not fit", "give a whole number"),
    ("data={kind: arrays, path: no.npz}", "no.npz", "check the path"),
    ("data={kind: cifar10}", "data.root: is missing", "add it"),
    ("train_teacher.training.batch_size=64", "batch_size: 64 is more than the", "lower it"),
    ("train_teacher.weights=no.pt", "no.pt: no such file", "check the path"),
    ("train_teacher.weights=notes.txt", "notes.txt: unknown file type", "give .safetensors"),
    (
        "train_teacher.weights=module.pt",
        "module.pt: is no plain state dict",
        "network.state_dict()",
    ),
    (f"train_teacher.weights={TEACHER}", "train_teacher.weights: the weights do not fit", "choose"),
    (f"train_teacher.weights={MODEL}", "model.onnx: unknown file type", "give .safetensors"),
    (NET, "net.py:Net: runs code from a file", "--allow-plugins"),
    (
        "train_teacher.model={kind: plugin, target: net.py}",
        "model.target: net.py names no class",
        "write",
    ),
]
FILES = [
    ("distill -r tiny.yaml --teacher no.pt", 1, "no.pt: no such file", "check the path"),
    (
        "distill -r tiny.yaml --teacher tokens.onnx",
        1,
        "tokens.onnx: its input is [b, 16]",
        "export",
    ),
    ("distill -r pics.yaml", 1, "distill: the recipe has no such section", "add one"),
    ("prune -r tiny.yaml --from distil", 1, "distil: is no run, stage or model file", "give"),
    (f"prune -r tiny.yaml --from {MODEL}", 1, "model.onnx is a graph", "give model.safetensors"),
    ("quantize -r tiny.yaml --from broken.onnx", 1, "broken.onnx: is no ONNX file", "export it"),
    ("quantize -r tiny.yaml --from two.onnx", 1, "two.onnx: has 2 inputs", "export it with"),
    ("quantize -r tiny.yaml --from export", 2, "--from export: does not come before", "name one"),
    ("export -r tiny.yaml --from scores.onnx", 1, "scores.onnx: gives y [2, 1, 8, 8]", "export it"),
    (
        "evaluate -r tiny.yaml --from augment",
        2,
        "--from augment: leaves no network",
        "name another",
    ),
    ("evaluate -r tiny.yaml --set evaluate.split=train", 2, "evaluate.split", "known: validation"),
    ("pretrain -r tiny.yaml", 1, "pretrain: the recipe has no such section", "add one"),
    ("predict", 2, "predict: MODEL is missing", "augcompress predict --help"),
    (f"predict {MODEL} no.png", 1, "no.png: not a readable image", "give another file"),
    (f"predict {MODEL} notes.txt", 1, "notes.txt: not a readable image", "give another file"),
    ("predict no.onnx one.png", 1, "no.onnx", "check the path"),
    ("predict broken.onnx one.png", 1, "broken.onnx: is no ONNX file", "give one from export"),
    (f"predict one.png {MODEL}", 1, "one.png", "give"),
    (f"predict {MODEL} one.png --top 0", 2, "--top: 0 is too small", "give at least 1"),
    ("compare", 2, "compare: MODELS is missing", "augcompress compare --help"),
    ("compare runs/tiny", 1, "compare: one model alone", "give two or more"),
    ("compare runs/tiny runs/none", 1, "runs/none", "give"),
    ("compare runs/tiny notrun", 1, "notrun: no stage has finished here", "augcompress runs list"),
    ("compare runs/tiny runs/tiny --split train", 2, "--split train", "choose test or validation"),
    ("compare runs/tiny runs/tiny --level 95", 2, "--level: 95 is too large", "give at most 0.999"),
    (
        "compare runs/tiny runs/tiny --images pictures",
        1,
        "pictures: is not empty",
        "another folder",
    ),
    ("check runs/tiny", 2, "check: --recipe is missing", "augcompress check --help"),
    ("check notrun -r tiny.yaml", 1, "notrun: no stage has finished here", "augcompress runs list"),
    ("check runs/tiny -r tiny.yaml --reference notrun", 1, "notrun: no stage", "runs list"),
    ("check runs/tiny -r tiny.yaml --timing notes.txt", 1, "notes.txt: is no JSON", "bench.py"),
    ("report notrun", 1, "notrun: is no run of augcompress", "augcompress runs list"),
    ("report one.png", 1, "one.png: there is no such folder", "augcompress runs list"),
    ("search -r tiny.yaml", 2, "search: the recipe has no such section", "vary:"),
    ("search -r tiny.yaml --set search.vary.seeed=[1,2]", 2, "seeed: unknown key", "mean seed?"),
    ("search -r tiny.yaml --set search.vary.seed=3", 2, "vary.seed", "give a list"),
    ("runs show none", 1, "none: no stage has finished here", "augcompress runs list"),
    ("runs clean none", 1, "runs/none: is no run", "choose among"),
    ("runs lst", 2, "runs: no such command 'lst'", "did you mean list?"),
]
PROMISES = [
    (
        "check runs/tiny -r tiny.yaml --set 'limits=[{measure: top1, at_least: 0.999}]'",
        "top1",
        "report",
    ),
    ("check runs/tiny -r tiny.yaml --set seed=4", "settings", "--allow-other-settings"),
    ("compare runs/tiny/train_teacher runs/tiny --fail-if-worse --margin 0", "worse", "--margin"),
]


def on(recipe: str, command: str, change: str) -> str:
    return f"{command} -r {recipe} --set {shlex.quote(change)}"


MISTAKES = [
    *COMMAND_LINES,
    *RECIPES,
    *((on("tiny.yaml", "run", change), 2, where, cure) for change, where, cure in SETS),
    *((on("pics.yaml", "train-teacher", change), None, *told) for change, *told in DATA),
    *FILES,
]


@pytest.fixture(scope="module")
def everything(finished, tmp_path_factory):
    """A folder with a finished run, and much that is wrong."""
    folder = tmp_path_factory.mktemp("mistakes") / "here"
    shutil.copytree(finished, folder)
    with contextlib.chdir(folder):
        write_recipes()
        write_images()
        write_models()
    return folder


def write_recipes():
    head, data = "version: 1\nname: x\n", "data: {kind: digits}\n"
    texts = {
        "version": f"name: x\n{data}",
        "empty": "",
        "tabs": "version: 1\nname: x\ndata:\n\tkind: digits\n",
        "twice": f"version: 1\n{head}{data}",
        "colon": f"version: 1\nname:x\n{data}",
        "brace": "version: 1\nname: x\ndata: {kind: digits\n",
        "indent": f"{head} {data}",
        "tag": "version: 1\nname: !!python/object:os.system x\n",
        "onlydata": f"{head}{data}",
    }
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)
    training = {"epochs": 1, "batch_size": 8}
    pics = {
        "version": 1,
        "name": "pics",
        "data": {"kind": "image_folder", "root": "pictures", "size": 8, "validation": 0.2},
        "train_teacher": {"model": {"kind": "small_cnn", "widths": [8]}, "training": training},
    }
    Path("pics.yaml").write_text(json.dumps(pics))


def write_images():
    draw = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        for part, count in (("train", 12), ("test", 6)):
            Path("pictures", part, label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(level - 50, level + 50, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(Path("pictures", part, label, f"{number}.png"))
    for copy in ("emptyclass", "damaged", "othertest"):
        shutil.copytree("pictures", copy)
    Path("emptyclass", "train", "none").mkdir()
    Path("othertest", "test", "light").rename("othertest/test/bright")
    shutil.copytree("pictures/train/dark", "one/dark")
    damaged = Path("damaged", "train", "dark", "7.png")
    damaged.write_bytes(damaged.read_bytes()[:40])
    Image.fromarray(pixels).save("one.png")


def write_models():
    Path("notrun").mkdir()
    Path("notes.txt").write_text("a note")
    Path("broken.onnx").write_text("no ONNX")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    Path("net.py").write_text("import torch\n\n\nclass Net(torch.nn.Linear):\n    pass\n")
    images = ["b", 1, 8, 8]
    write_graph("tokens.onnx", {"ids": ["b", 16]}, helper.make_node("Relu", ["ids"], ["y"]))
    write_graph("scores.onnx", {"x": images}, helper.make_node("Relu", ["x"], ["y"]))
    two = helper.make_node("Add", ["a", "c"], ["y"])
    write_graph("two.onnx", {"a": images, "c": images}, two)


def write_graph(path, inputs, node):
    def tensor(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    first = next(iter(inputs.values()))
    given = [tensor(*each) for each in inputs.items()]
    graph = helper.make_graph([node], "graph", given, [tensor("y", first)])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.parametrize("command, code, where, cure", MISTAKES, ids=[row[0] for row in MISTAKES])
def test_mistake(everything, monkeypatch, command, code, where, cure):
    monkeypatch.chdir(everything)
    answer = invoke(*shlex.split(command), chance=False)
    judge(answer, code, where, cure)


@pytest.mark.parametrize("command, where, cure", PROMISES)
def test_promise(mine, command, where, cure):
    judge(invoke(*shlex.split(command), chance=False), 3, where, cure)


def judge(answer, code, where, cure):
    told = answer.error.removeprefix("error: ")
    assert answer.code == code if code is not None else answer.code in (1, 2)
    assert "Traceback" not in answer.err
    assert where in told, told
    assert cure in told.partition("; ")[2], told
    for one in told.split(" | "):
        statement, _, advice = one.partition("; ")
        assert advice, one
        assert len(statement) <= LONGEST, one


def test_several_mistakes_are_told_at_once(everything, monkeypatch):
    monkeypatch.chdir(everything)
    wrong = ["seed=-1", "distill.taecher=1", "data.validation=2", "version=3"]
    words = [word for one in wrong for word in ("--set", one)]
    told = invoke("run", "-r", "tiny.yaml", *words).error
    assert told.count(" | ") == 2
    assert told.endswith("(and 1 more)")


def test_all_commands_are_among_them():
    command = get_command(app)
    assert len(MISTAKES) >= 60
    assert {row[0].split()[0] for row in MISTAKES} >= set(command.commands)


RAISED = ("AugcompressError", "UsageError", "LimitError")
PACKAGE = Path(__file__).parents[1] / "augcompress"


def texts(node):
    """The written parts of a message; None where its end is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
        return "".join(texts(part) or "" for part in node.values)
    return None


def test_every_error_says_what_to_do():
    without = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and hasattr(node.func, "id") else ""
            told = texts(node.args[0]) if name in RAISED and node.args else None
            if told is not None and "; " not in told:
                without.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {told}")
    assert without == []
