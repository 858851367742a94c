"""Take the object events of all datasets from one queue, and request runs for the dates that they name.

One consumer, because each message concerns whichever dataset its object belongs to: several consumers of one queue take
each other's messages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from tnt_platform.discovery.comparison import Reconciliation
from tnt_platform.lake.publishing import Workspace
from tnt_platform.orchestration.dated_sensor import DatedDataset, SensorTick, Survey
from tnt_platform.orchestration.platform import Platform
from tnt_platform.services.queue import EventQueue, ObjectEventMessage, sqs_client
from tnt_platform.settings import Settings

SENSOR = "object_events"
# The cursor holds their receipts until the next tick, and is written at every tick.
MESSAGES_A_TICK = 500
DATES_A_TICK = 100
# Dagster ends a tick after 60 s; what is not compared by then waits in the cursor.
TICK_S = 30.0


@dataclass(frozen=True)
class EventListener:
    """A dataset whose dates events may name.

    Attributes:
        dates_of: the dates (ISO) of the objects with these keys, which are relative to the raw store's URL.
        survey: compares these dates, and no others, with the published data.
    """

    spec: DatedDataset
    dates_of: Callable[[Workspace, Sequence[str]], Sequence[str]]
    survey: Survey


@dataclass
class Named:
    """What the cursor remembers between two ticks: a message is deleted only after its dates are safe in here.

    Attributes:
        dates: of each dataset, the dates named by events that are not at rest yet; those compared longest ago first.
        receipts: of the messages whose dates are in `dates`, and which the next tick deletes.
    """

    dates: dict[str, list[str]] = field(default_factory=dict)
    receipts: list[str] = field(default_factory=list)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Named:
        """Read the cursor; one of another release is empty, and the nightly reconciliation finds what it held."""
        try:
            held = json.loads(cursor or "{}")
            dates = {
                str(name): [str(date) for date in of_dataset] for name, of_dataset in held["dates"].items()
            }
            return cls(dates, [str(receipt) for receipt in held["receipts"]])
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        """Write the cursor."""
        return json.dumps({"dates": self.dates, "receipts": self.receipts})

    def add(self, dataset: str, dates: Sequence[str]) -> None:
        """Remember the dates that are not remembered yet."""
        if dates:
            known = self.dates.setdefault(dataset, [])
            known.extend(date for date in dates if date not in set(known))


def event_sensor(listeners: Sequence[EventListener]) -> dg.SensorDefinition:
    """Build the sensor that takes events from the queue; it requests runs of all steps of a dataset."""
    keys = {
        each.spec.name: [dg.AssetKey([each.spec.name, step]) for step in each.spec.steps]
        for each in listeners
    }

    @dg.sensor(
        name=SENSOR,
        asset_selection=dg.AssetSelection.assets(
            *(key for of_dataset in keys.values() for key in of_dataset)
        ),
        minimum_interval_seconds=min(int(each.spec.sensor.interval_s) for each in listeners),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests runs for the dates that object events in the queue name, of every dataset.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
        queue = event_queue(platform.settings())
        if queue is None:
            return dg.SkipReason("TNT_EVENT_QUEUE_URL is not set; each dataset's own sensor lists its files")
        workspace, named = platform.workspace(), Named.from_cursor(context.cursor)
        messages = _take_messages(queue, named, listeners)
        _remember(named, messages, workspace, listeners)
        requests = list(_requests(context, named, workspace, listeners, keys))
        waiting = sum(map(len, named.dates.values()))
        nothing = f"{len(messages)} messages taken; {waiting} named dates wait for a run or its end"
        return dg.SensorResult(
            run_requests=requests, cursor=named.to_cursor(), skip_reason=None if requests else nothing
        )

    return sensor


def event_queue(settings: Settings) -> EventQueue | None:
    """Open the queue of object events, where the environment names one."""
    if not settings.event_queue_url:
        return None
    return EventQueue(settings.event_queue_url, sqs_client(settings.aws_options("sqs")))


def _take_messages(
    queue: EventQueue, named: Named, listeners: Sequence[EventListener]
) -> list[ObjectEventMessage]:
    """Delete the messages of the tick before, whose dates are in the cursor by now, and take the next ones.

    A poison message is not deleted: the queue's redrive policy moves it to the dead-letter queue.
    """
    queue.delete(named.receipts)
    visibility_s = int(max(60, 4 * min(each.spec.sensor.interval_s for each in listeners)))
    messages = queue.receive(MESSAGES_A_TICK, visibility_s=visibility_s)
    named.receipts = [message.receipt for message in messages if message.deletable]
    return messages


def _remember(
    named: Named,
    messages: Sequence[ObjectEventMessage],
    workspace: Workspace,
    listeners: Sequence[EventListener],
) -> None:
    """Add the dates that the messages name."""
    root = f"{workspace.raw.url.rstrip('/')}/"
    urls = (f"s3://{event.bucket}/{event.key}" for message in messages for event in message.events)
    keys = [url.removeprefix(root) for url in urls if url.startswith(root)]
    for listener in listeners if keys else ():
        named.add(listener.spec.name, listener.dates_of(workspace, keys))


def _requests(
    context: dg.SensorEvaluationContext,
    named: Named,
    workspace: Workspace,
    listeners: Sequence[EventListener],
    keys: Mapping[str, Sequence[dg.AssetKey]],
) -> Iterator[dg.RunRequest]:
    """Compare the named dates of each dataset, and keep only those that are not at rest."""
    by_name: Mapping[str, EventListener] = {each.spec.name: each for each in listeners}
    for gone in named.dates.keys() - by_name.keys():
        context.log.info(f"{gone} is no dataset any more; events named {named.dates.pop(gone)}")
    ends = time.monotonic() + TICK_S
    for name, dates in list(named.dates.items()):
        if time.monotonic() > ends:
            return
        tick, listener = SensorTick.start(by_name[name].spec, context), by_name[name]
        compared, waiting = dates[:DATES_A_TICK], dates[DATES_A_TICK:]
        found = listener.survey(workspace, named=compared)
        differing = [each for each in found.differences if each.partition in set(compared)]
        found = Reconciliation(differing, found.files_seen, found.dates_seen, found.paused_because)
        for request in tick.requests(found):
            yield request.with_replaced_attrs(asset_selection=keys[name])
        left = compared if found.paused_because else tick.not_at_rest(found)
        named.dates[name] = [*waiting, *left]
        if not named.dates[name]:
            del named.dates[name]
