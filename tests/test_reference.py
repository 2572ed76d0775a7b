"""The reference has every field that a recipe may have, however deep it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from augcompress.errors import UsageError
from augcompress.spec import Spec
from augcompress.spec.reference import ROOMS, explain_room, field_rows, markdown, members, sections
from augcompress.spec.search import Factor, Level
from augcompress.spec.sections import CardSection, Offline, TestTimeAugmentation, TimingSection


def reachable(model: type[BaseModel], found: set | None = None) -> set[type[BaseModel]]:
    """Every class that stands somewhere in a recipe."""
    found = set() if found is None else found
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for inner in members(field.annotation):
                reachable(inner, found)
    return found


def told() -> Iterator[list]:
    for room in {**sections(), **ROOMS}:
        yield from (rows for _, rows in explain_room(room))


def test_every_class_of_a_recipe_is_explained():
    tables = list(told())
    assert {Offline, TimingSection, CardSection, TestTimeAugmentation, Factor, Level} < reachable(
        Spec
    )
    missing = [one for one in reachable(Spec) if field_rows(one) not in tables]
    assert missing == []


@pytest.mark.parametrize(
    "room, kind, field",
    [
        ("export", "timing", "rounds"),
        ("export", "card", "data_license"),
        ("augment", "offline", "copies"),
        ("evaluate", "test_time_augmentation", "views"),
        ("search", "vary", "levels"),
        ("search", "vary.levels", "overrides"),
        ("foreign", None, "layout"),
        ("compressions", "layers", "include"),
    ],
)
def test_sections_inside_sections_are_found_by_their_field(room, kind, field):
    ((title, rows),) = explain_room(room, kind)
    assert title.partition(": ")[0] in (kind, "ForeignSection")
    assert field in [row[0] for row in rows]


def test_a_room_names_each_class_once():
    titles = [title.partition(": ")[0] for title, _ in explain_room("data")]
    assert titles.count("normalization") == 1
    assert titles.index("mnist") < titles.index("normalization")
    assert [title.partition(": ")[0] for title, _ in explain_room("export")] == [
        *("ExportSection", "timing", "card")
    ]


def test_page_has_the_fields_that_stand_deep():
    page = markdown()
    for field in ("data_license", "contact", "rounds", "copies", "views", "overrides"):
        assert re.search(rf"^\| {field} \|", page, re.M), field
    assert page.count("### `timing`") == 1


def test_unknown_kind_names_the_nearest():
    with pytest.raises(UsageError, match=r"^explain export timin: .* did you mean timing\?$"):
        list(explain_room("export", "timin"))
