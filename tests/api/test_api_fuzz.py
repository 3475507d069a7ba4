"""Generated requests: every answer conforms to the API's OpenAPI description."""

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

# Instants around the data of the tests: most random instants would be outside of it.
HOURS = st.datetimes(datetime(2019, 10, 30), datetime(2019, 12, 3)).map(lambda at: at.replace(minute=0, second=0))
DAYS, MOMENTS = HOURS.map("{:%Y-%m-%d}".format), HOURS.map("{:%Y-%m-%dT%H:%M:%SZ}".format)
schemathesis.openapi.format("instant", st.one_of(DAYS, MOMENTS, st.text()))
schemathesis.openapi.format("bucket", st.sampled_from(["day", "hour", "6 hours", "10 minutes", "12 days", "x"]))

load_all_checks()
EXAMPLES = 20
# A description cannot say which ranges contain data, so that a valid request may be rejected.
SUITABLE_CHECKS = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]


# Not with schemathesis' own marks, which use internals that newer versions of pytest do not have.
@pytest.mark.parametrize(("mode", "id_kind"), [("positive", "known"), ("positive", "any"), ("negative", "any")])
def test_every_answer_conforms_to_the_description(server: str, ids: dict[str, str], mode: str, id_kind: str) -> None:
    # An event stream has no end.
    schema = schemathesis.openapi.from_url(f"{server}/openapi.json").exclude(path="/v1/live")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 9
    for operation in operations:
        if not list(operation.iter_parameters()):
            operation.Case().call_and_validate(checks=SUITABLE_CHECKS)
            continue
        known = {f"{name}_id": int(value) for name, value in ids.items() if f"{name}_id" in operation.path}
        path_parameters = known if id_kind == "known" else None

        @given(case=operation.as_strategy(GenerationMode(mode), path_parameters=path_parameters))
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        def conforms(case: Case) -> None:
            answer = case.call_and_validate(checks=SUITABLE_CHECKS)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        conforms()


def test_examples_in_the_description_conform_to_it(server: str) -> None:
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
