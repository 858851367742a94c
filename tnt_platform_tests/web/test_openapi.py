"""The API against its own OpenAPI document, with requests that schemathesis makes up."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tnt_platform_tests.web.scene import Lake

EXAMPLES = 40
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
