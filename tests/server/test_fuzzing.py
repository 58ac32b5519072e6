"""Requests that are made from the API's own description, sensible and not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from tests.harness import Server, target

checks.load_all_checks()
CHECKS: Any = checks.CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)

# So many predictions are there to be asked for: no id that is made up is that of one. Not for
# their events: OpenAPI 3.1 has no words for what is in a stream.
KNOWN = 100
OF_ONE = {
    "/predict/{id}",
    "/predictions/{id}",
    "/predictions/{id}/cancel",
    "/predictions/{id}/retry",
}

# A clock of the request itself ran out: no fault of the server, which the first check is for.
TOO_LATE = 504
DESCRIBED = CHECKS[1:]

# Nobody reads an answer to its end that has none.
ENDLESS = {"/events"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("fuzzed")
    with Server(target("echo"), "--max-queued", "100000", cwd=directory) as server:
        yield server


def test_no_request_is_answered_with_a_fault_or_in_a_way_that_is_not_described(
    server: Server,
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) == sum(len(methods) for methods in schema.raw_schema["paths"].values())
    known = st.sampled_from([server.submit(number) for number in range(KNOWN)])
    for operation in operations:
        if operation.path in ENDLESS:
            continue
        sensible, not_sensible = (operation.as_strategy(mode) for mode in GenerationMode)

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=sensible | not_sensible, id=st.none() | known)
        def fuzz(case: Any, id: str | None) -> None:
            if id is not None and case.path in OF_ONE:
                case.path_parameters["id"] = id
            if id is not None and case.path.startswith("/models/{name}"):
                case.path_parameters["name"] = "echo"
            response = case.call(timeout=30)
            case.validate_response(
                response, checks=DESCRIBED if response.status_code == TOO_LATE else CHECKS
            )

        fuzz()
