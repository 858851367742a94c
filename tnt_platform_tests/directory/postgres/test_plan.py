"""The plan of a sync and the slugs of new rows, without a database."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.directory.postgres.plan import STORED, new_slugs, plan_of, refuse_taken_slugs
from tnt_platform.errors import PermanentError

BASES = st.sampled_from(["x", "x-2", "x-2-2", "x-02", "7-11", "ร้าน", "9"])


def stored(*rows: tuple[str, int, str, str, str, bool]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=STORED, orient="row")


def records(**kinds: tuple[str, str]) -> pl.DataFrame:
    """Records by name: kind and fingerprint."""
    rows = [(name, kind, fingerprint) for name, (kind, fingerprint) in kinds.items()]
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("unique_id", "kind", "fingerprint"), pl.String), orient="row"
    )


ROWS = stored(
    ("shop", 1, "same", "a", "1", False),
    ("shop", 2, "changed", "b", "1", False),
    ("shop", 3, "turned", "c", "1", False),
    ("dining", 1, "back", "d", "1", True),
    ("dining", 2, "gone", "e", "1", False),
    ("dining", 3, "held", "f", "1", False),
    ("dining", 4, "long gone", "g", "1", True),
)
TENANTS = records(
    changed=("shop", "2"), new=("shop", "1"), same=("shop", "1"), turned=("dining", "1"), back=("dining", "1")
)


def test_each_record_is_created_moved_updated_or_left_alone() -> None:
    plan = plan_of(TENANTS, ROWS, held_back=["held"], complete=True)
    assert dict(plan.changes.select("unique_id", "action").iter_rows()) == {
        "same": "unchanged",
        "changed": "updated",
        "turned": "moved",
        "back": "updated",
        "new": "created",
    }
    assert plan.changes.select("unique_id", "kind", "fingerprint").equals(
        TENANTS.select("unique_id", "kind", "fingerprint")
    )
    assert plan.records("moved", "dining").select("was", "id").rows() == [("shop", 3)]
    assert plan.withdrawals.rows() == [("dining", 2, "gone")]


def test_an_incomplete_input_withdraws_nothing() -> None:
    assert plan_of(TENANTS, ROWS, held_back=[], complete=False).withdrawals.is_empty()
    assert plan_of(TENANTS.clear(), ROWS, held_back=[], complete=False).changes.is_empty()


def test_a_complete_input_without_records_is_refused_unless_all_rows_are_withdrawn_or_held_back() -> None:
    with pytest.raises(PermanentError, match="all 5 rows"):
        plan_of(TENANTS.clear(), ROWS, held_back=[], complete=True)
    assert plan_of(
        TENANTS.clear(), ROWS.filter(withdrawn=True), held_back=[], complete=True
    ).changes.is_empty()
    live = ROWS.filter(withdrawn=False)["unique_id"].to_list()
    assert plan_of(TENANTS.clear(), ROWS, held_back=live, complete=True).withdrawals.is_empty()


def test_a_slug_of_a_row_that_moves_away_itself_is_free() -> None:
    rows = stored(("shop", 1, "a", "x", "1", False), ("dining", 1, "b", "x", "1", False))
    moved = pl.DataFrame({"unique_id": ["a"], "kind": ["dining"], "slug": ["x"]})
    both = pl.DataFrame({"unique_id": ["a", "b"], "kind": ["dining", "shop"], "slug": ["x", "x"]})
    refuse_taken_slugs(both, rows)
    with pytest.raises(PermanentError, match=r"'a' .* dinings .*'x'.*'b'"):
        refuse_taken_slugs(moved, rows)


def one_by_one(bases: dict[str, str], taken: set[str]) -> dict[str, str]:
    """Choose slugs as the docstring says: bases first, then the smallest free numbers."""
    chosen: dict[str, str] = {}
    for name in sorted(bases):
        if bases[name] not in taken | set(chosen.values()):
            chosen[name] = bases[name]
    for name in sorted(bases):
        number = 2
        while name not in chosen:
            slug = f"{bases[name]}-{number}"
            if slug not in taken | set(chosen.values()):
                chosen[name] = slug
            number += 1
    return chosen


@given(
    bases=st.dictionaries(st.sampled_from([f"u{n}" for n in range(12)]), BASES),
    taken=st.sets(st.one_of(BASES, st.builds("{}-{}".format, BASES, st.integers(0, 5)))),
    chance=st.randoms(),
)
def test_slugs_equal_those_chosen_one_by_one_in_any_order(bases: dict, taken: set, chance) -> None:
    rows = list(bases.items())
    chance.shuffle(rows)
    created = pl.DataFrame(rows, schema={"unique_id": pl.String, "slug_base": pl.String}, orient="row")
    found = new_slugs(created, pl.Series("slug", list(taken), pl.String))
    assert dict(found.iter_rows()) == one_by_one(bases, taken)
    assert found.height == len(bases)
