"""The BMC is asked over Redfish: a real HTTP server answers, well or as badly as one can."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probes import redfish, redfish_http
from probes.around import begin
from probes.model import Value
from probes.redfish_http import Account, Refused, account
from tests.patience import WITHIN
from tests.ports import free_port
from tests.probes.redfish_bmc import PASSWORD, USER, Bmc, Handler, certify, entry, pages, running, stamp

SEL = "/redfish/v1/Systems/1/LogServices/SEL/Entries"
LOST = "The power input for power supply 2 is lost."


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    with running(pages(entry(1, "System boot", "OK"), entry(2, LOST))) as found:
        yield found


def of(bmc: Bmc, **more: Any) -> Account:
    return Account("127.0.0.1", bmc.server_address[1], False, USER, PASSWORD)._replace(**more)


def ask(bmc: Bmc, seconds: float = WITHIN, **more: Any) -> redfish.Told:
    return redfish.ask(of(bmc, **more), time.monotonic() + seconds, time.time())


def values(told: redfish.Told) -> dict[str, Value]:
    return {reading.name: reading.value for reading in told.readings}


# What it says


def test_the_event_log_and_the_sensors_of_both_forms_are_read(bmc: Bmc) -> None:
    told = ask(bmc)

    assert [f"redfish: critical | PSU0003 | asserted | {LOST}"] == [r.message for r in told.records if "PSU0003" in
            r.message and "critical" in r.message]  # fmt: skip
    assert all(record.at is not None and abs(time.time() - 600 - record.at) < 60 for record in told.records)
    assert {False} == {record.kernel for record in told.records}
    assert {
        "bmc.power-supplies": 3, "bmc.power-supplies.critical": 1, "bmc.power-supplies.warning": 0,
        "bmc.power-supplies.which": "PSU2", "bmc.fans": 2, "bmc.fans.critical": 0, "bmc.fans.warning": 1,
        "bmc.temperatures": 2, "bmc.temperatures.critical": 0, "bmc.temperatures.warning": 0,
        "bmc.temperature.highest": 61.5, "redfish.health": "critical", "redfish.events": 2,
    } == values(told)  # fmt: skip
    assert told.sources[0].readable


def test_logs_of_logins_and_dumps_are_not_read(bmc: Bmc) -> None:
    ask(bmc)

    assert "/redfish/v1/Audit" not in bmc.asked


def test_entries_that_are_only_named_are_fetched(bmc: Bmc) -> None:
    bmc.pages[f"{SEL}/7"] = entry(7, LOST)
    bmc.pages[SEL]["Members"] = [{"@odata.id": f"{SEL}/7"}]

    assert [f"redfish: critical | PSU0003 | asserted | {LOST}"] == [record.message for record in ask(bmc).records]


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_a_long_log_the_newest_are_read(bmc: Bmc, newest_first: bool) -> None:
    """Over several pages where the oldest stand first."""
    every = [entry(number, f"event {number}", ago=10_000.0 - number) for number in range(1, 501)]
    listed = every[::-1] if newest_first else every
    bmc.pages[SEL] = {"Members": listed[:200], "Members@odata.count": 500, "Members@odata.nextLink": f"{SEL}?$skip=200"}
    bmc.pages[f"{SEL}?$skip=400"] = {"Members": listed[400:], "Members@odata.count": 500}
    told = ask(bmc).records

    assert redfish.ENTRIES == len(told)
    assert told[-1].message.endswith("| event 500")
    assert told[0].message.endswith("| event 401")


def test_what_is_resolved_old_or_has_no_time_is_no_evidence(bmc: Bmc) -> None:
    bmc.pages[SEL]["Members"] = [
        entry(1, "resolved", Resolved=True), entry(2, "old", ago=30 * 86400.0),
        entry(3, "before the clock was set", Created="1970-01-01T00:08:11+00:00"),
    ]  # fmt: skip
    told = ask(bmc)

    assert ["redfish: critical | PSU0003 | deasserted | resolved"] == [record.message for record in told.records]
    assert "1 entries have no time" in str(told.sources[0].reason)


def test_a_clock_that_is_hours_off_is_told_and_set_right(bmc: Bmc) -> None:
    bmc.pages["/redfish/v1/Managers/BMC"]["DateTime"] = stamp(-7200.0, "+02:00")
    bmc.pages[SEL]["Members"] = [entry(1, LOST, ago=-7000.0)]
    told = ask(bmc)

    assert "ahead of this node's" in str(told.sources[0].reason)
    assert [True] == [record.at is not None and abs(time.time() - 200 - record.at) < 60 for record in told.records]


# What it may not learn, and whom is believed


def test_the_password_is_printed_nowhere(bmc: Bmc) -> None:
    said = [repr(of(bmc)), str(of(bmc)), repr(ask(bmc, password="wrong")), repr(ask(bmc))]

    assert not any(word in text for word in (PASSWORD, "wrong") for text in said)


def test_a_refused_account_is_tried_once_for_asking_on_would_lock_it(bmc: Bmc) -> None:
    told = ask(bmc, password="wrong")

    assert ["/redfish/v1/"] == bmc.asked
    assert "does not take the account" in str(told.sources[0].reason)


def test_a_redirect_is_not_followed(bmc: Bmc) -> None:
    with running(pages()) as other:
        there = f"http://127.0.0.1:{other.server_address[1]}/redfish/v1/"
        bmc.odd["/redfish/v1/"] = lambda handler: handler.say(b"", 307, Location=there)
        told = ask(bmc)

    assert [] == other.asked
    assert "elsewhere" in str(told.sources[0].reason)


def test_a_proxy_of_the_environment_is_not_asked(bmc: Bmc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert ask(bmc).sources[0].readable


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Bmc]:
    if shutil.which("openssl") is None:
        assert not os.environ.get("CI"), "openssl is not installed"
        pytest.skip("openssl is not installed: apt-get install openssl")
    with running(pages(entry(1, LOST)), certify(tmp_path)) as found:
        yield found


def test_a_certificate_that_nobody_vouches_for_gets_no_password(sealed: Bmc) -> None:
    told = ask(sealed, secure=True)

    assert [] == sealed.asked
    assert "its certificate is not trusted" in str(told.sources[0].reason)


def test_a_certificate_of_a_named_issuer_is_trusted(sealed: Bmc, tmp_path: Path) -> None:
    assert ask(sealed, secure=True, ca=str(tmp_path / "cert.pem")).sources[0].readable


def test_a_certificate_is_trusted_by_its_fingerprint_and_no_other_is(sealed: Bmc, tmp_path: Path) -> None:
    right = hashlib.sha256(ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())).hexdigest()
    told = ask(sealed, secure=True, fingerprint="0" * 64)
    asked = len(sealed.asked)

    assert 0 == asked
    assert "another fingerprint" in str(told.sources[0].reason)
    assert ask(sealed, secure=True, fingerprint=right).sources[0].readable


# However it answers


def flood(handler: Handler) -> None:
    """A gigabyte, of which we must not take a hundredth."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    for _ in range(1024):
        handler.wfile.write(b" " * (1 << 20))


def announced(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def drip_heads(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(600):
        handler.wfile.write(b"X")
        time.sleep(0.1)


def silent(_: Handler) -> None:
    time.sleep(60)


def raw(data: bytes) -> Callable[[Handler], None]:
    def say(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(data)

    return say


def body(data: bytes, status: int = 200) -> Callable[[Handler], None]:
    return lambda handler: handler.say(data, status)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (flood, "larger than 4 MiB"),
        (announced, "larger than 4 MiB"),
        (drip, "did not finish in time"),
        (drip_heads, "did not finish in time"),
        (silent, "did not finish in time"),
        (raw(b"\x00\xff\x00garbage\r\n\r\n"), "did not answer as it must"),
        (raw(b""), "did not answer as it must"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000), "did not answer as it must"),
        (body(b"not json"), "did not answer as it must"),
        (body(b"[" * 100_000), "did not answer as it must"),
        (body(b"[]"), "its answer is no object"),
        (body(b"{}", 503), "status 503"),
    ],
)
def test_whatever_it_answers_it_is_left_in_time_with_a_reason(bmc: Bmc, odd: Any, why: str) -> None:
    bmc.odd["/redfish/v1/"] = odd
    began = time.monotonic()
    told = ask(bmc, 1.0 if "in time" in why else WITHIN)

    assert time.monotonic() - began < 30
    assert ([], [], False) == (told.readings, told.records, told.sources[0].readable)
    assert why in str(told.sources[0].reason)


def test_a_part_that_fails_is_said_and_the_rest_is_told(bmc: Bmc) -> None:
    bmc.odd["/redfish/v1/Chassis/1/Power"] = body(b"{}", 500)
    told = ask(bmc)

    assert told.sources[0].readable
    assert "status 500" in str(told.sources[0].reason)
    assert 2 == values(told)["bmc.fans"]
    assert told.records


@pytest.mark.parametrize(
    "nonsense",
    [
        7, None, "x", [], {}, {"Members": 7}, {"Members": [7, None, {}]}, {"Members": [{"@odata.id": 7}]},
        {"Members": [{"@odata.id": "http://127.0.0.1:1/x"}]}, {"Members": [{"@odata.id": "/../../x y\r\nA: b"}]},
        {"Members": [{"Id": {}, "Entries": [], "Status": "x", "Name": 1, "Message": 2, "Severity": [], "Created": 3}]},
        {"Members": [{"Message": "\x1b[31m|\0", "Severity": "Critical", "Created": "9999-99-99T99:99:99Z"}] * 3},
    ],
)  # fmt: skip
def test_nonsense_in_any_place_breaks_nothing(bmc: Bmc, nonsense: Any) -> None:
    for path in list(bmc.pages)[1:]:
        bmc.odd[path] = body(json.dumps(nonsense).encode())
    told = ask(bmc, 5.0)

    assert all(record.message.isprintable() for record in told.records)


@pytest.mark.parametrize(
    "celsius", [10**400, -(10**400), 1e400, True, "hot"], ids=["huge", "tiny", "inf", "yes", "word"]
)
def test_a_temperature_that_cannot_be_is_none(bmc: Bmc, celsius: Any) -> None:
    bmc.pages["/redfish/v1/Chassis/1/Thermal"] = {"Temperatures": [
        {"Name": "Inlet", "ReadingCelsius": 24}, {"Name": "GPU 3", "ReadingCelsius": celsius},
    ]}  # fmt: skip

    assert 24.0 == values(ask(bmc))["bmc.temperature.highest"]


def test_a_service_that_leads_in_circles_is_asked_so_often_and_no_more(bmc: Bmc) -> None:
    loop = {"Members": [{"@odata.id": f"/redfish/v1/{n}"} for n in range(5000)]}
    for name in ("Systems", "Managers", "Chassis"):
        bmc.pages[f"/redfish/v1/{name}"] = loop
    for number in range(9):
        bmc.pages[f"/redfish/v1/{number}"] = {"LogServices": {"@odata.id": "/redfish/v1/Systems"}, "Id": "1",
                                              "Entries": {"@odata.id": "/redfish/v1/Systems"}}  # fmt: skip
    ask(bmc)

    assert len(bmc.asked) <= redfish_http.MOST


def test_nobody_at_the_other_end_is_said() -> None:
    told = redfish.ask(Account("127.0.0.1", free_port(), False, USER, PASSWORD), time.monotonic() + 5, time.time())

    assert "refused" in str(told.sources[0].reason)


# The account


def write(root: Path, text: str, mode: int = 0o600) -> Path:
    path = root / "etc/gpu-triage/redfish"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_an_account_stands_in_a_file_of_root_or_in_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "# the BMC\nurl = https://bmc7:8443/\nuser = reader\npassword = a = b\nwait = 9\n")
    environ = {"GPU_TRIAGE_REDFISH_URL": "https://[::1]", "GPU_TRIAGE_REDFISH_USER": "u",
               "GPU_TRIAGE_REDFISH_PASSWORD": "p"}  # fmt: skip

    assert tuple(Account("bmc7", 8443, True, "reader", "a = b", wait=9.0)) == tuple(account(tmp_path, {}) or ())
    assert tuple(Account("::1", 443, True, "u", "p")) == tuple(account(tmp_path, environ) or ())
    assert account(tmp_path / "none", {}) is None


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("url = https://h\nuser = u\npassword = p\n", 0o644, "chmod 600"),
        ("url = http://bmc7\nuser = u\npassword = p\n", 0o600, "write https://"),
        ("url = ftp://bmc7\nuser = u\npassword = p\n", 0o600, "must be https://HOST"),
        ("url = https://u:p@bmc7\nuser = u\npassword = p\n", 0o600, "must be https://HOST"),
        ("url = https://bmc7:port\nuser = u\npassword = p\n", 0o600, "https://HOST"),
        ("url = https://bmc7\nuser = u\n", 0o600, "lacks its password"),
        ("url = https://bmc7\nverify = no\n", 0o600, "redfish:2: not one of"),
        ("url = https://bmc7\nuser = u\npassword = p\nfingerprint = 12\n", 0o600, "64 hexadecimal digits"),
        ("url = https://bmc7\nuser = u\npassword = p\nwait = ever\n", 0o600, "wait must be seconds"),
    ],
)
def test_an_account_that_is_not_fit_is_refused_with_the_remedy(tmp_path: Path, text: str, mode: int, why: str) -> None:
    write(tmp_path, text, mode)
    with pytest.raises(Refused, match=why):
        account(tmp_path, {})


def test_a_sweep_waits_for_it_as_long_as_its_account_says(tmp_path: Path, bmc: Bmc) -> None:
    def late(handler: Handler) -> None:
        time.sleep(0.6)
        handler.say(b"{}")

    bmc.odd["/redfish/v1/Systems"] = late
    port = bmc.server_address[1]
    path = write(tmp_path, f"url = http://127.0.0.1:{port}\nuser = {USER}\npassword = {PASSWORD}\n")
    told = begin(time.monotonic() + 20, tmp_path, patient=False).result(time.monotonic())
    path.write_text(path.read_text() + "wait = 0.2\n")
    hurried = begin(time.monotonic() + 20, tmp_path, patient=False).result(time.monotonic())

    assert "bmc.fans" in {reading.name for reading in told[0]}
    assert "did not finish in time" in str(hurried[2][0].reason)


def test_no_thread_is_left_behind(bmc: Bmc) -> None:
    ask(bmc)

    assert [] == [thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
