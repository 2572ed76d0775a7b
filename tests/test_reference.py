"""The reference has every field that a recipe may have, however deep it stands."""

from __future__ import annotations

import re

from pydantic import BaseModel

from augcompress.spec import Spec
from augcompress.spec.reference import TOPICS, field_rows, markdown, members, sections, tables
from augcompress.spec.search import Factor, Level
from augcompress.spec.sections import CardSection, Offline, TestTimeAugmentation, TimingSection
from augcompress.spec.topics import known_topics


def reachable(model: type[BaseModel], found: set | None = None) -> set[type[BaseModel]]:
    """Every class that stands somewhere in a recipe."""
    found = set() if found is None else found
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for inner in members(field.annotation):
                reachable(inner, found)
    return found


def told() -> list[list]:
    every = [tables(one) for one in known_topics().values()]
    return [field_rows(model) for one in every for model in one.values()]


def test_every_class_of_a_recipe_is_in_the_reference():
    assert {Offline, TimingSection, CardSection, TestTimeAugmentation, Factor, Level} < reachable(
        Spec
    )
    listed = told()
    missing = [one for one in reachable(Spec) if field_rows(one) not in listed]
    assert missing == []


def test_a_topic_names_each_class_once():
    titles = list(tables(TOPICS["data"]))
    assert titles.count("normalization") == 1
    assert titles.index("mnist") < titles.index("normalization")
    assert list(tables(sections()["export"])) == ["export", "timing", "card"]


def test_page_has_the_fields_that_stand_deep():
    page = markdown()
    for field in ("data_license", "contact", "rounds", "copies", "views", "overrides"):
        assert re.search(rf"^\| {field} \|", page, re.M), field
    assert page.count("### `timing`") == 1


def test_each_topic_of_the_page_says_where_to_look_next():
    page = markdown()
    ends = [part.rstrip().splitlines()[-1] for part in page.split("\n## ")[1:]]
    assert all(end.startswith("See: [") for end in ends)
    linked = set(re.findall(r"\]\(#([\w-]+)\)", page))
    assert linked <= set(known_topics())
