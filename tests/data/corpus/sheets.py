"""Spreadsheets by hand: a zip of XML, the same bytes each time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

Cell = Any  # text, a number, a true/false value, None for an empty cell, or one of those below


@dataclass(frozen=True)
class Formula:
    """A formula, and the text that the spreadsheet last computed."""

    text: str


@dataclass(frozen=True)
class Fault:
    """A cell that shows an error, such as #N/A."""

    name: str


_SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip without compression and without dates."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # otherwise it tells on which system it was made
            archive.writestr(info, content)
    return held.getvalue()


def xlsx(*sheets: Sequence[Sequence[Cell]], names: Sequence[str] = (), shared: bool = True) -> bytes:
    """Sheets of rows of cells. Texts stand in a table of their own (as Excel writes) or in their cells (as
    libraries write).
    """
    return zipped(parts(*sheets, names=names, shared=shared))


def parts(*sheets: Sequence[Sequence[Cell]], names: Sequence[str] = (), shared: bool = True) -> dict[str, str | bytes]:
    """Return the files within the zip."""
    names = names or [f"Sheet{number}" for number in range(1, len(sheets) + 1)]
    texts: dict[str, int] = {}
    bodies = [_sheet(rows, texts if shared else None) for rows in sheets]
    numbers = range(1, len(sheets) + 1)
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>' for name, n in zip(names, numbers, strict=True)
    )
    made = {
        "[Content_Types].xml": _content_types(len(sheets)),
        "_rels/.rels": _relations([("rId1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'{_XML}<workbook xmlns="{_SPREADSHEET}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(
            [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
            + [(f"rId{len(sheets) + 1}", "sharedStrings", "sharedStrings.xml")]
        ),
        "xl/sharedStrings.xml": _shared(texts),
    }
    return {**made, **{f"xl/worksheets/sheet{n}.xml": body for n, body in zip(numbers, bodies, strict=True)}}


def _content_types(count: int) -> str:
    kinds = [("/xl/workbook.xml", "sheet.main"), ("/xl/sharedStrings.xml", "sharedStrings")]
    kinds += [(f"/xl/worksheets/sheet{n}.xml", "worksheet") for n in range(1, count + 1)]
    overrides = "".join(f'<Override PartName="{name}" ContentType="{_KIND}.{kind}+xml"/>' for name, kind in kinds)
    defaults = '<Default Extension="xml" ContentType="application/xml"/>'
    defaults += '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return f'{_XML}<Types xmlns="{_TYPES}">{defaults}{overrides}</Types>'


def _relations(entries: Sequence[tuple[str, str, str]]) -> str:
    listed = "".join(f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>' for key, kind, target in entries)
    return f'{_XML}<Relationships xmlns="{_RELATIONS}">{listed}</Relationships>'


def _shared(texts: Mapping[str, int]) -> str:
    listed = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
    return f'{_XML}<sst xmlns="{_SPREADSHEET}" count="{len(texts)}" uniqueCount="{len(texts)}">{listed}</sst>'


def _sheet(rows: Sequence[Sequence[Cell]], texts: dict[str, int] | None) -> str:
    written = []
    for number, row in enumerate(rows, 1):
        filled = [_cell(f"{chr(65 + place)}{number}", value, texts) for place, value in enumerate(row) if value is not None]
        if filled:  # Excel leaves out what is empty
            written.append(f'<row r="{number}">{"".join(filled)}</row>')
    return f'{_XML}<worksheet xmlns="{_SPREADSHEET}"><sheetData>{"".join(written)}</sheetData></worksheet>'


def _cell(place: str, value: Cell, texts: dict[str, int] | None) -> str:
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value}</v></c>'
    if isinstance(value, Formula):
        return f'<c r="{place}" t="str"><f>A1&amp;B1</f><v>{escape(value.text)}</v></c>'
    if isinstance(value, Fault):
        return f'<c r="{place}" t="e"><v>{escape(value.name)}</v></c>'
    if texts is None:
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{place}" t="s"><v>{texts.setdefault(value, len(texts))}</v></c>'


def ods(rows: Sequence[Sequence[str]]) -> bytes:
    """Return a LibreOffice table with one sheet."""
    space = "urn:oasis:names:tc:opendocument:xmlns"
    names = f'xmlns:office="{space}:office:1.0" xmlns:table="{space}:table:1.0" xmlns:text="{space}:text:1.0"'
    body = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
    sheet = f'<table:table table:name="Sheet1">{body}</table:table>'
    content = f'{_XML}<office:document-content {names} office:version="1.2"><office:body><office:spreadsheet>{sheet}'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    listed = (
        f'<m:file-entry m:full-path="/" m:media-type="{kind}"/><m:file-entry m:full-path="content.xml" m:media-type="text/xml"/>'
    )
    return zipped(
        {
            "mimetype": kind,
            "content.xml": content + "</office:spreadsheet></office:body></office:document-content>",
            "META-INF/manifest.xml": f'{_XML}<m:manifest xmlns:m="{space}:manifest:1.0">{listed}</m:manifest>',
        }
    )


def _ods_cell(value: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{escape(value)}</text:p></table:table-cell>'
