"""Requests that nobody thought of: whatever is sent, the API answers as its description says."""

from datetime import datetime
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

pytestmark = pytest.mark.slow

# Most instants that are made up lie in no data: these lie around that of the tests.
HOURS = st.datetimes(datetime(2019, 10, 30), datetime(2019, 12, 3)).map(lambda at: at.replace(minute=0, second=0))
DAYS, MOMENTS = HOURS.map("{:%Y-%m-%d}".format), HOURS.map("{:%Y-%m-%dT%H:%M:%SZ}".format)
schemathesis.openapi.format("instant", st.one_of(DAYS, MOMENTS, st.text()))
schemathesis.openapi.format("bucket", st.sampled_from(["day", "hour", "6 hours", "10 minutes", "12 days", "x"]))

load_all_checks()
EXAMPLES = 20
# Whether a range holds data no description can say: what conforms to it may have no answer.
FITTING = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]


def known_ids(server: str) -> dict[str, int]:
    user = httpx2.get(f"{server}/v1/users").json()["users"][0]["user_id"]
    product = httpx2.get(f"{server}/v1/trends").json()["trends"][0]["product_id"]
    return {"user_id": int(user), "product_id": int(product)}


# Not by schemathesis' own marks, which reach into what newer versions of pytest do not have.
@pytest.mark.parametrize(("mode", "ids"), [("positive", "known"), ("positive", "any"), ("negative", "any")])
def test_every_answer_is_as_described(server: str, mode: str, ids: str) -> None:
    # The stream has no end.
    schema = schemathesis.openapi.from_url(f"{server}/openapi.json").exclude(path="/v1/live")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 9
    for operation in operations:
        if not list(operation.iter_parameters()):
            operation.Case().call_and_validate(checks=FITTING)
            continue
        named = {name: value for name, value in known_ids(server).items() if name in operation.path}
        places = named if ids == "known" else None

        @given(case=operation.as_strategy(GenerationMode(mode), path_parameters=places))
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        def is_as_described(case: Case) -> None:
            answer = case.call_and_validate(checks=FITTING)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        is_as_described()


def test_examples_in_the_description_are_answers_that_conform_to_it(server: str) -> None:
    described: dict[str, Any] = httpx2.get(f"{server}/openapi.json").json()
    for path, methods in described["paths"].items():
        operation = methods["get"]
        assert operation["description"], path
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], parameter
        content = operation["responses"]["200"]["content"]
        if "application/json" in content:
            schema = content["application/json"]["schema"] | {"components": described["components"]}
            Draft202012Validator(schema).validate(content["application/json"]["example"])
