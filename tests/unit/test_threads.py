"""Many things at once: what comes back, and in which order."""

import pytest

from pifleet.threads import side_by_side


def test_answers_in_the_order_asked():
    assert side_by_side([3, 1, 2], lambda number: number * 10, 2) == [30, 10, 20]


def test_what_one_raises_is_raised_after_all_have_ended():
    seen = []

    def work(number):
        seen.append(number)
        if number == 1:
            raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        side_by_side([1, 2, 3], work, 1)

    assert seen == [1, 2, 3]
