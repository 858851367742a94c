"""The stand-in for publishers' sites serves files as a good server does, and fails as a bad one."""

from __future__ import annotations

import http.client
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tnt_platform.errors import ConfigError, Unavailable
from tnt_platform.sandbox.downloads import DownloadFaults, RunningDownloads, running_downloads

DATA = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "ftp").mkdir(parents=True)
    (site / "ftp" / "sh_ipc_10_26.xls").write_bytes(DATA)
    (tmp_path / "outside.txt").write_text("not served")
    return site


def get(site: RunningDownloads, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    address = urlsplit(site.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", path, headers={n.replace("_", "-"): value for n, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_a_file_comes_with_a_strong_etag_and_its_time(folder: Path) -> None:
    os.utime(folder / "ftp" / "sh_ipc_10_26.xls", (1_790_000_000, 1_790_000_000))
    with running_downloads(folder) as site:
        status, headers, body = get(site, "/ftp/sh_ipc_10_26.xls")
    assert (status, body) == (200, DATA)
    assert headers["ETag"].startswith('"')
    assert parsedate_to_datetime(headers["Last-Modified"]).timestamp() == 1_790_000_000


def test_what_is_unchanged_is_not_sent_again_and_what_changed_is(folder: Path) -> None:
    with running_downloads(folder) as site:
        _, known, _ = get(site, "/ftp/sh_ipc_10_26.xls")
        by_etag = get(site, "/ftp/sh_ipc_10_26.xls", If_None_Match=known["ETag"])
        by_time = get(site, "/ftp/sh_ipc_10_26.xls", If_Modified_Since=known["Last-Modified"])
        # Of the same length and within the same second: only the content tells.
        (folder / "ftp" / "sh_ipc_10_26.xls").write_bytes(DATA[::-1])
        changed = get(site, "/ftp/sh_ipc_10_26.xls", If_None_Match=known["ETag"])
        assert site.answers == {("ftp/sh_ipc_10_26.xls", 200): 2, ("ftp/sh_ipc_10_26.xls", 304): 2}
    assert (by_etag[0], by_etag[2]) == (by_time[0], by_time[2]) == (304, b"")
    assert by_etag[1]["ETag"] == known["ETag"]
    assert (changed[0], changed[2]) == (200, DATA[::-1])


@pytest.mark.parametrize(
    "path", ["/ftp/sh_ipc_11_26.xls", "/ftp", "/", "/../outside.txt", "/..%2Foutside.txt"]
)
def test_what_is_no_file_of_the_folder_is_not_there(folder: Path, path: str) -> None:
    with running_downloads(folder) as site:
        assert get(site, path)[0] == 404


def test_a_query_spoils_one_request_and_the_faults_object_all(folder: Path) -> None:
    with running_downloads(folder) as site:
        assert get(site, "/ftp/sh_ipc_10_26.xls?fault=server_error")[0] == 500
        assert get(site, "/ftp/sh_ipc_10_26.xls")[0] == 200
        assert get(site, "/ftp/sh_ipc_10_26.xls?fault=nonsense")[0] == 400
        site.faults.kind = "html"
        status, headers, body = get(site, "/ftp/sh_ipc_10_26.xls")
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert b"<title>Mantenimiento</title>" in body


def test_only_the_first_requests_of_a_path_are_spoiled_when_told_so(folder: Path) -> None:
    with running_downloads(folder, DownloadFaults("throttle", first=2, retry_after_s=7)) as site:
        answers = [get(site, "/ftp/sh_ipc_10_26.xls") for _ in range(3)]
    assert [status for status, _, _ in answers] == [429, 429, 200]
    assert answers[0][1]["Retry-After"] == "7"


def test_a_truncated_file_is_shorter_than_announced_and_a_lying_length_hides_it(folder: Path) -> None:
    with running_downloads(folder) as site:
        with pytest.raises(http.client.IncompleteRead) as cut:
            get(site, "/ftp/sh_ipc_10_26.xls?fault=truncated")
        status, headers, body = get(site, "/ftp/sh_ipc_10_26.xls?fault=lying_length")
    assert cut.value.partial == DATA[: len(DATA) // 2]
    assert (status, int(headers["Content-Length"]), body) == (200, len(body), DATA[: len(DATA) // 2])


def test_a_slow_file_stops_in_the_middle_for_as_long_as_told(folder: Path) -> None:
    with running_downloads(folder, DownloadFaults("slow", slow_s=0.2)) as site:
        assert get(site, "/ftp/sh_ipc_10_26.xls")[2] == DATA


def test_an_endless_file_goes_on_and_the_server_still_stops(folder: Path) -> None:
    with running_downloads(folder, DownloadFaults("endless")) as site:
        address = urlsplit(site.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        connection.request("GET", "/ftp/sh_ipc_10_26.xls")
        assert len(connection.getresponse().read(3_000_000)) == 3_000_000
        connection.close()


def test_an_unknown_fault_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"flood.*server_error"):
        DownloadFaults("flood")


def test_a_port_in_use_is_an_error(folder: Path) -> None:
    with running_downloads(folder) as site:
        port = urlsplit(site.url).port or 0
        with pytest.raises(Unavailable, match=f"port {port}"), running_downloads(folder, port=port):
            pass
