import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.readers.lines import selected_stretches, split_lines

TEXTS = st.text(st.sampled_from("ab\r\n\x0b\x0c\x1c\u2028\x85\0"), max_size=60)


def expected(text: str) -> list[str]:
    lines = re.split("\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


@settings(deadline=None)
@given(TEXTS)
def test_only_lf_crlf_and_cr_end_a_line(text):
    lines = split_lines(text.encode())
    assert [lines.text(i) for i in range(len(lines))] == expected(text)


@settings(deadline=None)
@given(TEXTS)
def test_no_byte_is_lost_between_lines(text):
    lines = split_lines(text.encode())
    pieces = [lines.data[a:b] for a, b in zip(lines.starts, lines.stops, strict=True)]
    assert b"".join(pieces) == text.encode()


@settings(deadline=None)
@given(TEXTS, st.data())
def test_selected_lines_end_with_one_lf_each(text, data):
    lines = split_lines(text.encode())
    kept = np.array([data.draw(st.booleans()) for _ in range(len(lines))], np.bool_)
    wanted = [line for line, keep in zip(expected(text), kept, strict=True) if keep]
    assert b"".join(selected_stretches(lines, kept)).decode() == "".join(line + "\n" for line in wanted)


@settings(deadline=None)
@given(TEXTS, st.sampled_from("ab\0"))
def test_lines_holding_a_byte_are_found(text, wanted):
    lines = split_lines(text.encode())
    assert lines.holding(ord(wanted)).tolist() == [wanted in line for line in expected(text)]
