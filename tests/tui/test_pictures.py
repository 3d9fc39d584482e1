"""The pictures of the documentation are the screens as they are now, in colour, as SVG."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import screenshots

NAMES = [shot.name for shot in screenshots.SHOTS]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All pictures, drawn now."""
    folder = tmp_path_factory.mktemp("pictures")
    monkey = pytest.MonkeyPatch()
    monkey.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    try:
        return screenshots.draw(folder)
    finally:
        monkey.undo()


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_the_screen_as_it_is_now(name: str, drawn: dict[str, str]) -> None:
    path = screenshots.IMAGES / f"{name}.svg"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawn[name], encoding="utf-8")
        pytest.fail(f"wrote {path}; look at it, then run again without UPDATE_GOLDEN")

    assert path.read_text(encoding="utf-8") == drawn[name], "make screenshots draws them anew"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_sound_and_asks_no_other_host_for_anything(name: str) -> None:
    root = ElementTree.parse(screenshots.IMAGES / f"{name}.svg").getroot()
    text = (screenshots.IMAGES / f"{name}.svg").read_text(encoding="utf-8")

    assert root.tag.endswith("svg")
    assert "READ-ONLY" in text
    assert "@font-face" not in text
    assert not [each for each in root.iter() for name in each.attrib if name.endswith("href")]


def test_the_readme_shows_pictures_that_are_there() -> None:
    readme = (Path(screenshots.IMAGES).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in ("incident", "fleet"):
        assert f"docs/images/{name}.svg" in readme
        assert (screenshots.IMAGES / f"{name}.svg").exists()
