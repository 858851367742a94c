"""How fast the rate API can be asked, and how exactly a rate limit is kept.

    python -m bench.enrichment [--requests 20000] [--limited-seconds 15]

The stand-in API runs in a process of its own and takes 20 ms for each answer. The second measurement
counts arrivals on the server's side, in every window of one second, wherever it starts.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tnt_platform.sandbox.running import RunningRateApi, rate_api_process
from tnt_platform.services.http import HttpClient, HttpLimits, HttpRequest, HttpResponse

RESULTS = Path(__file__).parent / "results" / "enrichment.json"
LATENCY_MS = 20
RATE_PER_S = 200
TARGET_PER_S = 1500
TARGET_SHARE = 0.95
HEADERS = {"X-WHM-CLIENT": "bench", "auth-token": "bench-token", "Content-Type": "application/json"}


def main() -> None:
    """Measure, print a table, write bench/results/enrichment.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--limited-seconds", type=int, default=15)
    options = parser.parse_args()
    with rate_api_process("--latency-ms", str(LATENCY_MS)) as api:
        free = measure(api, HttpLimits(concurrency=64), options.requests)
        limits = HttpLimits(concurrency=64, rate_per_s=RATE_PER_S)
        paced = measure(api, limits, RATE_PER_S * options.limited_seconds)
    free["meets_target"] = free["requests_per_s"] >= TARGET_PER_S
    paced["share_of_limit"] = round(paced["requests_per_s"] / RATE_PER_S, 4)
    paced["meets_target"] = (
        paced["share_of_limit"] >= TARGET_SHARE and paced["server_max_per_second"] <= RATE_PER_S
    )
    results = {"unlimited": free, f"limited_to_{RATE_PER_S}_per_s": paced}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    for name, figures in results.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key:24} {value}")


def measure(api: RunningRateApi, limits: HttpLimits, count: int) -> dict[str, Any]:
    """Ask `count` different requests and return what both sides saw."""
    api.reset()
    seen: Counter[str] = Counter()
    latencies_ms: list[float] = []

    def note(answer: HttpResponse) -> None:
        seen[answer.reason_code or "ok"] += 1
        latencies_ms.append(answer.latency_ms)

    jitter = random.Random(1)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with HttpClient(limits, clock=lambda: datetime.now(UTC), uniform=jitter.random) as client:
        client.send_many(requests(api.url, count), on_response=note)
    took_s = time.perf_counter() - started_s
    cpu_s = time.process_time() - cpu_s
    stats = api.stats()
    latencies_ms.sort()
    return {
        "requests": count,
        "answers": dict(seen),
        "seconds": round(took_s, 2),
        "requests_per_s": round(count / took_s, 1),
        "client_cpu_ms_per_request": round(1000 * cpu_s / count, 3),
        "latency_p50_ms": round(latencies_ms[count // 2], 1),
        "latency_p99_ms": round(latencies_ms[count * 99 // 100], 1),
        "server_max_per_second": stats["max_per_second"],
        "server_mean_per_second": stats["mean_per_second"],
    }


def requests(url: str, count: int) -> Iterator[HttpRequest]:
    """Different requests of about the size of real ones."""
    for number in range(count):
        consignee = {
            "postal_code": f"{501 + number % 99000:05d}",
            "address1": "1 Example Street",
            "number": number,
        }
        body = {
            "package_info": {"weight": 2.5, "note": "x" * 300},
            "shipment_info": {"consignee_info": consignee},
        }
        yield HttpRequest(
            str(number), "POST", f"{url}/10022/rate/qualifiedcarriers", HEADERS, json.dumps(body).encode()
        )


if __name__ == "__main__":
    main()
