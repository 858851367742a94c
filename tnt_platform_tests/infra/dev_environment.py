"""Bootstrap, then dev, as docs/aws.md says, on the stand-in."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

from tnt_platform_tests.infra.aws_stand_in import ACCOUNT, ADMINISTRATOR, REGION
from tnt_platform_tests.infra.terraform import Terraform

STATE_BUCKET = f"tnt-state-{ACCOUNT}"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tnt-platform@sha256:{'a' * 64}"
# Terraform mostly waits for the stand-in to settle.
AT_ONCE = "-parallelism=30"
# What dev needs of bootstrap. The rest is made beside dev: the provider looks at a bucket's lifecycle for a minute.
NEEDED_FIRST = (
    "-target=aws_s3_bucket_policy.state",
    "-target=aws_s3_bucket_server_side_encryption_configuration.state",
    "-target=aws_s3_bucket_versioning.state",
    "-target=aws_ecr_repository.this",
    "-target=aws_iam_openid_connect_provider.github",
)


def administrator(service: str, url: str, **keys: str) -> Any:
    """A client of the stand-in, as its administrator unless `keys` say otherwise."""
    own = {
        "aws_access_key_id": ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
    }
    return boto3.client(service, endpoint_url=url, region_name=REGION, **{**own, **keys})


def applied_dev(cloud: Terraform, url: str) -> Terraform:
    """Terraform in envs/dev, applied, with its state in the bucket that bootstrap made."""
    bootstrap, dev = cloud.in_folder("bootstrap"), cloud.in_folder("envs/dev")
    bootstrap.run("init", "-input=false")
    trial = ("-var=github_repository=example/tnt_platform", "-var=destroyable=true")
    apply = ("apply", "-auto-approve", "-input=false")
    bootstrap.run(*apply, *trial, *NEEDED_FIRST)
    account = json.loads(bootstrap.run("output", "-json", "account"))
    certificate = administrator("acm", url).request_certificate(DomainName="dagster.dev.example.com")[
        "CertificateArn"
    ]
    example = (dev.folder / "example.tfvars").read_text(encoding="utf-8")
    ours = re.sub(
        r"certificate_arn +=.*", f'certificate_arn = "{certificate}"', example[: example.index("account = {")]
    )
    values = dev.folder / "terraform.tfvars"
    values.write_text(f'{ours}\nimage = "{IMAGE}"\naccount = {json.dumps(account)}\n', encoding="utf-8")
    dev.run("init", "-reconfigure", "-input=false", f"-backend-config=bucket={STATE_BUCKET}")
    with ThreadPoolExecutor(1) as beside:
        rest = beside.submit(bootstrap.run, *apply, *trial)
        dev.run(*apply, AT_ONCE)
        rest.result()
    return dev
