"""Requests that nobody thought of: whatever is sent, the API answers as its description says."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()
# Whether a range holds data is not in a description: what conforms to it may have no answer.
CHECKS_THAT_FIT = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]


@pytest.fixture(scope="session")
def description(server: str) -> schemathesis.schemas.BaseSchema:
    return schemathesis.openapi.from_url(f"{server}/openapi.json")


schema = schemathesis.pytest.from_fixture("description")


# The stream has no end.
@schema.exclude(path="/v1/live").parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case) -> None:
    answer = case.call_and_validate(checks=CHECKS_THAT_FIT)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"]


def test_examples_in_the_description_are_answers(server: str) -> None:
    described = httpx.get(f"{server}/openapi.json").json()
    for path, methods in described["paths"].items():
        operation = methods["get"]
        assert operation["description"], path
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], parameter
        content = operation["responses"]["200"]["content"]
        if "application/json" in content:
            example = content["application/json"]["example"]
            described_by = content["application/json"]["schema"] | {"components": described["components"]}
            Draft202012Validator(described_by).validate(example)
