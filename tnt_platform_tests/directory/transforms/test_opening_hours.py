"""Opening hours are read where they have one meaning, and rejected with a code otherwise."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.directory.transforms.opening_hours import (
    AMBIGUOUS,
    DAYS,
    HOLIDAYS,
    OVERLAPPING,
    UNREADABLE,
    hours_of,
)


def written(ranges: str | None) -> list[str]:
    """ "mon-fri 10:00-21:00+", with a plus for the next day."""
    assert ranges is not None
    return [
        f"{','.join(each['days'])} {each['open']}-{each['close']}{'+' * each['next_day']}".replace(
            ",".join(DAYS), "all"
        ).replace("mon,tue,wed,thu,fri", "mon-fri")
        for each in json.loads(ranges)
    ]


READ = [
    ("10.00 - 22:00", ["all 10:00-22:00"]),
    ("10:00-22.00 น.", ["all 10:00-22:00"]),
    ("10.00น.-22.00น.", ["all 10:00-22:00"]),
    ("๑๐.๐๐ - ๒๒.๐๐ น.", ["all 10:00-22:00"]),
    ("10am - 10pm", ["all 10:00-22:00"]),
    ("10:00 a.m. \u2013 10:00 p.m.", ["all 10:00-22:00"]),
    ("10-22 น.", ["all 10:00-22:00"]),
    ("10.00-22.00 hrs.", ["all 10:00-22:00"]),
    ("10:00:00 - 22:00:00", ["all 10:00-22:00"]),
    ("10:30 am- 21:00 pm (everyday)", ["all 10:30-21:00"]),
    ("12pm - 12am", ["all 12:00-00:00+"]),
    ("12am - 6am", ["all 00:00-06:00"]),
    ("18:00 - 02:00", ["all 18:00-02:00+"]),
    ("10:00 - midnight", ["all 10:00-00:00+"]),
    ("00:00-24:00", ["all 00:00-00:00+"]),
    ("24 hours", ["all 00:00-00:00+"]),
    ("24/7", ["all 00:00-00:00+"]),
    ("เปิด 24 ชั่วโมง", ["all 00:00-00:00+"]),
    ("ทุกวัน 08:00 - 21:30 น.", ["all 08:00-21:30"]),
    ("10:00-14:00, 17:00-22:00", ["all 10:00-14:00", "all 17:00-22:00"]),
    ("17:00-22:00 / 10:00-14:00", ["all 10:00-14:00", "all 17:00-22:00"]),
    ("Mon-Fri 10:00-21:00, Sat-Sun 09:00-22:00", ["mon-fri 10:00-21:00", "sat,sun 09:00-22:00"]),
    ("จันทร์-ศุกร์ 10:00-21:00 น. เสาร์-อาทิตย์ 09:00-22:00 น.", ["mon-fri 10:00-21:00", "sat,sun 09:00-22:00"]),
    ("วันจันทร์ถึงวันศุกร์ เวลา 10.00 ถึง 21.00 น.", ["mon-fri 10:00-21:00"]),
    ("จ.-ศ. 10.00-21.00 น. ส.-อา. 10.00-22.00 น.", ["mon-fri 10:00-21:00", "sat,sun 10:00-22:00"]),
    ("เปิดทุกวันจันทร์ 10:00-20:00", ["mon 10:00-20:00"]),
    (
        "11:00 - 21:00 (Mon-Thu) 10:00 - 21:00 (Sat-Sun)",
        ["mon,tue,wed,thu 11:00-21:00", "sat,sun 10:00-21:00"],
    ),
    ("Mon - Sun 10.30 - 21.00 (everyday)", ["all 10:30-21:00"]),
    ("weekdays 11.00-21.00, weekends 10.00-21.00", ["mon-fri 11:00-21:00", "sat,sun 10:00-21:00"]),
    ("Sat, Sun and Monday: 18:00-02:00", ["mon,sat,sun 18:00-02:00+"]),
    ("Mon.-Fri. 10:00-21:00 Sat. 10:00-22:00", ["mon-fri 10:00-21:00", "sat 10:00-22:00"]),
    ("Fri-Mon 18:00-02:00", ["mon,fri,sat,sun 18:00-02:00+"]),
    (
        "Mon 10:00-12:00,13:00-15:00 Tue 10:00-12:00",
        ["mon 10:00-12:00", "mon 13:00-15:00", "tue 10:00-12:00"],
    ),
    ("Mon closed, Tue-Sun 10:00-20:00", ["tue,wed,thu,fri,sat,sun 10:00-20:00"]),
    ("10:00-20:00, closed on Mondays", ["tue,wed,thu,fri,sat,sun 10:00-20:00"]),
]


@pytest.mark.parametrize(("text", "ranges"), READ)
def test_opening_hours_are_read_as_meant(text, ranges):
    for spelled in (text, text.upper(), f"  {text}  "):
        hours = hours_of(spelled)
        assert (written(hours.ranges), hours.issue_code) == (ranges, None)


REJECTED = [
    ("ask the shop", UNREADABLE),
    ("", UNREADABLE),
    ("Mon-Fri", UNREADABLE),
    ("10:00", UNREADABLE),
    ("Call 02-123-4567", UNREADABLE),
    ("10:00-22:00 (last order 21:30)", UNREADABLE),
    ("ทุกวันเว้นวันพุธ 10:00-20:00", UNREADABLE),
    ("25:00 - 26:00", UNREADABLE),
    ("10:75 - 22:00", UNREADABLE),
    ("21:00 am - 22:00", UNREADABLE),
    ("10 - 22", AMBIGUOUS),
    ("11-9pm", AMBIGUOUS),
    ("9:00-5:00 pm", AMBIGUOUS),
    ("11am - 9:00", AMBIGUOUS),
    ("10:00-10:00", AMBIGUOUS),
    ("00:00-00:00", AMBIGUOUS),
    ("Mon-Fri 10:00-20:00, Fri 10:00-22:00", AMBIGUOUS),
    ("10:00-22:00 Sat 11:00-23:00", AMBIGUOUS),
    ("Mon-Fri 10:00-20:00, Sat", AMBIGUOUS),
    ("10:00-14:00, 13:00-22:00", OVERLAPPING),
    ("20:00-04:00, 03:00-06:00", OVERLAPPING),
]


@pytest.mark.parametrize(("text", "code"), REJECTED)
def test_hours_without_exactly_one_meaning_are_rejected_with_a_code(text, code):
    hours = hours_of(text)
    assert (hours.ranges, hours.issue_code) == (None, code)
    assert hours.message


def test_hours_on_holidays_are_an_issue_while_the_week_is_read():
    hours = hours_of("Mon - Fri : 11:00 - 21:00 Sat - Sun and holiday : 10:00 - 21:00")
    assert written(hours.ranges) == ["mon-fri 11:00-21:00", "sat,sun 10:00-21:00"]
    assert hours.issue_code == HOLIDAYS


TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59))


@given(TIMES, TIMES, st.sampled_from([":", "."]), st.sampled_from([" - ", "-", " to ", " ถึง ", "\u2013"]))
def test_any_two_different_times_are_a_range(opens, closes, mark, between):
    texts = [f"{hour:02d}{mark}{minute:02d}" for hour, minute in (opens, closes)]
    hours = hours_of(between.join(texts))
    if opens == closes:
        assert hours.issue_code == AMBIGUOUS
        return
    (found,) = json.loads(hours.ranges or "")
    wanted = {"days": [*DAYS], "next_day": closes < opens}
    assert found == {**wanted, "open": texts[0].replace(".", ":"), "close": texts[1].replace(".", ":")}


@given(st.text(alphabet="Mon Fri:-.,0123459amp น.จันทร์ทุกวันclosed24hours", max_size=40))
def test_any_text_is_read_or_has_an_issue(text):
    hours = hours_of(text)
    assert (hours.ranges is None) <= (hours.issue_code is not None)
    for each in json.loads(hours.ranges or "[]"):
        assert set(each) == {"days", "open", "close", "next_day"}
        assert each["days"] == [day for day in DAYS if day in each["days"]] != []
        assert re.fullmatch("(?:[01][0-9]|2[0-3]):[0-5][0-9]", each["open"])
        assert each["next_day"] is (each["close"] <= each["open"])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["mon " * 50_000, "10:00-" * 50_000, " " * 200_000 + "x", "1" * 100_000])
def test_hostile_text_is_rejected_in_time(text):
    assert hours_of(text).ranges is None
