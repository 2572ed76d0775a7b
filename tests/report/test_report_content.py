"""What the page says, read without a browser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from end_to_end import SHIPPED_FILES
from synthetic_runs import CLASSES, STAGES, predictions, write_run

from augcompress.errors import AugcompressError
from augcompress.evidence.formatting import percent, value_text
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import Verdict, read_measurements, write_measurements
from augcompress.report import SECTIONS, build, write
from augcompress.report.content import without_folders

GLUE = {0x00A0: " ", 0x2060: None}
"""What keeps a number and its unit on one line."""


class Page(HTMLParser):
    """Ids, texts of sections, and what an element refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.texts: dict[str, str] = {}
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.add(tag)
        if told.get("id"):
            self.ids.append(told["id"])
        if tag == "section":
            self._section = told["id"]
        for name in ("src", "srcset", "data", "poster", "action"):
            self.sources += [told[name]] if told.get(name) else []
        for name in ("href", "xlink:href"):
            self.links += [told[name]] if told.get(name) else []

    def handle_data(self, data):
        said = self.texts.get(self._section, "")
        self.texts[self._section] = " ".join(f"{said} {data}".split())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run; not to be written to."""
    return write_run(tmp_path_factory.mktemp("runs") / "shirts")


@pytest.fixture(scope="module")
def page(run) -> str:
    return build([run])


@pytest.fixture(scope="module")
def read(page) -> Page:
    return Page(page)


def test_every_section_is_there_and_linked(read):
    assert set(SECTIONS) <= set(read.ids)
    assert {f"#{key}" for key in SECTIONS} <= set(read.links)
    assert all(read.texts[key] for key in SECTIONS)
    assert len(read.ids) == len(set(read.ids))


def test_nothing_is_fetched_and_nothing_runs(page, read):
    assert all(source.startswith("data:") for source in read.sources)
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert "script" not in read.tags
    assert not re.search(r"url\((?!#)|@import|\bon\w+=", page)


def test_references_inside_the_page_lead_somewhere(page, read):
    wanted = {link[1:] for link in read.links if link.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted <= set(read.ids)


def test_the_opening_says_what_ships_with_interval_and_n(run, read):
    rows = read_measurements(run / "export" / "measurements.json")
    top1 = {one.role: value_text(one) for one in rows if one.name == "top1"}
    opening = read.texts["summary"].translate(GLUE)
    assert f"The shipped file labels {top1['shipped']} of the test images correctly." in opening
    assert top1["teacher"] in opening
    assert "40 kB: 10 times smaller than the teacher's 400 kB" in opening
    assert "8.5 times as fast as the teacher (7.65–9.35, n=50 processes)" in opening
    assert "points (" in opening
    assert "on the same images" in opening


def test_a_speed_within_noise_is_called_so(read):
    opening = read.texts["summary"].translate(GLUE)
    assert re.search(r"too noisy to say, measured \S+ times as fast as the float network", opening)


def test_numbers_of_classes_are_those_of_the_predictions(run, read):
    ours = Predictions.load(run / "export" / "predictions.npz")
    for number, name in enumerate(CLASSES):
        inside = ours.labels == number
        assert name in read.texts["classes"]
        assert f"{percent(ours.right[inside].mean())} % (" in read.texts["classes"]


def test_confusion_matrix_counts_every_image(page):
    cells = re.findall(r'<td class="(?:hit|miss)"[^>]*>(?:<span class="nil">)?(\d+)', page)
    assert len(cells) == len(CLASSES) ** 2
    assert sum(map(int, cells)) == 200


def test_what_users_write_is_escaped(page, read):
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert "<script>alert" not in page
    assert "<script>alert('&')</script>" in read.texts["recipe"]


def test_options_in_sentences_are_code(page, read):
    assert '<code class="option">--set</code>' in page
    assert "<code" not in read.texts["reproduce"]


def test_no_folder_of_the_user_is_on_the_page(run, page):
    assert str(run.parent) not in page
    assert "/home/someone" not in page


def test_absolute_paths_are_cut_and_others_stay():
    text = "see /tmp/a/b.txt, ~/data/x and C:\\Users\\me\\y; runs/shirts/z of https://a.org/b/c/d"
    cut = "see …/b.txt, …/x and …/y; runs/shirts/z of https://a.org/b/c/d"
    assert without_folders(text) == cut


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(run, page, tmp_path):
    elsewhere = tmp_path / "deep" / "shirts"
    shutil.copytree(run, elsewhere)
    assert build([elsewhere]) == page


def test_pictures_have_words(page):
    told = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', page)
    assert len(told) == page.count("<svg ") == 10
    assert any("shipped: 8" in words for words in told)
    assert any(words.startswith("Learning rate by epoch: ") for words in told)
    assert any("from 1001 to 1004" in words for words in told)
    assert all(re.search(r'\balt="[^"]+"', image) for image in re.findall(r"<img [^>]*>", page))


def test_pictures_follow_the_theme(page):
    drawings = "".join(re.findall(r"<svg .*?</svg>", page, re.DOTALL))
    assert "var(--shipped)" in drawings
    assert not re.search(r"#[0-9a-f]{6}\b", drawings)
    assert not re.search(r"<metadata|<style|DejaVu", drawings)


def test_page_is_small(page):
    assert len(page.encode()) < 500_000


def test_images_lost_are_shown_with_both_answers(run, read):
    ours = Predictions.load(run / "export" / "predictions.npz")
    theirs = Predictions.load(run / "export" / "predictions-teacher.npz")
    lost = int((theirs.right & ~ours.right).sum())
    assert f"{lost} of 200 test images" in read.texts["images"]
    assert sum(source.startswith("data:image/png") for source in read.sources) > lost


def test_layers_are_listed_with_the_most_sensitive_marked(read):
    text = read.texts["layers"]
    assert "6 layers hold 2.1k parameters, 100 % in int8, 50.0 % of them zero" in text
    assert text.count("among the most sensitive") == 3


def test_verdicts_are_shown(run):
    verdicts = [
        Verdict(limit="top1 at least 0.8", reached=True, actual=0.81, wanted=0.8),
        Verdict(limit="size_bytes at most 9", reached=False, actual=40_000, wanted=9),
        Verdict(limit="nll at most 1", reached=False, actual=None, wanted=1, note="not taken"),
    ]
    text = Page(build([run], {run: verdicts})).texts["summary"]
    assert "reached top1 at least 0.8 found 0.81" in text
    assert "missed size_bytes at most 9 found 40000" in text
    assert "not judged nll at most 1 not taken" in text
    assert "Missed : size_bytes at most 9: found 40000, and 1 more." in text


def test_the_page_opens_with_whether_the_file_may_be_shipped(run, tmp_path):
    kept = Verdict(limit="top1 at least 0.8", reached=True, actual=0.81, wanted=0.8)
    same = Verdict(limit="sizes are right", reached=True, kind="integrity", found="unchanged")
    unfinished = write_run(tmp_path / "half", STAGES[:1])
    for folder, verdicts, words in (
        (run, [kept, same], "Passed : its limit is reached, and the files are those that were"),
        (run, [same], "Passed : the recipe has no limits, and the files are"),
        (run, None, "Not judged : nobody has judged"),
        (unfinished, [kept], "Unfinished : "),
    ):
        page = Page(build([folder], {folder: verdicts} if verdicts else {}))
        assert words in page.texts["summary"].translate(GLUE)


def test_the_title_tells_the_loss_against_the_teacher(page):
    title = " ".join(re.search("<h1>(.*?)</h1>", page, re.S)[1].translate(GLUE).split())
    assert title == (
        "shirts: 84.5 % right in 40 kB; 6.5 points below its teacher and 8.5 times as fast as it"
    )


def test_what_became_of_the_files_is_shown(run):
    changed = "export/model.onnx has changed since it was measured; see /home/someone/x"
    verdicts = [
        Verdict(limit="sizes are right", reached=True, kind="integrity", found="unchanged"),
        Verdict(limit="it is", reached=False, kind="integrity", found="changed", note=changed),
    ]
    text = Page(build([run], {run: verdicts})).texts["summary"]
    assert "reached sizes are right found unchanged" in text
    assert "missed it is found changed export/model.onnx has changed" in text
    assert "/home/someone" not in text
    assert "not judged top1 at most 2 points worse than teacher" in text  # of limits, none says


def test_what_was_found_is_shown_with_its_interval(run):
    found = Verdict(limit="top1", reached=True, actual=0.81, found="0.82 (0.81–0.83)")
    text = Page(build([run], {run: [found]})).texts["summary"]
    assert "reached top1 found 0.82 (0.81–0.83)" in text


def test_limits_that_nobody_judged_are_listed_as_such(read):
    assert "not judged top1 at most 2 points worse than teacher" in read.texts["summary"]
    assert "augcompress check shirts --recipe shirts/spec.json" in read.texts["summary"]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (
            {"measure": "latency_ms", "baseline": "teacher", "times_better": 4.0},
            "latency_ms at least 4 times better than teacher",
        ),
        (
            {"measure": "nll", "baseline": "float", "at_least_better": 0.1, "relative": True},
            "nll at least 10 % better than float",
        ),
        (
            {"measure": "recall", "label": "cat", "at_least": 0.7, "bound": "interval"},
            "recall of cat at least 70 % (end of its interval)",
        ),
        ({"measure": "ece"}, "ece"),
    ],
)
def test_limits_are_in_the_gates_words(tmp_path, limit, words):
    run = write_run(tmp_path / "bound", STAGES[:1])
    told = json.loads((run / "spec.json").read_text()) | {"limits": [limit]}
    (run / "spec.json").write_text(json.dumps(told))
    text = Page(build([run])).texts["summary"]
    assert text.partition("not judged ")[2].startswith(words)


def test_of_several_timings_the_first_is_shown(tmp_path):
    run = write_run(tmp_path / "threads")
    path = run / "export" / "measurements.json"
    rows = read_measurements(path)
    with_two = [
        one.model_copy(
            update={"value": one.value / 2, "low": None, "high": None}
            | {"conditions": {**one.conditions, "threads": 2, "batch": 8}}
        )
        for one in rows
        if one.name == "latency_ms"
    ]
    write_measurements(path, [*with_two, *rows])
    text = Page(build([run])).texts["summary"].translate(GLUE)
    assert "0.02 ms (n=50 processes) an image on 2 threads of A CPU" in text


def test_stages_stand_in_the_order_of_the_recipes_pipeline(tmp_path):
    run = write_run(tmp_path / "turned", ("train_teacher", "prune"))
    told = json.loads((run / "spec.json").read_text())
    told["pipeline"] = ["train_teacher", "prune", "distill"]
    (run / "spec.json").write_text(json.dumps(told))
    text = Page(build([run])).texts["pipeline"]
    assert text.index("Train teacher") < text.index("Prune") < text.index("Distil")
    assert "Quantise" not in text


@pytest.mark.parametrize("done", range(len(STAGES)))
def test_an_unfinished_run_says_what_is_missing_and_what_does_it(tmp_path, done):
    run = write_run(tmp_path / "half", STAGES[:done])
    found = Page(build([run]))
    assert set(SECTIONS) <= set(found.ids)
    assert f"half: {done} of 6 stages done" in found.texts["summary"]
    assert found.texts["pipeline"].count("not done yet") == 6 - done
    assert "augcompress export --recipe half/spec.json --run-dir half" in found.texts["pipeline"]
    assert "Not here:" in found.texts["classes"]


def test_an_old_run_says_what_its_export_did_not_leave(tmp_path):
    found = Page(build([write_run(tmp_path / "old", old=True)]))
    for section in ("images", "layers"):
        assert "Not here:" in found.texts[section]
        assert "augcompress export --recipe old/spec.json" in found.texts[section]
        assert "--force" in found.texts[section]
    assert "Without a baseline's predictions" in found.texts["classes"]


@pytest.mark.parametrize(
    "name", ["layers.json", "examples.npz", "predictions.npz", "predictions-teacher.npz"]
)
def test_a_damaged_file_is_named_and_left_out(tmp_path, name):
    run = write_run(tmp_path / "worn")
    (run / "export" / name).write_bytes(b"broken")
    text = Page(build([run])).texts["summary"]
    assert f"Could not be read: export/{name}" in text
    assert str(tmp_path) not in text


def test_baselines_on_other_images_are_left_out(tmp_path):
    run = write_run(tmp_path / "mixed")
    predictions(0.1, seed=5).save(run / "export" / "predictions-teacher.npz")
    found = Page(build([run]))
    assert "is of other images than the shipped file's" in found.texts["summary"]
    assert "against the float" in found.texts["classes"]


def test_many_classes_give_pairs_and_no_matrix(tmp_path):
    run = write_run(tmp_path / "many", old=True)
    labels = np.repeat(np.arange(30), 4)
    scores = np.full((120, 30), 0.01)
    scores[np.arange(120), np.where(np.arange(120) % 4 == 0, (labels + 1) % 30, labels)] = 0.71
    names = tuple(f"kind {number}" for number in range(30))
    one = Predictions(scores, labels, np.arange(120), classes=names)
    one.save(run / "export" / "predictions.npz")
    found = Page(build([run]))
    assert "30 classes are too many for a matrix" in found.texts["classes"]
    assert "The other 5 classes" in found.texts["classes"]
    assert "kind 29" in found.texts["classes"]


def test_several_runs_are_compared_first(run, tmp_path):
    other = write_run(tmp_path / "trousers", seed=3)
    found = Page(build([run, other]))
    assert found.ids.index("comparison") < found.ids.index("run-1-summary")
    each = {key for key in SECTIONS if key != "tradeoffs"}
    assert {f"run-{n}-{key}" for n in (1, 2) for key in each} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "seed 0 3" in found.texts["comparison"]
    assert "Not measured on the same test images" in found.texts["comparison"]
    assert "2 trousers" in found.texts["tradeoffs"]


def test_runs_of_one_name_are_told_apart(run, tmp_path):
    shutil.copytree(run, tmp_path / "shirts")
    found = Page(build([run, tmp_path / "shirts"]))
    assert "1 shirts 2 shirts" in found.texts["comparison"]
    assert "on the same test images" in found.texts["comparison"]


def test_a_finished_and_an_unfinished_run_are_compared(run, tmp_path):
    found = Page(build([run, write_run(tmp_path / "half", STAGES[:2])]))
    assert "6 of 6 2 of 6" in found.texts["comparison"]
    assert "Not every run has predictions" in found.texts["comparison"]


def test_what_is_no_run_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(AugcompressError, match="is no run of augcompress; see: augcompress runs"):
        build([tmp_path])
    with pytest.raises(AugcompressError, match="there is no such folder"):
        build([tmp_path / "nowhere"])
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(AugcompressError, match=r"is a study; .* augcompress report .*/trials/\*"):
        build([tmp_path])
    with pytest.raises(AugcompressError, match="names no run"):
        build([])


def test_a_damaged_record_is_an_error_with_what_to_do(tmp_path):
    run = write_run(tmp_path / "worn")
    (run / "prune" / "stage.json").write_text("{")
    with pytest.raises(AugcompressError, match=r"stage\.json: is damaged; repeat the stage"):
        build([run])


def test_a_log_with_what_is_not_finite_is_drawn(tmp_path):
    run = write_run(tmp_path / "wild", STAGES[:3])
    lines = [
        {"epoch": 1, "losses": {"labels": float("nan")}, "validation_top1": float("inf")},
        {"epoch": 2, "losses": {"labels": -1.0}, "validation_top1": 0.5},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "distill" / "log.jsonl").write_text(text)
    found = Page(build([run]))
    assert "Every epoch of distill" in found.texts["training"]
    assert "50.0 %" in found.texts["training"]


def test_a_run_of_the_pipeline_leaves_nothing_out(finished):
    found = Page(build([finished / "runs" / "tiny"]))
    assert "Not here:" not in " ".join(found.texts.values())
    assert "Could not be read" not in found.texts["summary"]
    assert "augcompress compare tiny tiny-again" in found.texts["reproduce"]


def test_the_page_of_a_run_of_the_pipeline_is_small(finished):
    run = finished / "runs" / "tiny"
    assert set(SHIPPED_FILES) <= {path.name for path in (run / "export").iterdir()}
    assert len(build([run]).encode()) < 2_000_000


def test_write_leaves_the_whole_page(run, page, tmp_path):
    path = write([run], tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
