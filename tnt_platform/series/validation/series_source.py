"""Checks of where a series dataset's file is: the address, its marks for the month, its secrets."""

from __future__ import annotations

import re

from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import Findings, meant, shown
from tnt_platform.validation.texts import PLACEHOLDER, credential_faults, header_faults

SCHEMES = ("file:///", "http://", "https://", "s3://")
MONTH_MARKS = ("MM", "YY", "YYYY")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?/?")
_MARK = re.compile(r"\{([^{}]*)\}")


def source_faults(source: Node, findings: Findings) -> None:
    """Everything about `source` that can be told without asking the publisher."""
    for name, header in source.entries("headers").items():
        header_faults(name, header, findings)
    url, text = source.get("url"), source.text("url")
    if url is None or text is None:
        return
    # What a variable holds is not known here, but its default is.
    address = PLACEHOLDER.sub(lambda variable: variable[2] or "unknown", text)
    _address_faults(url, address, findings)
    credential_faults(url, findings)
    _month_mark_faults(url, address, findings)
    back = source.get("months_back")
    if back and not _MARK.search(address) and "unknown" not in address:
        mend = "delete it, or put {YYYY} and {MM} into the url"
        findings.add(
            back.key_line, "source.months_back has no effect", "it with {YYYY}, {YY} or {MM} in the url", mend
        )


def _address_faults(url: Node, text: str, findings: Findings) -> None:
    expected = f"{', '.join(SCHEMES)} or a key below the raw files"
    if not text.strip():
        findings.add(url, "source.url is empty", expected, "write the address of the file")
    elif scheme := _SCHEME.match(text):
        if not text.startswith(SCHEMES):
            mend = _scheme_meant(text, scheme[0])
            findings.add(url, f"source.url: {shown(scheme[0])} is no known scheme", expected, mend)
        elif not (rest := text.partition(":///" if scheme[0] == "file:///" else "://")[2]) or rest[0] == "/":
            what = "a bucket and a key" if text.startswith("s3:") else "a host and a path"
            findings.add(url, f"source.url: {shown(text)} names no file", what, "write the whole address")
    elif text.startswith("/"):
        wrong = f"source.url: {shown(text)} is a path of one machine"
        findings.add(url, wrong, expected, f"write file://{text}")
    elif ".." in text.split("/"):
        wrong = f"source.url: {shown(text)} leaves the raw files"
        findings.add(url, wrong, expected, "write the key without ..")


def _scheme_meant(text: str, scheme: str) -> str:
    if re.match(r"[A-Za-z]:[\\/]", text):
        return "write it like file:///C:/folder/file.xlsx"
    if scheme.startswith("file:"):
        return "write file:/// with three slashes and the whole path"
    return meant(scheme, SCHEMES, "download it by one of these, or put the file below the raw files")


def _month_mark_faults(url: Node, text: str, findings: Findings) -> None:
    expected = f"{', '.join('{' + mark + '}' for mark in reversed(MONTH_MARKS))}"
    for name in _MARK.findall(text):
        if name not in MONTH_MARKS:
            upper = name.upper()
            near = upper if upper in MONTH_MARKS else {"M": "MM", "Y": "YY", "YYY": "YYYY"}.get(upper)
            mend = f"did you mean {{{near}}}?" if near else "write the text itself"
            findings.add(url, f"source.url: {{{name}}} stands for nothing", expected, mend)
    rest = _MARK.sub("", text)
    if "{" in rest or "}" in rest:
        wrong = f"source.url: a brace of {shown(text)} is not closed or not opened"
        findings.add(url, wrong, f"marks such as {expected}", "mend the braces")
