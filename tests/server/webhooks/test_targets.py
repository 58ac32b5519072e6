"""Who is called: what is in the Internet, at the very address that was checked."""

import asyncio
import socket
import ssl
import subprocess
import threading
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness import PATIENCE
from tests.receiver import SECRET, Receiver
from zypher.clock import SystemClock
from zypher.prediction import Options, Prediction
from zypher.server.webhooks.caller import Caller
from zypher.server.webhooks.reasons import Miss, Refused
from zypher.server.webhooks.signing import Signer
from zypher.server.webhooks.targets import Resolve, Targets, is_public, resolve

pytestmark = pytest.mark.anyio

NAME = "receiver.example"


class Resolver:
    """Gives these answers for any name, one after the other, and counts how often."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


async def call(
    url: str,
    resolve: Resolve,
    *,
    allow_private: bool = True,
    timeout: float = PATIENCE,
    verify: ssl.SSLContext | None = None,
) -> Miss | None:
    """Call a webhook."""
    targets = Targets(allow_private=allow_private, resolve=resolve)
    made = Prediction(id="1", model="m", input=b"1", created=0.0, options=Options(webhook=url))
    caller = Caller(targets, Signer([SECRET]), SystemClock(), timeout=timeout, verify=verify)
    return await caller.call(made.canceled(now=1.0))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for `NAME` and its key."""
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME} -keyout {file} -out {file}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    with file.open("a") as both:
        both.write(file.with_name(f"{file.name}.crt").read_text())
    return file


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"],
)
def test_hosts_in_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "2606:2800:220:1::1%eth0", "fc00::1", "fd00::1"),
        *("fec0::1", "ff02::1", "2001:db8::1", "100::1", "::7f00:1", "64:ff9b:1::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::"),
        "2001:0:53aa:64c::1",  # Teredo
    ],
)
def test_all_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "receiver",
            "/hook",
            "//receiver.example/",
            "https://",
            "https:///hook",
            "https://./",
        ),
        *("http://receiver.example/", "ftp://receiver.example/", "file:///etc/passwd"),
        *("https://user@receiver.example/", "https://user:word@receiver.example/"),
        *("https://receiver.example:0/", "https://receiver.example:65536/"),
        *("https://exa mple.com/", "https://a\\@receiver.example/", "https://[::1", "https://a\n/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[fe80::1%25eth0]/", "https://10.0.0.1/"),
        "https://[::ffff:127.0.0.1]/",
        "https://receiver.example/" + "x" * 2_000,
        "https://" + "x" * 64 + ".example/",
    ],
)
def test_what_cannot_be_called_is_refused_at_once_with_a_sentence(url: str) -> None:
    with pytest.raises(Refused, match=r"^The webhook .*\.$"):
        Targets(allow_private=False).require(url)


@pytest.mark.parametrize(
    "url",
    ["https://receiver.example/hook?a=b", "https://bücher.example:8443/", "https://8.8.8.8/"],
)
def test_urls_of_the_internet_are_taken(url: str) -> None:
    Targets(allow_private=False).require(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "https://[::1]/", "http://receiver/"])
def test_private_hosts_and_plain_http_are_taken_where_they_are_allowed(url: str) -> None:
    Targets(allow_private=True).require(url)


@pytest.mark.parametrize("found", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"]])
async def test_a_name_that_leads_to_a_private_address_is_not_called(found: list[str]) -> None:
    miss = await call(f"https://{NAME}/", Resolver(found), allow_private=False)
    assert miss is not None
    assert f"leads to {found[-1]}" in miss.reason


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to() -> None:
    resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
    with Receiver() as receiver:
        assert await call(receiver.url(NAME), resolver) is None
        assert receiver.next().headers["Host"] == f"{NAME}:{receiver.port}"
    assert resolver.asked == 1


async def test_a_name_is_looked_at_again_for_each_call() -> None:
    targets = Targets(allow_private=False, resolve=Resolver(["93.184.216.34"], ["127.0.0.1"]))
    url = targets.require(f"https://{NAME}/")
    assert await targets.addresses(url) == ["93.184.216.34"]
    with pytest.raises(Refused):
        await targets.addresses(url)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost"])
async def test_other_ways_to_write_a_private_address_are_not_called(host: str) -> None:
    targets = Targets(allow_private=False)
    with pytest.raises(Refused):
        await targets.addresses(targets.require(f"https://{host}/"))


async def test_the_next_address_of_a_name_is_tried_where_one_is_not_reached() -> None:
    with Receiver() as receiver:
        assert await call(receiver.url(NAME), Resolver(["127.0.0.9", "127.0.0.1"])) is None


async def test_a_name_without_an_address_and_a_closed_port_are_failed_calls() -> None:
    with Receiver() as receiver:
        closed = receiver.url()
        nowhere = await call(receiver.url(NAME), Resolver([]))
    assert nowhere is not None
    assert "its name has no address" in nowhere.reason
    assert await call(closed, Resolver(["127.0.0.1"])) is not None


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Receiver() as receiver:
        assert await call(receiver.url(NAME), Resolver(["127.0.0.1"])) is None


async def test_a_receiver_has_only_so_long_to_answer() -> None:
    with Receiver(None) as receiver:
        miss = await call(receiver.url(), Resolver(["127.0.0.1"]), timeout=0.1)
    assert miss == Miss("it did not answer within 0.1 s")


async def test_a_receiver_has_to_show_the_certificate_of_its_name(certificate: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    trusted = ssl.create_default_context(cafile=certificate)
    resolver = Resolver(["127.0.0.1"])
    with Receiver(tls=own) as receiver:
        assert await call(receiver.url(NAME, "https"), resolver, verify=trusted) is None
        assert receiver.next().headers["Host"] == f"{NAME}:{receiver.port}"
        miss = await call(receiver.url("other.example", "https"), resolver, verify=trusted)
        assert miss is not None
        assert "other.example" in miss.reason
        assert not receiver.was_called


async def test_names_whose_servers_are_dead_do_not_hold_up_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host.startswith("dead"):
            released.wait(PATIENCE)
        return [(2, 1, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    dead = [asyncio.create_task(resolve(f"dead{number}.example", 443)) for number in range(20)]
    try:
        async with asyncio.timeout(PATIENCE / 2):
            assert await resolve("good.example", 443) == ["192.0.2.1"]
    finally:
        released.set()
        await asyncio.gather(*dead)
