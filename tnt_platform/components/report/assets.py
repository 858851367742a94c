"""The assets of a daily report: one op that takes each date through its files to the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from tnt_platform.components.cost import Meter
from tnt_platform.components.failures import as_dagster_failure, describe_error, failed_dates
from tnt_platform.components.metadata import check_results, materialization
from tnt_platform.components.platform import Platform
from tnt_platform.components.steps import StepChecks, StepStory, retry_later
from tnt_platform.errors import CheckFailed, TntError
from tnt_platform.flows.publishing import CheckOutcome
from tnt_platform.flows.report.chain import ReportChain
from tnt_platform.flows.report.files import EmptyDay
from tnt_platform.flows.report.spec import FILES, REPORT, ReportSpec

HAS_FILES = "day_has_files"
CHECKS = StepChecks(
    blocking={
        FILES: ("rows_conserved", "records_conserved", "unique_keys"),
        REPORT: ("rows_conserved", "unique_keys", "report_adds_up"),
    },
    warning={FILES: (HAS_FILES, "files_readable"), REPORT: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "records_conserved": "Every record of a file is counted as read or is in quarantine.",
        "unique_keys": "No two rows of a date share the key.",
        "report_adds_up": "The report's totals are those of its files.",
        HAS_FILES: "Files arrived for the date; without any there is no report.",
        "files_readable": "Every file could be read as what it is.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    FILES: "Each file of a date: what it is, its columns, its records and those that can't be read.",
    REPORT: "The report of each date, as a row and as reports/<date>.json; the same content is written once.",
}
STEP_KINDS: Mapping[str, set[str]] = {FILES: {"s3", "polars"}, REPORT: {"json", "parquet"}}


@dataclass
class _Tally:
    """What the run has seen so far."""

    outcomes: dict[tuple[str, str], dict[str, CheckOutcome | None]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    done: int = 0

    def add(self, step: str, date: str, outcomes: Sequence[CheckOutcome]) -> None:
        for outcome in outcomes:
            self.outcomes.setdefault((step, outcome.name), {})[date] = outcome


def report_assets(
    spec: ReportSpec,
    *,
    owners: Sequence[str],
    tags: Mapping[str, str],
    description: str,
    freshness: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    """The assets `<dataset>/files` and `<dataset>/report` with their checks and daily partitions."""
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)
    story = StepStory(
        descriptions=DESCRIPTIONS,
        kinds=STEP_KINDS,
        owners=owners,
        tags=tags,
        description=description,
        freshness=freshness,
        metadata={"source": f"{spec.source.prefix} {spec.source.key_pattern.pattern}"},
    )

    @dg.multi_asset(
        name=spec.name,
        specs=story.specs(
            spec.name, {step: spec.dataset(step) for step in spec.steps}, partitions=partitions
        ),
        can_subset=True,
        check_specs=CHECKS.specs(spec.name),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=10),
        retry_policy=retry_later(),
        op_tags={"tnt/dataset": spec.name},
    )
    def materialize(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            selected = [
                step for step in spec.steps if dg.AssetKey([spec.name, step]) in context.selected_asset_keys
            ]
            tally = _Tally()
            with ReportChain(spec, platform.place(), platform.settings(), run_id=context.run_id) as chain:
                for date in sorted(context.partition_keys):
                    _materialize_date(context, chain, selected, date, tally)
            yield from _results(context, spec, tally)
            if tally.failures:
                raise failed_dates(spec.name, tally.failures, tally.done)

    return materialize


def _materialize_date(
    context: dg.AssetExecutionContext, chain: ReportChain, selected: Sequence[str], date: str, tally: _Tally
) -> None:
    """Take one date through the selected links; a failure is noted and the next date goes on."""
    for step in selected:
        meter = Meter.start(chain.place)
        try:
            published = chain.publish(step, date)
        except EmptyDay as empty:
            tally.add(FILES, date, [CheckOutcome(HAS_FILES, empty.is_normal, str(empty), blocking=False)])
            context.log.warning(str(empty))
            tally.done += 1
            return
        except CheckFailed as error:
            tally.failures[date] = error
            tally.add(step, date, [o for o in error.outcomes if isinstance(o, CheckOutcome)])
            context.log.error(f"{date} {step}: {describe_error(error)}")
            return
        except Exception as error:
            tally.failures[date] = error
            known = isinstance(error, TntError)
            context.log.error(f"{date} {step}: {describe_error(error)}", exc_info=not known)
            return
        tally.add(step, date, published.checks)
        if step == FILES:
            said = f"{published.facts['files']} files"
            tally.add(step, date, [CheckOutcome(HAS_FILES, True, said, blocking=False)])
        cost = meter.step_cost(chain.place, chain.settings, published)
        context.log_event(materialization(published, dg.AssetKey([chain.spec.name, step]), cost))
        context.log.info(
            f"{date} {step}: {_told(published.facts)}{'' if published.changed else ' (unchanged)'}"
        )
    tally.done += 1


def _told(facts: Mapping[str, object]) -> str:
    names = ("files", "records", "file_count", "total_records", "bad_records")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)


def _results(
    context: dg.AssetExecutionContext, spec: ReportSpec, tally: _Tally
) -> Iterator[dg.AssetCheckResult]:
    for (step, name), outcomes in tally.outcomes.items():
        key = dg.AssetKey([spec.name, step])
        if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys:
            # A day without files is a failure to be told about, though it blocks nothing.
            warns = name in CHECKS.warning[step] and name != HAS_FILES
            yield check_results(key, name, outcomes, warns=warns)
