"""A small S3 in memory for the tests: atomic preconditions, and faults on order.

It checks `If-Match` and `If-None-Match` under one event loop, so a race against it is decided as S3
decides it. It ignores signatures. In a test use the `s3_server` fixture; for several processes start
`python -m tnt_platform_tests.s3_server --port 9000 --bucket lake`.

Standalone control (JSON): POST /-/faults adds one Fault, DELETE /-/faults clears them, GET /-/counts
tells the requests by action, POST /-/fill {bucket, objects: {key: [text, etag, last_modified]}} adds many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from aiohttp import web

from tnt_platform_tests.s3_faults import Fault, FaultPlan
from tnt_platform_tests.s3_memory import MemoryBucket, S3Error, StoredObject

_ACTIONS = {
    ("GET", False, ""): "ListObjectsV2",
    ("PUT", False, ""): "CreateBucket",
    ("HEAD", False, ""): "HeadBucket",
    ("POST", False, "delete"): "DeleteObjects",
    ("GET", True, ""): "GetObject",
    ("HEAD", True, ""): "HeadObject",
    ("PUT", True, ""): "PutObject",
    ("DELETE", True, ""): "DeleteObject",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("PUT", True, "uploadId"): "UploadPart",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
}


class S3Server:
    """The server, started in a thread of its own (`start`) or in the running loop (`listen`)."""

    def __init__(self, *, buckets: Sequence[str] = ("lake",), seed: int = 0) -> None:
        self.now: datetime | None = None  # set it to stand still in time
        self.buckets = {name: MemoryBucket(self._clock) for name in buckets}
        self.faults = FaultPlan(seed)
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"s3://{next(iter(self.buckets))}"

    @property
    def options(self) -> dict[str, str]:
        """What Objects.open needs to reach this server."""
        keys = {"access_key_id": "test", "secret_access_key": "not-a-secret"}
        return {"endpoint": self.endpoint, "region": "us-east-1", **keys}

    @property
    def bucket(self) -> MemoryBucket:
        """The first bucket; from a test's thread only look, or use `put`."""
        return next(iter(self.buckets.values()))

    def put(self, key: str, data: bytes, *, last_modified: datetime | None = None) -> None:
        """Upload as an outsider would, without HTTP."""

        async def store() -> None:
            self.bucket.put(key, data, last_modified=last_modified)

        asyncio.run_coroutine_threadsafe(store(), self._loop).result()

    def start(self) -> S3Server:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="s3-server")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(0), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def listen(self, port: int) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _clock(self) -> datetime:
        return self.now or datetime.now(UTC)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query_text = request.raw_path.partition("?")
        bucket, _, key = unquote(path.lstrip("/")).partition("/")
        query = {name: values[0] for name, values in parse_qs(query_text, keep_blank_values=True).items()}
        if bucket == "-":
            return await self._control(request, key)
        sub = next((name for name in ("uploads", "uploadId", "delete") if name in query), "")
        action = _ACTIONS.get((request.method, bool(key), sub), "Unknown")
        self.counts[action] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = _payload(request, await request.content.read())
            fault = self.faults.due(action, key or query.get("prefix", ""))
            if fault and fault.when == "before" and (failed := await self._commit_fault(request, fault)):
                return failed
            response = self._act(request, action, bucket, key, query, body)
            if fault and fault.kind == "truncate":
                return await _truncated(request, response)
            if fault and fault.when == "after" and (failed := await self._commit_fault(request, fault)):
                return failed
            return response
        finally:
            self.in_flight -= 1

    async def _commit_fault(self, request: web.BaseRequest, fault: Fault) -> web.Response | None:
        if fault.kind in ("latency", "hang"):
            await asyncio.sleep(fault.seconds)
        if fault.kind in ("reset", "hang"):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        return _error(fault.status, fault.code) if fault.kind == "status" else None

    def _act(
        self,
        request: web.BaseRequest,
        action: str,
        bucket_name: str,
        key: str,
        query: dict[str, str],
        body: bytes,
    ) -> web.Response:
        """Do the whole effect without awaiting, so that nothing comes between a check and its write."""
        try:
            if action == "CreateBucket":
                self.buckets.setdefault(bucket_name, MemoryBucket(self._clock))
                return web.Response()
            if bucket_name not in self.buckets:
                raise S3Error(404, "NoSuchBucket")
            bucket = self.buckets[bucket_name]
            if action == "ListObjectsV2":
                return _list(bucket, query)
            if action in ("GetObject", "HeadObject"):
                return _get(bucket.get(key), request.headers)
            return _write(bucket, action, key, query, request.headers, body)
        except S3Error as error:
            return _error(error.status, error.code)

    async def _control(self, request: web.BaseRequest, what: str) -> web.Response:
        if what == "faults" and request.method == "DELETE":
            self.faults.clear()
        elif what == "faults":
            self.faults.faults.append(Fault(**await request.json()))
        elif what == "fill":
            order = json.loads(await request.content.read())
            self.buckets.setdefault(order["bucket"], MemoryBucket(self._clock)).fill(
                {
                    key: StoredObject(text.encode(), f'"{etag}"', datetime.fromisoformat(modified))
                    for key, (text, etag, modified) in order["objects"].items()
                }
            )
        return web.json_response({**self.counts, "most_in_flight": self.most_in_flight})


def _write(
    bucket: MemoryBucket, action: str, key: str, query: dict[str, str], headers: Any, body: bytes
) -> web.Response:
    if action == "PutObject":
        conditions = {"if_none_match": headers.get("If-None-Match"), "if_match": headers.get("If-Match")}
        return web.Response(headers={"ETag": bucket.put(key, body, **conditions).etag})
    if action == "DeleteObject":
        bucket.delete(key)
        return web.Response(status=204)
    if action == "DeleteObjects":
        keys = [_unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode(), re.DOTALL)]
        for name in keys:
            bucket.delete(name)
        return _xml("DeleteResult", "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in keys))
    if action == "CreateMultipartUpload":
        return _xml("InitiateMultipartUploadResult", f"<UploadId>{bucket.create_upload()}</UploadId>")
    if action == "UploadPart":
        etag = bucket.upload_part(query["uploadId"], int(query["partNumber"]), body)
        return web.Response(headers={"ETag": etag})
    if action == "CompleteMultipartUpload":
        numbers = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", body.decode())]
        stored = bucket.complete_upload(key, query["uploadId"], numbers)
        return _xml("CompleteMultipartUploadResult", f"<ETag>{escape(stored.etag)}</ETag>")
    if action == "AbortMultipartUpload":
        bucket.uploads.pop(query["uploadId"], None)
        return web.Response(status=204)
    if action == "HeadBucket":
        return web.Response()
    raise S3Error(501, "NotImplemented")


def _get(stored: StoredObject, headers: Any) -> web.Response:
    if (wanted := headers.get("If-Match")) and wanted.strip('"') != stored.etag.strip('"'):
        raise S3Error(412, "PreconditionFailed")
    answer = {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.last_modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    if not (asked := re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))):
        return web.Response(body=stored.data, headers=answer)
    size = len(stored.data)
    start = int(asked[1]) if asked[1] else max(0, size - int(asked[2] or 0))
    end = min(size, int(asked[2]) + 1) if asked[1] and asked[2] else size
    if start >= end:
        raise S3Error(416, "InvalidRange")
    answer["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return web.Response(status=206, body=stored.data[start:end], headers=answer)


def _list(bucket: MemoryBucket, query: dict[str, str]) -> web.Response:
    after = query.get("continuation-token") or query.get("start-after", "")
    page = bucket.list(
        query.get("prefix", ""), query.get("delimiter", ""), after, int(query.get("max-keys", "1000"))
    )
    encoded = query.get("encoding-type") == "url"
    spelled = (lambda text: quote(text, safe="/")) if encoded else escape
    parts = [f"<KeyCount>{len(page.objects) + len(page.prefixes)}</KeyCount>"]
    parts.append(f"<IsTruncated>{str(page.next_token is not None).lower()}</IsTruncated>")
    if encoded:
        parts.append("<EncodingType>url</EncodingType>")
    if page.next_token is not None:
        parts.append(f"<NextContinuationToken>{escape(page.next_token)}</NextContinuationToken>")
    parts.extend(
        f"<Contents><Key>{spelled(key)}</Key><LastModified>{stored.last_modified:%Y-%m-%dT%H:%M:%S.000Z}"
        f"</LastModified><ETag>{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for key, stored in page.objects
    )
    parts.extend(
        f"<CommonPrefixes><Prefix>{spelled(name)}</Prefix></CommonPrefixes>" for name in page.prefixes
    )
    return _xml("ListBucketResult", "".join(parts))


def _payload(request: web.BaseRequest, body: bytes) -> bytes:
    """The object's bytes, also when boto3 wrapped them in signed chunks."""
    if "x-amz-decoded-content-length" not in request.headers:
        return body
    data = bytearray()
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        data += body[:size]
        body = body[size + 2 :]
    return bytes(data)


async def _truncated(request: web.BaseRequest, response: web.Response) -> web.StreamResponse:
    """Promise the whole body, send half of it, and hang up."""
    body = response.body if isinstance(response.body, bytes) else b""
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(body)
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    await asyncio.sleep(0.01)  # let the half arrive
    if request.transport is not None:
        request.transport.close()
    return cut


def _xml(root: str, inside: str) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'
    return web.Response(text=text, content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    response = _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>")
    response.set_status(status)
    return response


def _unescape(text: str) -> str:
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 in memory, for tests and benchmarks.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--bucket", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    async def serve() -> None:
        server = S3Server(buckets=arguments.bucket or ["lake"], seed=arguments.seed)
        await server.listen(arguments.port)
        print(server.endpoint, flush=True)  # a port of 0 is answered by the one that was free
        await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
