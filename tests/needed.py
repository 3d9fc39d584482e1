"""What tests need of the machine that they run on."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"


def missing(why: str) -> NoReturn:
    """End a test that needs this: it fails on a build machine, which is set up for all, and is skipped elsewhere."""
    if CI:
        pytest.fail(why)
    pytest.skip(why)
