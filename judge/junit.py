"""JUnit XML as Jenkins reads it (junit-10.xsd): a suite and its cases. Which result becomes which element is a matter of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree as ET  # only written here, never parsed

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no way to write


class Suite:
    """One test suite in a document of its own. `started` in seconds since the epoch."""

    def __init__(self, name: str, *, started: float, properties: Mapping[str, str]) -> None:
        self.element = ET.Element("testsuite", name=_writable(name))
        self.element.set("timestamp", datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        listed = ET.SubElement(self.element, "properties")
        for key, value in properties.items():
            add(listed, "property", name=key, value=value)

    def case(self, name: str, classname: str, seconds: float = 0.0) -> ET.Element:
        """A new test case."""
        return add(self.element, "testcase", name=name, classname=classname, time=_time(seconds))

    def document(self, seconds: float) -> str:
        """The whole text, with the totals that readers show before they read the cases."""
        for total, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            self.element.set(total, str(sum(1 for _ in self.element.iter(tag))))
        self.element.set("time", _time(seconds))
        document = ET.Element("testsuites")
        document.append(self.element)
        ET.indent(document)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="unicode") + "\n"


def add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    """A new element; characters that XML can't hold are replaced."""
    element = ET.SubElement(parent, tag, {name: _writable(value) for name, value in attributes.items()})
    element.text = _writable(text) or None
    return element


def _time(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
