"""The screens in a browser: who has the secret sees them, nobody else anything."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.patience import WITHIN
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
LOG = "examples/bus-errors-then-xid79.log"


class Served(NamedTuple):
    """A running server: where, and the address with the secret."""

    root: str
    address: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The real program, serving a log whose name a shell would stumble over."""
    strange = tmp_path_factory.mktemp("a b;touch gone") / "it's $(touch gone).log"
    strange.write_bytes((ROOT / LOG).read_bytes())
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "triage", "tui", "--serve", f"--port={port}", str(strange), "--no-history"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield Served(f"http://127.0.0.1:{port}", address)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(WITHIN)
    process.stdout.close()
    assert not (ROOT / "gone").exists()


def test_the_address_that_is_printed_opens_the_screens(served: Served) -> None:
    assert served.address.startswith(f"{served.root}/?secret=")

    async def visit() -> tuple[str, str, bytes]:
        jar = aiohttp.CookieJar(unsafe=True)  # or it keeps no cookie of a bare address
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            async with browser.get(served.address) as page:
                text, policy = await page.text(), page.headers["Content-Security-Policy"]
            seen = b""
            headers = {"Origin": served.root}
            async with browser.ws_connect(f"{served.root}/ws?width=100&height=30", headers=headers) as screen:
                while b"incident" not in seen or b"READ-ONLY" not in seen:
                    message = await screen.receive(WITHIN)
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                    seen += message.data if isinstance(message.data, bytes) else message.data.encode()
        return text, policy, seen

    text, policy, seen = asyncio.run(asyncio.wait_for(visit(), 2 * WITHIN))

    assert f"ws://{served.root.removeprefix('http://')}/ws" in text
    assert "default-src 'none'" in policy
    assert b"Traceback" not in seen


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?secret=guess", {}),
        ("/ws", {}),
        ("/static/css/", {}),
        ("SECRET", {"Host": "rebound.example"}),
        ("SECRET", {"Origin": "http://other.example"}),
    ],
)
def test_whoever_has_no_secret_or_comes_from_another_page_sees_nothing(
    served: Served, path: str, headers: dict[str, str]
) -> None:
    async def visit() -> int:
        where = served.address if path == "SECRET" else served.root + path
        async with aiohttp.ClientSession() as browser, browser.get(where, headers=headers) as page:
            return page.status

    assert 403 == asyncio.run(asyncio.wait_for(visit(), WITHIN))


def test_it_listens_on_loopback_alone(served: Served) -> None:
    port = int(served.root.rpartition(":")[2])
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    ]

    assert ["0100007F"] == [each.partition(":")[0] for each in listening]
    assert f":{port:04X} " not in Path("/proc/net/tcp6").read_text() if Path("/proc/net/tcp6").exists() else True


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        (["--port", "0"], {}, "a port is a number from 1 to 65535"),
        (["--port", "TAKEN"], {}, "cannot be had: address already in use; choose another with --port"),
        ([], {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, "served already"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    served: Served, words: list[str], environ: dict[str, str], says: str
) -> None:
    port = served.root.rpartition(":")[2]
    given = [port if word == "TAKEN" else word for word in words]
    ran = subprocess.run(
        [sys.executable, "-m", "triage", "tui", "--serve", *given], cwd=ROOT, env={**os.environ, **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN,
    )  # fmt: skip

    assert 2 == ran.returncode
    assert says in ran.stderr
    assert 1 == ran.stderr.count("\n")
