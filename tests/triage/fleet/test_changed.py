"""What changed of nodes from one answer to the next."""

from __future__ import annotations

from triage.fleet.changed import changed
from triage.fleet.model import ANSWERED, FAILED, Answer, Part

DAY = 86400.0


def answer(
    at: float | None, driver: str = "570.86.15", *parts: Part, node: str = "n1", state: str = ANSWERED
) -> Answer:
    return Answer(node, state, at=at, facts={"driver.version": driver, "boot.id": str(at)}, gpus=parts)


def board(serial: str, pci: str = "0000:4e:00.0", vbios: str = "96.00") -> Part:
    return Part(pci, None, serial, facts={"gpu.vbios": vbios, "gpu.state": serial})


def says(*answers: Answer) -> list[str]:
    return [change.says for change in changed(answers)]


def test_only_what_somebody_changes_counts_in_the_order_of_time_whatever_that_of_the_files() -> None:
    found = changed([answer(2 * DAY, "580.65.06"), answer(0.0), answer(DAY)])

    assert [("n1", 2 * DAY, "driver.version: 570.86.15 became 580.65.06")] == found


def test_the_latest_change_comes_first() -> None:
    assert ["driver.version: C became D", "driver.version: A became B"] == says(
        answer(0.0, "A"), answer(1.0, "B"), answer(3.0, "C", node="n2"), answer(4.0, "D", node="n2")
    )


def test_boards_that_were_swapped_moved_added_or_taken_out() -> None:
    assert ["the GPU at 0000:4e:00.0 is another: board 1 became board 2"] == says(
        answer(0.0, "A", board("1")), answer(1.0, "A", board("2"))
    )
    both = answer(0.0, "A", board("1"), board("2", "0000:5d:00.0"))
    assert {
        "board 1 moved from 0000:4e:00.0 to 0000:5d:00.0",
        "board 2 moved from 0000:5d:00.0 to 0000:4e:00.0",
    } == set(says(both, answer(1.0, "A", board("2"), board("1", "0000:5d:00.0"))))
    assert ["the GPU at 0000:5d:00.0 (board 2) is not there any more"] == says(both, answer(1.0, "A", board("1")))
    assert ["board 2 is new at 0000:5d:00.0"] == says(answer(0.0, "A", board("1")), both._replace(at=1.0))


def test_gpus_of_a_node_that_changed_alike_are_one_change() -> None:
    slots = [f"0000:{n}0:00.0" for n in range(1, 9)]
    before, after = ([board(slot, slot, vbios) for slot in slots] for vbios in ("96.00", "96.01"))

    assert ["gpu.vbios of 8 GPUs: 96.00 became 96.01"] == says(answer(0.0, "A", *before), answer(1.0, "A", *after))


def test_what_is_not_known_is_no_change() -> None:
    nameless = Part("0000:4e:00.0", None, None)

    assert [] == says(answer(0.0, "A", board("1")), answer(1.0, "A", nameless))
    assert [] == says(answer(0.0, "A", board("1")), answer(1.0, "A"))  # the driver was not loaded
    assert [] == says(answer(None, "A"), answer(1.0, "B"))
    assert [] == says(answer(0.0, "A"), answer(1.0, "B", state=FAILED))


def test_a_board_that_left_one_node_and_came_to_another_moved() -> None:
    two = "0000:5d:00.0"
    before = [answer(0.0, "A", board("1"), board("2", two), node="n1"), answer(0.0, "A", board("3"), node="n2")]
    after = [answer(1.0, "A", board("1"), node="n1"), answer(1.0, "A", board("3"), board("2", two), node="n2")]

    assert [f"board 2 moved from n1 {two} to n2 {two}"] == says(*before, *after)
