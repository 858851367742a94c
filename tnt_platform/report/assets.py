"""The assets of a daily report: one op that takes each date through its files to the report."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated import DatedRun
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.metadata import materialization
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import About, StepChecks, StepStory, selected_steps
from tnt_platform.report.chain import ReportChain
from tnt_platform.report.files import EmptyDay
from tnt_platform.report.spec import FILES, REPORT, ReportSpec

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


def report_assets(spec: ReportSpec, about: About) -> dg.AssetsDefinition:
    """The assets `<dataset>/files` and `<dataset>/report` with their checks and daily partitions."""
    source = {"source": f"{spec.source.prefix} {spec.source.key_pattern.pattern}"}
    story = StepStory(DESCRIPTIONS, STEP_KINDS, about, source)
    tables = {step: spec.dataset(step) for step in spec.steps}
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)

    @story.one_op(spec.name, tables, CHECKS.specs(spec.name), partitions=partitions)
    def materialize(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            run = DatedRun(context, spec.name, CHECKS)
            selected = selected_steps(context, spec.name, spec.steps)
            with ReportChain(spec, platform.place(), platform.settings(), run_id=context.run_id) as chain:
                for date in sorted(context.partition_keys):
                    _materialize_date(run, chain, selected, date)
            yield from run.results(not_warnings=frozenset({HAS_FILES}))
            run.raise_failures()

    return materialize


def _materialize_date(run: DatedRun, chain: ReportChain, selected: Sequence[str], date: str) -> None:
    """Take one date through the selected links; a failure is noted and the next date goes on."""
    for step in selected:
        meter = Meter.start(chain.place, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except EmptyDay as empty:
            run.add(FILES, date, [CheckOutcome(HAS_FILES, empty.is_normal, str(empty), blocking=False)])
            run.context.log.warning(str(empty))
            break
        except Exception as error:  # noqa: BLE001 - told and raised at the end of the run
            run.fail(step, date, error)
            return
        _tell(run, chain.spec.name, step, published, meter)
    run.done += 1


def _tell(run: DatedRun, dataset: str, step: str, published: Published, meter: Meter) -> None:
    run.add(step, published.partition, published.checks)
    if step == FILES:
        said = f"{published.facts['files']} files"
        run.add(step, published.partition, [CheckOutcome(HAS_FILES, True, said, blocking=False)])
    key = dg.AssetKey([dataset, step])
    run.context.log_event(materialization(published, key, meter.cost(published)))
    unchanged = "" if published.changed else " (unchanged)"
    run.context.log.info(f"{published.partition} {step}: {_told(published.facts)}{unchanged}")


def _told(facts: Mapping[str, object]) -> str:
    names = ("files", "records", "file_count", "total_records", "bad_records")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)
