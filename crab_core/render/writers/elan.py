"""Events as ELAN tiers (.eaf, EAF 3.0): what is heard, seen and both, each on tiers of its own.

Annotations of one ELAN tier cannot overlap: an event that would goes to the next tier of its track, `heard 2`.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as Tree

from crab_core.render.writers._base import TextWriter, in_order, plain, span_ms
from crab_core.types import Event, Result, Track

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_TIERS: dict[Track, str] = {"both": "seen and heard", "visual": "seen", "audio": "heard"}


def write(result: Result, clip: Path) -> str:
    """The document; every track has a tier, so that a person can add to it."""
    Tree.register_namespace("xsi", _XSI)
    document = Tree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": plain(result.model),
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_XSI}}}noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    _header(document, clip)
    slots = Tree.SubElement(document, "TIME_ORDER")
    for track, name in _TIERS.items():
        for number, events in enumerate(_apart([e for e in in_order(result) if e.track == track]), start=1):
            tier = name if number == 1 else f"{name} {number}"
            _tier(document, slots, tier, events)
    kind = {"LINGUISTIC_TYPE_ID": "event", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    Tree.SubElement(document, "LINGUISTIC_TYPE", kind)
    Tree.indent(document)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Tree.tostring(document, encoding="unicode")}\n'


def _header(document: Tree.Element, clip: Path) -> None:
    header = Tree.SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    mime = mimetypes.guess_type(clip.name)[0] or "application/octet-stream"
    place, beside = clip.absolute().as_uri(), "./" + quote(clip.name, errors="surrogateescape")
    media = {"MEDIA_URL": place, "RELATIVE_MEDIA_URL": beside, "MIME_TYPE": mime}
    Tree.SubElement(header, "MEDIA_DESCRIPTOR", media)


def _apart(events: Sequence[Event]) -> list[list[Event]]:
    """The events, which are in order, on as few tiers as let none overlap; one empty tier of none."""
    tiers: list[list[Event]] = [[]]
    for event in events:
        free = next((tier for tier in tiers if not tier or span_ms(tier[-1])[1] <= span_ms(event)[0]), None)
        if free is None:
            tiers.append([event])
        else:
            free.append(event)
    return tiers


def _tier(document: Tree.Element, slots: Tree.Element, name: str, events: Sequence[Event]) -> None:
    tier = Tree.SubElement(document, "TIER", {"LINGUISTIC_TYPE_REF": "event", "TIER_ID": name})
    for event in events:
        refs = []
        for ms in span_ms(event):
            refs.append(f"ts{len(slots) + 1}")
            Tree.SubElement(slots, "TIME_SLOT", {"TIME_SLOT_ID": refs[-1], "TIME_VALUE": str(ms)})
        place = {"ANNOTATION_ID": f"a{len(slots) // 2}", "TIME_SLOT_REF1": refs[0], "TIME_SLOT_REF2": refs[1]}
        aligned = Tree.SubElement(Tree.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", place)
        Tree.SubElement(aligned, "ANNOTATION_VALUE").text = _of_xml(plain(event.label))


def _of_xml(text: str) -> str:
    """Without the two letters that XML 1.0 cannot hold and `plain` lets pass."""
    return text.replace("\ufffe", " ").replace("\uffff", " ")


WRITER = TextWriter(".eaf", write, needs="events")
