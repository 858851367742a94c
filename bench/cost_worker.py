"""What one process of the platform does, for `bench.cost`; the last line of output is what it took.

python -m bench.cost_worker tick          a look of the sensor at bucket and queue, as the code server takes it
python -m bench.cost_worker run DATE      a run of a date, as its ECS task does it
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from tnt_platform.definitions import defs
from tnt_platform.kinds import transit_spec
from tnt_platform.orchestration.event_sensor import event_sensor
from tnt_platform.orchestration.platform import Platform
from tnt_platform.services.http import HttpClient
from tnt_platform.transit.component import event_listener


def tick(times: int) -> dict[str, object]:
    """Some ticks of the sensor that takes the events; says which dates they ask runs for."""
    sensor = event_sensor([event_listener(transit_spec("transit"))])
    dates, cursor = {}, None
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(times):
            resources = {"platform": Platform()}
            result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources))
            assert isinstance(result, dg.SensorResult)
            cursor = result.cursor
            asked = result.run_requests or []
            dates |= {request.partition_key: request.tags["tnt/reason"] for request in asked}
    return {"dates": dates}


def run(date: str) -> dict[str, object]:
    """The job of one date; says what DynamoDB bills for it and how long it waited for the carrier."""
    waited = _Waited()
    HttpClient.send_many = waited.around(HttpClient.send_many)  # type: ignore[method-assign]
    job = defs().resolve_job_def("transit_job")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(partition_key=date, instance=instance)
    shown = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    units = {
        name: sum(int(facts[name].value) for facts in shown if name in facts)  # type: ignore[arg-type]
        for name in ("dynamodb_write_units", "dynamodb_read_units")
    }
    return {**units, "api_wait_s": waited.seconds}


class _Waited:
    """Seconds in which the process asked the carrier and did nothing."""

    seconds = 0.0

    def around(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            try:
                return ask(*given, **named)
            finally:
                busy_s = time.process_time() - cpu_s
                self.seconds += max(0.0, time.perf_counter() - wall_s - busy_s)

        return timed


def main() -> None:
    """Do it and say what it took."""
    what, argument = sys.argv[1:]
    said = run(argument) if what == "run" else tick(int(argument))
    print(json.dumps({**said, "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
