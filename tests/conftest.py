"""What tests of all parts share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_nvml import Scenario, build
from tests.needed import CI, missing
from triage.rulebook import cache as rulebook_cache

# A machine that is busy is slow.  Other examples are tried each time by developers and by `make fuzz`, and not where a
# change is judged, which is to have the same verdict each time.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=CI)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test runs, it neither reads nor writes the history of this machine, and alerts nobody."""
    ours = {"GPU_TRIAGE_STATE_DIR": str(tmp_path_factory.mktemp("state")), "GPU_TRIAGE_ALERTS": ""}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a fake libnvidia-ml.so.1, compiled once."""
    if shutil.which("cc") is None:
        pytest.skip("the fake NVML needs a C compiler (cc)")
    return build(tmp_path_factory.mktemp("fake-nvml"))


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the shipped rules are kept, to be copied by who needs one of his own: to read them is slow."""
    folder = tmp_path_factory.mktemp("warm-cache")
    with pytest.MonkeyPatch.context() as monkey:
        monkey.setenv("XDG_CACHE_HOME", str(folder))
        rulebook_cache.load()
    return folder


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[int], Scenario]:
    """Makes a scenario of so many healthy GPUs for the fake NVML."""

    def make(gpus: int) -> Scenario:
        return Scenario(tmp_path / "scenario", gpus)

    return make


@pytest.fixture(scope="session")
def promtool() -> str:
    """The checker of Prometheus, from Debian's package of that name."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool is missing; install the Debian package prometheus")
    return str(found)
