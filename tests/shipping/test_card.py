"""The model card: it says what is known, and strangers' names stay text."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from augcompress.evidence.formatting import markdown_text
from augcompress.evidence.records import Measurement
from augcompress.shipping.card import CardFacts, model_card

EVIL = """[prize](http://evil.example/)

# Safe and certified

![x](y) **b** _i_ ~~s~~ `c` <b>&lt;|$m$"""


def facts(**changes) -> CardFacts:
    settings = {
        "title": "post",
        "classes": ["cat", "dog"],
        "input": "`input`, float32, (images, 1, 8, 8), values in [0,1]",
        "output": "`logits`, float32, (images, 2)",
        "resizing": {"kind": "resize", "antialias": None},
        "prepares": False,
        "data": "digits",
        "images": {"train": 300, "validation": 144, "test": 359},
        "steps": ["Teacher: small_cnn (widths [8, 16])"],
        "duplicates": 0,
        "recipe": "abc",
        "version": "1.0",
        "opset": "17",
    }
    return CardFacts(**(settings | changes))


def rows(name="cat") -> list[Measurement]:
    recall = {"conditions": {"class": name}, "name": "recall"}
    speed = {"threads": 1, "batch": 1, "cpu": "AMD | EPYC"}
    return [
        Measurement(name="top1", value=0.9, low=0.8, high=0.95, n=359, split="test"),
        Measurement(value=0.5, n=10, split="test", **recall),
        Measurement(name="latency_ms", value=1.5, unit="ms", conditions=speed),
    ]


def parsed(text: str) -> list:
    """Every token of the page, as a reader of GitHub's Markdown sees it."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [inner for token in reader.parse(text) for inner in (token, *(token.children or []))]


def kinds(text: str, *wanted: str) -> list[str]:
    return [token.type for token in parsed(text) if token.type in wanted]


def headings(text: str) -> list[str]:
    tokens = parsed(text)
    return [
        tokens[place + 1].content
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


MARKUP = ("link_open", "image", "em_open", "s_open", "html_inline", "html_block")


def test_names_of_strangers_are_no_markup():
    tame = model_card(facts(classes=["cat"]), rows())
    card = model_card(facts(classes=[EVIL]), rows(EVIL))
    assert headings(card) == headings(tame)
    assert kinds(card, *MARKUP) == []
    for kind in ("strong_open", "code_inline", "tr_open", "td_open", "paragraph_open"):
        assert kinds(card, kind) == kinds(tame, kind), kind
    told = [token.content for token in parsed(card) if token.type == "inline"]
    assert any("Classes: " in text for text in told)


def test_names_are_read_as_they_are_written():
    card = model_card(facts(classes=[EVIL, "a_b"]), rows())
    read = "".join(token.content for token in parsed(card) if token.type.startswith("text"))
    assert " ".join(EVIL.split()) + ", a_b." in read


@pytest.mark.parametrize(
    "field", ["title", "license", "data_license", "contact", "intended_use", "out_of_scope"]
)
def test_what_the_recipe_says_is_no_markup(field):
    said = {} if field == "title" else {"said": {field: EVIL}}
    card = model_card(facts(**(said or {"title": EVIL})), rows())
    assert kinds(card, *MARKUP) == []
    assert len(headings(card)) == len(headings(model_card(facts(), rows())))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("plain", "plain"),
        ("macs_kept", "macs_kept"),
        ("_a_", r"\_a\_"),
        ("a|b", r"a\|b"),
        ("a\n b", "a b"),
        ("<i>", "&lt;i>"),
        ("&amp;", "&amp;amp;"),
        (3, "3"),
        (r"\[", r"\\\["),
    ],
)
def test_text_for_markdown(text, wanted):
    assert markdown_text(text) == wanted


def test_card_of_a_network_trained_here_says_how():
    card = model_card(facts(), rows())
    assert "made and measured by augcompress 1.0" in card
    assert "Images are prepared as in training: kind resize, antialias none." in card
    assert "Epochs, layers and thresholds were chosen on validation images" in card
    assert "No test image has an exact copy among the training images." in card
    assert "elsewhere" not in card


def test_card_of_a_file_from_elsewhere_claims_nothing_of_its_training():
    card = model_card(facts(foreign=True, steps=["Quantize: static_int8"]), rows())
    assert "made elsewhere, adapted and measured by augcompress" in card
    assert "The source is an ONNX file from elsewhere" in card
    assert "What was done to it:\n\n1. Quantize: static_int8" in card
    assert "Images are prepared as for the figures below: kind resize" in card
    for claim in ("as in training", "Epochs", "exact copy among the training"):
        assert claim not in card


@pytest.mark.parametrize(
    ("name", "value", "unit", "more", "shown"),
    [
        ("parameters", 1270330, "count", {}, "| Parameters | 1,270,330 |"),
        ("macs", 13870, "count", {}, "| Multiply-adds for one image | 13,870 |"),
        ("size_bytes", 6956, "bytes", {}, "| Size | 6,956 bytes |"),
        ("compressed_bytes", 999, "bytes", {}, "| Size, compressed (zlib) | 999 bytes |"),
        (
            "peak_memory_bytes",
            15.36e6,
            "bytes",
            {"n": 5, "low": 15.3e6, "high": 15.4e6},
            "| Peak memory of inference | 15.4 MB (15.3 MB–15.4 MB, n=5) |",
        ),
        (
            "throughput",
            63800,
            "images/s",
            {"n": 6, "low": 56000, "high": 72700, "conditions": {"too_noisy": True}},
            "| Throughput | too noisy to say |",
        ),
        (
            "speedup",
            1.5,
            "ratio",
            {"n": 6, "baseline": "teacher", "conditions": {"too_noisy": True}},
            "| teacher | speedup | too noisy to say |",
        ),
    ],
)
def test_what_was_counted_stands_in_full_and_what_is_noisy_nowhere(name, value, unit, more, shown):
    card = model_card(facts(), [Measurement(name=name, value=value, unit=unit, **more)])
    assert shown in card


def test_numbers_of_images_stand_in_full():
    images = {"train": 60000, "validation": 1000, "test": 10000}
    card = model_card(facts(images=images), rows())
    assert "digits: 60,000 train, 1,000 validation, 10,000 test images." in card


def test_licences_of_weights_are_named_and_are_no_markup():
    found = [
        Measurement(name="weights_licence", value=1, subject=name, conditions={"licence": text})
        for name, text in (("timm resnet18", "apache-2.0"), (EVIL, "unknown"))
    ]
    card = model_card(facts(), [*rows(), *found])
    row = next(line for line in card.splitlines() if line.startswith("| Licence of weights"))
    assert "| timm resnet18: apache-2.0; " in row
    assert row.endswith(": unknown |")
    assert kinds(card, *MARKUP) == []
    assert "among them | not known |" in model_card(facts(), rows())


def test_card_of_a_file_from_elsewhere_without_steps():
    card = model_card(facts(foreign=True, steps=[]), rows())
    assert "What was done to it" not in card
    assert not re.search(r"^\d+\.", card, re.M)
