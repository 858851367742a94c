"""Terraform, or a reason why its tests can't run here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tnt_platform_tests.infra.aws_stand_in import client_environment, running_stand_in
from tnt_platform_tests.infra.terraform import Terraform, TerraformFailed, copied_infra


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    """The URL of an AWS of this module's own: what one leaves another must not find."""
    with running_stand_in() as url:
        yield url


@pytest.fixture(scope="session")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/ whose provider can be had."""
    if shutil.which("terraform") is None:
        pytest.skip("NOT TESTED: infra/. There is no terraform on this machine")
    terraform = copied_infra(tmp_path_factory.mktemp("terraform"), dict(os.environ))
    try:
        terraform.in_folder("modules/storage").run("init", "-backend=false", "-input=false", timeout_s=120)
    except (TerraformFailed, OSError) as error:
        pytest.skip(f"NOT TESTED: infra/. Neither a mirror nor the registry gives the AWS provider: {error}")
    return terraform


@pytest.fixture(scope="module")
def cloud(infra: Terraform, stand_in: str, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Another copy, talking to the stand-in: both may work at once."""
    return copied_infra(tmp_path_factory.mktemp("cloud"), client_environment(stand_in))
