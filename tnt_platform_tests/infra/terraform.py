"""Terraform on a copy of infra/, with its provider from wherever this machine has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INFRA = Path(__file__).parents[2] / "infra"
_PROVIDER = Path("registry.terraform.io/hashicorp/aws")
_STANDARD_MIRRORS = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
_SEARCH_DEPTH = 4
_NOT_SEARCHED = {"proc", "sys", "dev", "run", "tmp", "boot", "lost+found"}


def provider_mirror(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that holds `registry.terraform.io/hashicorp/aws`, if this machine has one.

    Looked for in TF_PLUGIN_DIR, TF_PLUGIN_CACHE_DIR and Terraform's standard mirror folders, then a few levels deep.
    """
    named = [environment[name] for name in ("TF_PLUGIN_DIR", "TF_PLUGIN_CACHE_DIR") if environment.get(name)]
    for text in [*named, *_STANDARD_MIRRORS]:
        folder = Path(text).expanduser()
        if (folder / _PROVIDER).is_dir():
            return folder
    return _found_below(Path("/"), _SEARCH_DEPTH)


def _found_below(folder: Path, depth: int) -> Path | None:
    if (folder / _PROVIDER).is_dir():
        return folder
    if depth == 0:
        return None
    try:
        children = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return None
    below = (
        _found_below(Path(child), depth - 1) for child in children if Path(child).name not in _NOT_SEARCHED
    )
    return next((found for found in below if found is not None), None)


class TerraformFailed(AssertionError):
    """A command ended badly; the message is what it said."""


@dataclass(frozen=True)
class Terraform:
    """Terraform in one folder of a copy of infra/."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, timeout_s: float = 400) -> str:
        """What the command printed.

        Raises:
            TerraformFailed: another exit code than 0.
        """
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**self.environment, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            said = (done.stderr or done.stdout)[-6000:]
            raise TerraformFailed(f"terraform {' '.join(arguments)} in {self.folder.name}: {said}")
        return done.stdout

    def in_folder(self, name: str) -> Terraform:
        """The same in another folder of infra/, such as `modules/storage`."""
        return Terraform(self.folder / name, self.environment)

    def shown(self, plan: Path) -> dict[str, Any]:
        """A saved plan as JSON."""
        answer: dict[str, Any] = json.loads(self.run("show", "-json", str(plan)))
        return answer


def copied_infra(folder: Path, environment: Mapping[str, str]) -> Terraform:
    """A copy of infra/ in `folder`, where Terraform may leave its files."""
    ignored = shutil.ignore_patterns(
        ".terraform", "*.tfstate*", ".terraform.lock.hcl", "terraform.tfvars", "*.tfplan"
    )
    shutil.copytree(INFRA, folder / "infra", ignore=ignored)
    settings = folder / "terraform.rc"
    mirror = provider_mirror()
    installation = (
        f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n' if mirror else ""
    )
    settings.write_text(installation, encoding="utf-8")
    return Terraform(folder / "infra", {**environment, "TF_CLI_CONFIG_FILE": str(settings)})
