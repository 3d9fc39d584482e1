"""A real Prometheus scrapes a watch, and every query of the dashboard has an answer in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needed import missing
from tests.patience import WITHIN
from tests.ports import free_port
from tests.test_contrib_monitors import BOARD, queries
from tests.triage.watch.conftest import Packets, Start

OFF_BUS = "NVRM: Xid (PCI:0000:10:00): 79, pid=811, name=python, GPU has fallen off the bus."


class Prometheus:
    """The server, and what it answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query; it must be understood."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=WITHIN) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise
        except OSError:
            return []
        assert "success" == told["status"], (query, told)
        return list(told["data"]["result"])

    def until(self, query: str) -> list[dict[str, Any]]:
        """Ask until there is an answer."""
        end = time.monotonic() + WITHIN
        while not (found := self.ask(query)):
            assert time.monotonic() < end, f"never answered: {query}"
            time.sleep(0.2)
        return found


@pytest.fixture
def target() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, target: int) -> Iterator[Prometheus]:
    found = shutil.which("prometheus")
    if found is None:
        missing("prometheus is missing; install the Debian package of that name")
    assert found is not None
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "gpu", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    words = [
        found, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Prometheus(port)
        finally:
            process.kill()


def test_a_gpu_that_is_lost_is_critical_in_prometheus_and_the_dashboard_shows_it(
    server: Prometheus, target: int, start: Start, packets: Packets
) -> None:
    watch = start("--kmsg", str(packets.path), "--listen", f"127.0.0.1:{target}")
    watch.ready()
    packets.write(OFF_BUS)

    (state,) = server.until('gpu_triage_gpu_incident{rule="gpu-off-bus"} > 0')

    assert f"127.0.0.1:{target}" == state["metric"]["instance"]
    assert server.until("up == 1")  # one of many looks may have taken too long
    titles = [panel["title"] for panel in BOARD["panels"] for _ in panel["targets"]]
    for title, query in zip(titles, queries(), strict=True):
        assert server.until(query), title
