"""Checks of a directory dataset: its API's address, its secrets, and the lookup files beside the YAML."""

from __future__ import annotations

from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, lookups_of
from tnt_platform.errors import ConfigError
from tnt_platform.validation.fault import DatasetFile, Findings, shown
from tnt_platform.validation.texts import PLACEHOLDER, credential_faults, header_faults

# Where `${VARIABLES}` are resolved when a run starts.
DIRECTORY_VARIABLES_IN = (("source", "url"), ("source", "headers"), ("source", "cookies"), ("database_url",))


def directory_faults(dataset: DatasetFile) -> list[Findings]:
    """Check one directory without asking its API or its database."""
    attributes, findings = dataset.attributes, dataset.findings
    if source := attributes.get("source"):
        for group in ("headers", "cookies"):
            for name, value in source.entries(group).items():
                header_faults(name, value, findings)
        url, text = source.get("url"), source.text("url")
        if url is not None and text is not None:
            address = PLACEHOLDER.sub(lambda variable: variable[2] or "https://unknown", text)
            if not address.startswith(("http://", "https://")):
                wrong = f"source.url: {shown(text)} is no web address"
                findings.add(url, wrong, "http:// or https://", "write the address of the API")
            credential_faults(url, findings)
    if database := attributes.get("database_url"):
        credential_faults(database, findings)
    found = {name: dataset.folder / name for name in LOOKUP_FILES}
    try:
        lookups_of({name: path.read_bytes() for name, path in found.items() if path.is_file()})
    except ConfigError as error:
        findings.add(1, str(error), "lookup files that agree", "mend the file beside this one")
    return []
