"""Checks as JUnit's XML, one test case for each, as GitLab, Jenkins, GitHub's reporters and others read it.

The schema is the one of the Jenkins JUnit plugin: testsuites, testsuite, testcase with failure or skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from snapseed.ci.checks import Check

# What XML 1.0 cannot carry at all, section 2.2.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, checks: Sequence[Check]) -> str:
    """The document; a test suite for each group of checks, `name` before each."""
    root = ET.Element("testsuites", {"name": name, **_totals(checks)})
    for group, members in groupby(checks, lambda check: check.group):
        cases = list(members)
        suite = ET.SubElement(root, "testsuite", {"name": f"{name}.{group}", **_totals(cases)})
        for check in cases:
            case = ET.SubElement(suite, "testcase", _case(f"{name}.{group}", check))
            if check.state == "failed":
                ET.SubElement(case, "failure", message=_clean(check.message)).text = _clean(check.details)
            elif check.state == "skipped":
                ET.SubElement(case, "skipped", message="not reached")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _totals(checks: Sequence[Check]) -> dict[str, str]:
    return {
        "tests": str(len(checks)),
        "failures": str(sum(check.state == "failed" for check in checks)),
        "errors": "0",
        "skipped": str(sum(check.state == "skipped" for check in checks)),
        "time": f"{sum(check.seconds for check in checks):.3f}",
    }


def _case(suite: str, check: Check) -> dict[str, str]:
    place = {"file": _clean(check.path)} if check.path else {}
    return {"classname": suite, "name": _clean(check.name), "time": f"{check.seconds:.3f}", **place}


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
