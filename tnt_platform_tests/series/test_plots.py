"""The plot of every series of a dataset in one picture."""

import base64
import datetime as dt
import io

import polars as pl
import pytest
from PIL import Image

from tnt_platform.series.plots import series_plot


def observations(series: int, periods: int, value: float | None = None, code: str = "S{}") -> pl.DataFrame:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=at) for at in range(periods)]
    return pl.concat(
        pl.DataFrame(
            {
                "internal_series_code": code.format(number),
                "period": days,
                "value": [float(at % 7) if value is None else value for at in range(periods)],
                "unit": "million $",
            }
        )
        for number in range(series)
    )


def picture(markdown: str) -> Image.Image:
    assert markdown.startswith("![prices](data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(markdown.split("base64,")[1][:-1])))


def blue(image: Image.Image) -> list[tuple[int, int]]:
    """Where the picture has the colour of lines."""
    pixels = image.convert("RGB").load()
    wide, high = image.size
    found = [(x, y) for x in range(wide) for y in range(high)]
    return [(x, y) for x, y in found if pixels[x, y][2] - pixels[x, y][0] > 60]


@pytest.mark.parametrize("series", [1, 3, 7])
def test_every_series_has_a_line_in_a_cell_of_its_own(series: int) -> None:
    image = picture(series_plot(observations(series, 50), "prices"))
    wide, high = image.size
    down = -(-series // 3)
    top = high - round(1.5 * 90) * down
    drawn = {(x * min(3, series) // wide, (y - top) * down // (high - top)) for x, y in blue(image)}
    assert drawn == {(number % 3, number // 3) for number in range(series)}


def test_more_series_make_a_taller_picture() -> None:
    assert picture(series_plot(observations(80, 3), "prices")).size[1] > 80 / 3 * 1.4 * 90


@pytest.mark.parametrize(("periods", "value"), [(1, 5.0), (40, 5.0), (40, -1e300), (2, 1e-300)])
def test_one_point_and_values_that_never_change_are_drawn(periods: int, value: float) -> None:
    assert blue(picture(series_plot(observations(1, periods, value), "prices")))


def test_a_code_with_a_dollar_sign_is_text() -> None:
    assert picture(series_plot(observations(2, 5, code="A$B_{}$"), "prices")).size[0] > 0


def test_the_picture_of_sixty_noisy_series_stays_small_in_the_event_log() -> None:
    assert len(series_plot(observations(60, 400), "prices")) < 600_000
