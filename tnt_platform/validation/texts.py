"""Checks on texts that any kind of dataset has: variables, secrets, owners, tags."""

from __future__ import annotations

import encodings.aliases
import re
from collections.abc import Collection

import dagster as dg

from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import DatasetFile, Findings, listed, meant, shown
from tnt_platform.validation.legacy_schema import refusal

# A default may hold marks of its own, such as the {MM} of a URL.
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^{}]|\{[A-Za-z]+\})*))?\}")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_CREDENTIAL = re.compile(
    r"auth(?!or(?!i))|token|secret|passw|cookie|credential|key|signature|session", re.IGNORECASE
)
_USER_INFO = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_SECRET_PARAMETER = re.compile(r"[?&][^=&]*(?:key|token|secret|passw|auth|sig)[^=&]*=([^&]+)", re.IGNORECASE)


def placeholder_faults(
    node: Node, allowed: bool, places: str, dataset: DatasetFile, findings: Findings
) -> None:
    """`${VARIABLES}`: where they mean nothing, how they are spelt, and whether they are set here."""
    text = node.value
    if not isinstance(text, str) or "${" not in text:
        return
    if not allowed:
        mend = "write the value itself"
        findings.add(node, f"{shown(text)} holds a variable", f"variables in {places} only", mend)
        return
    if "${" in PLACEHOLDER.sub("", text):
        mend = "mend the braces and the name"
        findings.add(node, "a variable is misspelt", "${NAME} or ${NAME:-default}", mend)
    for name in dataset.settings.missing(text):
        findings.add(
            node,
            f"environment variable {name} is not set",
            "a value in the environment of the runs",
            f"set {name}, or give a default: ${{{name}:-value}}",
            warning=not dataset.strict_env,
        )


def template_faults(node: Node, findings: Findings) -> None:
    """Dagster's templates are not evaluated in datasets."""
    if isinstance(node.value, str) and _TEMPLATE.search(node.value):
        mend = "write the value itself, or a ${VARIABLE} where those are allowed"
        findings.add(node, f"{shown(node.value)} looks like a template", "plain text", mend)


def header_faults(name: str, node: Node, findings: Findings) -> None:
    """Secrets come from the environment; the message never shows one."""
    if not isinstance(node.value, str) or not _CREDENTIAL.search(name):
        return
    found = PLACEHOLDER.findall(node.value)
    variable = re.sub(r"\W+", "_", name).strip("_").upper()
    expected = f"the secret in the environment: {name}: ${{{variable}}}"
    mend = "put it there, and replace it at the other side if this file was ever shared"
    if node.value.strip() and not found:
        findings.add(node, f"header {name} holds a secret as plain text", expected, mend)
    elif any(default for _, default in found):
        findings.add(node, f"the default of header {name} is a secret as plain text", expected, mend)


def url_faults(node: Node, findings: Findings) -> None:
    """A literal URL has a scheme and no credentials."""
    if not isinstance(node.value, str):
        return
    if not node.value.startswith(("http://", "https://", "${")):
        mend = "write it like https://api.example.com, or ${VARIABLE}"
        findings.add(node, f"{shown(node.value)} is no URL", "http:// or https://", mend)
    credential_faults(node, findings)


def credential_faults(node: Node, findings: Findings) -> None:
    """A URL in a file that is shared has no credentials in it."""
    text = PLACEHOLDER.sub("", node.value) if isinstance(node.value, str) else ""
    if _USER_INFO.search(text) or _SECRET_PARAMETER.search(text):
        mend = "put the credential into a header whose value is a ${VARIABLE}"
        findings.add(node, "the URL holds a credential as plain text", "a URL without secrets", mend)


def ownership_faults(attributes: Node, findings: Findings) -> None:
    """Every asset says what it is and who answers for it, in a form that Dagster takes."""
    for owner in attributes.items("owners"):
        if isinstance(owner.value, str) and refusal(dg.AssetSpec, "x", owners=[owner.value]):
            wrong, expected = f"{shown(owner.value)} is no owner", "an e-mail address or team:name"
            findings.add(
                owner, wrong, expected, f"write team:{re.sub(r'[^a-z0-9-]+', '-', owner.value.lower())}"
            )
    for name, tag in attributes.entries("tags").items():
        if isinstance(tag.value, str) and refusal(dg.AssetSpec, "x", tags={name: tag.value}):
            expected = "up to 63 letters, digits, _ - and . in each"
            findings.add(
                tag, f"the tag {name}: {shown(tag.value)} is refused by Dagster", expected, "spell it so"
            )
    for key, mend in (("owners", 'owners: ["team:name"]'), ("description", "description: one sentence")):
        if key not in attributes.children:
            findings.add(
                attributes, f"the key {key} is missing", "one on every dataset", f"add `{mend}`", warning=True
            )


def name_faults(nodes: Collection[Node], known: Collection[str], what: str, findings: Findings) -> None:
    """A list of names: each known, none twice."""
    seen: set[str] = set()
    for node in nodes:
        if not isinstance(node.value, str):
            continue
        if node.value in seen:
            findings.add(node, f"{what}: {node.value} occurs twice", "each name once", "delete one of them")
        elif node.value not in known:
            hint = meant(
                node.value, known, "declare it below `columns`, or as a group (?P<name>...) of key_pattern"
            )
            if node.value == "date":
                hint = "delete it: the date is the partition of every row"
            expected = f"a column or a group of key_pattern: {listed(known)}"
            findings.add(
                node, f"{what}: {node.value} is neither a column nor part of the key", expected, hint
            )
        seen.add(node.value)


ENCODINGS = sorted(
    {name.replace("_", "-") for name in encodings.aliases.aliases.values()} - {"idna", "punycode"}
)
