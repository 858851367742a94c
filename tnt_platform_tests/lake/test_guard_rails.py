"""Which share of rejected or removed rows blocks a publish, and what an override records."""

import polars as pl
import pytest

from tnt_platform.lake.guard_rails import GuardRails, Overrides, top_reasons

COMMAND = "tnt run transit --date 2026-01-12"


def rails(rejected: float = 0.2, removed: float = 0.5, **overrides: bool) -> GuardRails:
    return GuardRails(rejected, removed, Overrides(**overrides), COMMAND)


def quarantine(rows: int, code: str = "invalid_date") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "file_key": ["a.csv"] * rows,
            "line_no": range(2, rows + 2),
            "raw": ["x"] * rows,
            "reason_code": [code] * rows,
        }
    )


@pytest.mark.parametrize(
    ("rejected", "read", "passes"),
    [
        (0, 0, True),
        (0, 100, True),
        (20, 100, True),
        (21, 100, False),
        (4, 20, True),
        (5, 20, False),
        (18, 19, True),
        (19, 19, False),
        (1, 1, False),
    ],
)
def test_a_publish_is_blocked_beyond_the_share_and_for_few_rows_only_if_all_are_rejected(
    rejected, read, passes
):
    assert rails().rejected(read, quarantine(rejected)).passed is passes


def test_a_blocked_share_names_the_reasons_with_their_place_and_the_command_that_publishes_the_rest():
    found = rails().rejected(100, quarantine(60)).description
    for part in ("60", "100", "60.0%", "invalid_date", "a.csv:2", "20%", f"{COMMAND} --accept-rejected"):
        assert part in found


def test_an_override_passes_the_check_and_is_recorded():
    accepted = rails(accept_rejected=True)
    assert accepted.rejected(100, quarantine(60)).passed
    assert "60 of 100" in accepted.rejected(100, quarantine(60)).description
    assert accepted.overrides.about == {"overrides": ["accept_rejected"]}
    assert Overrides().about == {}


def test_a_limit_of_one_never_blocks_and_one_of_zero_blocks_the_first_row():
    assert rails(rejected=1).rejected(100, quarantine(100)).passed
    assert not rails(rejected=0).rejected(100, quarantine(1)).passed


def test_the_three_most_frequent_reasons_are_named():
    rows = pl.concat([quarantine(n, code) for n, code in ((5, "e"), (1, "a"), (9, "z"), (3, "c"), (2, "b"))])
    found = top_reasons(rows)
    assert [found.index(code) for code in ("z 9", "e 5", "c 3")] == sorted(
        found.index(code) for code in ("z 9", "e 5", "c 3")
    )
    assert "2 more reasons" in found
