"""The answer of `/analytics`: counts of several datasets of records as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tnt_platform.web.records.summaries import Counts


def analytics(counts: Sequence[Counts]) -> dict[str, Any]:
    """Summary, by_source, by_date and timeline, sorted by source and day."""
    sources: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for one in counts:
        sources.update(one.by_source)
        days.update(one.by_day)
    by_date = dict(sorted(days.items()))
    oldest = min((one.oldest for one in counts if one.oldest is not None), default=None)
    newest = max((one.newest for one in counts if one.newest is not None), default=None)
    return {
        "summary": {
            "total_records": sources.total(),
            "total_sources": len(sources),
            "oldest_record": oldest.isoformat() if oldest is not None else None,
            "newest_record": newest.isoformat() if newest is not None else None,
        },
        "by_source": dict(sorted(sources.items())),
        "by_date": by_date,
        "timeline": [{"date": day, "count": records} for day, records in by_date.items()],
    }
