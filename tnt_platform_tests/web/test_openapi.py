"""The API against its own OpenAPI document, with requests that schemathesis makes up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.web.scene import Lake

EXAMPLES = rounds(200)
OPERATIONS = 12
# That a text has the shape of a cursor, version, column or old enough date does not make it one: 400 says so.
CHECKS = {
    "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "400", "404", "410"]},
    # What is longer than any address that is answered is refused before it is read.
    "negative_data_rejection": {"expected-statuses": ["400", "404", "414"]},
}


@pytest.fixture(scope="module")
def api(address: str, lake: Lake) -> schemathesis.BaseSchema:
    version = httpx.get(f"{address}/datasets/posts").json()["version"]
    schemathesis.openapi.format("tnt-cursor", st.just("AAAA"))
    schemathesis.openapi.format("tnt-version", st.just(version))
    schemathesis.openapi.format("tnt-dataset", st.sampled_from(["posts", "transit/results", "users"]))
    schemathesis.openapi.format("tnt-where", st.just("item_index:ge:1"))
    config = SchemathesisConfig.from_dict({"checks": CHECKS})
    return schemathesis.openapi.from_url(f"{address}/openapi.json", config=config)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_every_operation_keeps_to_the_document(
    api: schemathesis.BaseSchema, number: int, mode: GenerationMode
) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) == OPERATIONS
    cases = operations[number].as_strategy(generation_mode=mode)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"connection": "close"})

    if (
        mode is GenerationMode.NEGATIVE
        and not operations[number].query
        and not operations[number].path_parameters
    ):
        pytest.skip("it takes nothing that could be wrong")
    check()


@pytest.mark.heavy
@pytest.mark.timeout(400)
def test_the_command_line_of_schemathesis_finds_nothing_with_all_checks(address: str, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    lines = [f"{name}.expected-statuses = {check['expected-statuses']}" for name, check in CHECKS.items()]
    config.write_text("\n".join(["[checks]", *lines]))
    program = Path(sys.executable).with_name("schemathesis")
    # Examples of its own and links between operations, which the test above does not try.
    asked = ["run", f"{address}/openapi.json", "--checks", "all", "--max-examples", "15", "--no-color"]
    done = subprocess.run(
        [program, "--config-file", config, *asked], capture_output=True, text=True, timeout=380, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-8_000:]


def test_the_document_names_every_operation_and_its_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/records",
        "/records/{record_id}",
        "/analytics",
        "/datasets",
        "/datasets/{dataset}",
        "/datasets/{dataset}/versions",
        "/datasets/{dataset}/data",
        "/datasets/{dataset}/diff",
        "/datasets/{dataset}/quarantine",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    for path, operations in document["paths"].items():
        answers = operations["get"]["responses"]
        assert "422" not in answers, path
        if not path.startswith(("/health", "/metrics")):
            assert "application/problem+json" in answers["400"]["content"], path
    names = {parameter["name"] for parameter in document["paths"]["/records"]["get"]["parameters"]}
    assert names == {"source", "limit", "cursor", "lastKey", "from", "to", "q", "version", "as_of"}
