"""An AWS that counts what it is asked, from outside: buckets, a queue of events, a table."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from urllib.request import urlopen

from bench.cost_server import COUNTS
from tnt_platform.services.aws import aws_client
from tnt_platform.services.dynamodb import ResultsTable, dynamodb_client
from tnt_platform.services.queue import sqs_client


@contextlib.contextmanager
def counted_aws() -> Iterator[CountedAws]:
    """A fresh stand-in in a process of its own."""
    command = [sys.executable, "-m", "bench.cost_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield CountedAws(server.stdout.readline().strip())
        finally:
            server.terminate()


class CountedAws:
    """The stand-in from outside: its buckets, its queue of events, its table, its counts."""

    def __init__(self, url: str) -> None:
        self._url = url
        keys = {"access_key_id": "AKIATEST", "secret_access_key": "nothing-secret", "region": "us-east-1"}
        options = {**keys, "endpoint": url}
        self._s3, self._sqs = aws_client("s3", options), sqs_client(options)
        self._queue = self._sqs.create_queue(QueueName="events")["QueueUrl"]
        ResultsTable("results", dynamodb_client(options), key=("test_id",)).ensure()
        for bucket in ("raw", "lake"):
            self._s3.create_bucket(Bucket=bucket)

    def environment(self) -> dict[str, str]:
        """What makes the platform use it."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "nothing-secret",
            "TNT_RAW_URL": "s3://raw/landing",
            "TNT_LAKE_URL": "s3://lake/platform",
            "TNT_EVENT_QUEUE_URL": self._queue,
            "TNT_RESULTS_TABLE": "results",
            "TNT_RATE_API_CLIENT": "bench",
            "TNT_RATE_API_TOKEN": "bench-token",
        }

    def drop(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Put files of a sender: not ours to pay."""
        for key, data in files:
            self._s3.put_object(Bucket="raw", Key=key, Body=data)

    def tell(self, keys: Sequence[str]) -> None:
        """The events of these files, as S3 sends them."""
        for first in range(0, len(keys), 10):
            batch = []
            for number, key in enumerate(keys[first : first + 10]):
                where = {"bucket": {"name": "raw"}, "object": {"key": key}}
                event = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": where}
                batch.append({"Id": str(number), "MessageBody": json.dumps({"Records": [event]})})
            self._sqs.send_message_batch(QueueUrl=self._queue, Entries=batch)

    def purge(self) -> None:
        """Forget all messages, those that somebody reads included."""
        self._sqs.purge_queue(QueueUrl=self._queue)

    def waiting(self) -> int:
        """Messages that nobody has taken. The question is not the platform's, so it is not counted."""
        name = "ApproximateNumberOfMessages"
        answer = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def counts(self) -> Counter[str]:
        """Requests so far by service and operation."""
        with urlopen(f"{self._url}{COUNTS}", timeout=30) as answer:
            counts = Counter(json.load(answer))
        del counts["sqs GetQueueAttributes"]
        return counts
