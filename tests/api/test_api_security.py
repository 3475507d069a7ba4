"""Access to the server: address, token, origin, host, rate and size; and the headers that every response has."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from api_server import ServerProcess, refused_start, running_process, running_server
from helpers import NewSettings

from lambda_spark.api.app import create_app
from lambda_spark.api.middleware import MOST_HEADER_BYTES, MOST_URL_BYTES
from lambda_spark.errors import SettingsError
from lambda_spark.settings import Settings

TOKEN = "a-token-of-the-tests-alone"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ORIGIN = "https://shop.example"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture(scope="module")
def secured(reference: Settings) -> Iterator[ServerProcess]:
    """Yield a server that listens to all addresses, with a token and one allowed origin."""
    variables = {"TOKEN": TOKEN, "HOST": "0.0.0.0", "CORS_ORIGINS": f'["{ORIGIN}"]'}
    with running_process(reference, **{f"LAMBDA_SERVE__{name}": value for name, value in variables.items()}) as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        yield server


# --- the address


def test_it_listens_on_loopback_by_default(server: str) -> None:
    assert server.startswith("http://127.0.0.1:")
    port = int(server.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing: this finds the address by which other machines would reach this one.
        probe.connect(("192.0.2.1", 9))
        outside = probe.getsockname()[0]
    with pytest.raises(OSError, match=r"refused|timed out"), socket.create_connection((outside, port), 1):
        pass


def test_other_addresses_need_a_token(new_settings: NewSettings) -> None:
    done = refused_start(new_settings(), "--port", "0", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "LAMBDA_SERVE__TOKEN" in done.stderr
    for host in ("::", "", "192.0.2.1", "shop.example"):
        with pytest.raises(SettingsError, match="set a token in LAMBDA_SERVE__TOKEN"):
            create_app(new_settings(serve={"host": host}))


def test_a_short_token_is_rejected_and_not_shown(new_settings: NewSettings) -> None:
    with pytest.raises(SettingsError, match=r"serve\.token .* at least 16") as error:
        new_settings(serve={"token": "2short"})
    assert "2short" not in str(error.value)


def test_a_port_in_use_is_one_sentence_before_any_table_is_read(server: str, new_settings: NewSettings) -> None:
    settings, port = new_settings(), server.rpartition(":")[2]
    unreadable = Path(settings.data_root, "user_brands", "_delta_log", f"{0:020}.json")
    unreadable.parent.mkdir(parents=True)
    unreadable.write_text("no log")
    done = refused_start(settings, "--port", port)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert port in done.stderr
    assert "--port" in done.stderr


# --- the token


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/users", "/v1/live", "/metrics", "/openapi.json", "/nothing", "/page/../v1/users"]
)
def test_every_path_but_the_page_and_health_needs_the_token(
    secured: ServerProcess, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    if ".." in path:
        # As it is: httpx would normalize the path.
        assert raw_status(secured.url, path, headers) in (401, 404)
        return
    answer = httpx2.get(f"{secured.url}{path}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "/problems/unauthorized"
    assert answer.json()["remedy"]


def test_the_token_gives_access(secured: ServerProcess) -> None:
    for path in ("/v1/users", "/metrics", "/openapi.json", "/v1/status"):
        assert httpx2.get(f"{secured.url}{path}", headers=AUTHORIZED).status_code == 200
    assert httpx2.get(f"{secured.url}/v1/users", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    assert httpx2.get(f"{secured.url}/nothing", headers=AUTHORIZED).status_code == 404
    described = httpx2.get(f"{secured.url}/openapi.json", headers=AUTHORIZED).json()
    assert described["paths"]["/v1/users"]["get"]["security"] == [{"token": []}]


def test_the_page_and_health_need_no_token(secured: ServerProcess) -> None:
    for path in ("/", "/page/index.html", "/health/live", "/health/ready"):
        assert httpx2.get(f"{secured.url}{path}").status_code == 200


def test_the_token_is_in_no_response_and_no_log(secured: ServerProcess) -> None:
    wrong = {"Authorization": f"Bearer {TOKEN}-and-more"}
    answers = [
        httpx2.get(f"{secured.url}{path}", headers=headers)
        for path in ("/v1/users", "/v1/users/x/brands", "/v1/trends?form=1", "/metrics", "/v1/status", "/openapi.json")
        for headers in (AUTHORIZED, wrong)
    ]
    assert {answer.status_code for answer in answers} == {200, 401, 422}
    for answer in answers:
        assert TOKEN not in answer.text + str(answer.headers)
    assert TOKEN not in secured.output()


# --- other origins and hosts


def test_only_allowed_origins_have_access(server: str, secured: ServerProcess) -> None:
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    for answer in (
        httpx2.get(f"{server}/v1/users", headers={"Origin": ORIGIN}),
        httpx2.options(f"{server}/v1/users", headers=preflight),
        httpx2.get(f"{secured.url}/v1/users", headers={"Origin": "https://other.example", **AUTHORIZED}),
        httpx2.options(f"{secured.url}/v1/users", headers={**preflight, "Origin": "https://other.example"}),
    ):
        assert "access-control-allow-origin" not in answer.headers
    # A browser's preflight request has no token.
    allowed = httpx2.options(f"{secured.url}/v1/users", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    for headers, status in ((AUTHORIZED, 200), ({}, 401)):
        answer = httpx2.get(f"{secured.url}/v1/users", headers={"Origin": ORIGIN, **headers})
        assert answer.status_code == status
        # The page must be able to read why a request was rejected.
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example:1"]
)
def test_a_foreign_host_name_is_rejected(server: str, host: str) -> None:
    for path in ("/", "/v1/users", "/health/live"):
        answer = httpx2.get(f"{server}{path}", headers={"Host": host})
        assert answer.status_code == 400
        assert answer.json()["type"] == "/problems/foreign-host"
        assert "localhost" in answer.json()["remedy"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_host_names_of_loopback_are_answered(server: str, host: str) -> None:
    assert httpx2.get(f"{server}/v1/users", headers={"Host": host}).status_code == 200


# --- rate and size


def test_a_client_above_the_rate_limit_is_rejected_for_a_second(reference: Settings) -> None:
    with running_server(reference, LAMBDA_SERVE__REQUESTS_PER_SECOND="5") as url, httpx2.Client(base_url=url) as client:
        answers = [client.get("/v1/users", headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 200
        assert len(refused) >= 4
        assert refused[0].headers["retry-after"] == "1"
        assert refused[0].json()["type"] == "/problems/too-many-requests"
        assert refused[0].json()["remedy"]
        # A health check has no limit.
        assert client.get("/health/live").status_code == 200
        time.sleep(1.2)
        assert client.get("/v1/users").status_code == 200


def test_long_urls_and_headers_are_rejected(server: str) -> None:
    answer = httpx2.get(f"{server}/v1/trends", params={"from": "2" * MOST_URL_BYTES})
    assert (answer.status_code, answer.json()["type"]) == (414, "/problems/url-too-long")
    answer = httpx2.get(f"{server}/v1/users", headers={"X-Much": "x" * MOST_HEADER_BYTES})
    assert (answer.status_code, answer.json()["type"]) == (431, "/problems/headers-too-long")
    answer = httpx2.get(f"{server}/v1/users", headers=[("X-Many", "x")] * 3_000)
    assert answer.status_code == 431


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Much: "])
def test_the_connection_of_an_endless_request_is_closed(server: str, begin: bytes) -> None:
    host, port = server.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), 5)
    with connection, pytest.raises(OSError, match=r"reset|Broken pipe"):
        connection.sendall(begin + b"x" * 50_000_000)
    assert httpx2.get(f"{server}/health/live").status_code == 200


# --- responses


def test_every_response_has_the_security_headers(server: str, secured: ServerProcess) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client())
        answers = [
            client.get(f"{server}/"),
            client.get(f"{server}/page/index.html"),
            client.get(f"{server}/page/vega.js"),
            client.get(f"{server}/page/none.js"),
            client.get(f"{server}/v1/users"),
            client.get(f"{server}/v1/users/x/brands"),
            client.get(f"{server}/metrics"),
            client.get(f"{server}/nothing"),
            client.post(f"{server}/v1/users"),
            client.get(f"{server}/", headers={"Host": "evil.example"}),
            client.get(f"{secured.url}/v1/users"),
            client.options(
                f"{secured.url}/v1/users", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
            ),
            stack.enter_context(client.stream("GET", f"{server}/v1/live")),
        ]
        for answer in answers:
            assert HEADERS.items() <= dict(answer.headers).items(), answer.url
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "unsafe-inline" not in answer.headers["content-security-policy"].partition("style-src")[0]
            assert "cache-control" in answer.headers
            assert "server" not in answer.headers
        assert {answer.status_code for answer in answers} == {200, 400, 401, 404, 405, 422}


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page/..%5capp.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/....//app.py",
        "/page/index.html%00.js",
    ],
)
def test_only_files_of_the_page_are_served(server: str, path: str) -> None:
    assert raw_status(server, path, {}) == 404


def raw_status(url: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of the answer to a request with exactly this path."""
    host, port = url.removeprefix("http://").split(":")
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(64).split()[1])
