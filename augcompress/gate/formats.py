"""Verdicts as continuous integration reads them: JUnit's XML, and Markdown for a job's page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from augcompress.evidence import Verdict, markdown_text

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Iterable[Verdict], name: str) -> str:
    """One `testsuite` called `name` with a `testcase` for each verdict, as JUnit's XML."""
    listed = list(verdicts)
    missed = sum(not verdict.reached for verdict in listed)
    told = {"name": _xml(name), "tests": str(len(listed)), "failures": str(missed)}
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", {**told, "errors": "0", "time": "0"})
    for verdict in listed:
        told = {"classname": _xml(name), "name": _xml(verdict.limit), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", told)
        if not verdict.reached:
            failure = ElementTree.SubElement(case, "failure", message=_xml(why(verdict)))
            failure.set("type", verdict.kind)
            failure.text = _xml(f"{verdict.limit}: {why(verdict)}")
        elif verdict.found:
            ElementTree.SubElement(case, "system-out").text = _xml(why(verdict))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def summary(verdicts: Iterable[Verdict], title: str, lines: Sequence[str] = ()) -> str:
    """GitHub-flavoured Markdown: the title, a sentence, `lines` as a list, and a table with what
    was missed first."""
    listed = sorted(verdicts, key=lambda verdict: verdict.reached)
    missed = sum(not verdict.reached for verdict in listed)
    told = f"**{missed} of {len(listed)} missed**" if missed else f"All {len(listed)} reached."
    text = [f"## {markdown_text(title)}", "", told, ""]
    if lines:
        text += [*(f"- {markdown_text(line)}" for line in lines), ""]
    if listed:
        text += ["| | Limit | Found | Wanted | Note |", "|---|---|---|---|---|"]
        text += [_row(verdict) for verdict in listed] + [""]
    return "\n".join(text) + "\n"


def why(verdict: Verdict) -> str:
    """`found 94.1 % (93.1–95.1 %), wanted ≥ 95 %; …`, in one line."""
    found = f"found {verdict.found}, wanted {verdict.asked}" if verdict.found else ""
    return "; ".join(text for text in (found, verdict.note) if text)


def _row(verdict: Verdict) -> str:
    word = "reached" if verdict.reached else "**missed**"
    cells = [verdict.limit, verdict.found or "–", verdict.asked or "–", verdict.note]
    return f"| {' | '.join([word, *map(markdown_text, cells)])} |"


def _xml(text: str) -> str:
    """Without characters that XML cannot hold; ElementTree escapes the others."""
    return _NOT_XML.sub("�", text)
