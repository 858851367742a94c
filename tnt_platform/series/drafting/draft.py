"""A first layout for a file nobody has described yet: what was recognised, and what a person must look at."""

from __future__ import annotations

from dataclasses import replace

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.drafted import Draft
from tnt_platform.series.drafting.files import found_files
from tnt_platform.series.drafting.sheets import draft_workbook
from tnt_platform.series.drafting.tables import draft_table
from tnt_platform.series.readers.workbook import open_workbook


def draft_layout(data: bytes, name: str, sheet: str | None = None) -> Draft:
    """Look at a file and draft how to read it; codes start with the dataset's name.

    Raises:
        InvalidInput: nothing_recognised, missing_sheet, not_a_workbook, or what the readers say of the file.
    """
    rejections = []
    for found in found_files(data):
        if sheet is not None and found.table is not None:
            raise InvalidInput(
                "not_a_workbook", f"the file has no sheets, so none is called {sheet!r}; leave it out"
            )
        try:
            if found.table is None:
                drafted = draft_workbook(open_workbook(found.data), name, sheet)
            else:
                drafted = draft_table(found.data, found.table, name)
        except InvalidInput as fault:
            rejections.append(fault)
            continue
        return replace(drafted, member=found.member)
    raise (
        rejections[0]
        if rejections
        else InvalidInput("nothing_recognised", "the file holds no records; look at it")
    )
