import numpy as np
import pytest

from nagviz.figures import loss_levels, round_ticks
from nagviz.figures.levels import even_levels, roundest, tick_text

x = np.linspace(-1, 1, 51)
BOWL = x**2 + 10 * x[:, None] ** 2
EXP = 0.05 + np.exp(4 * (x + x[:, None]))
DIVERGED = np.where(x > 0.8, 1e30, BOWL)
SLICES = {
    "bowl": BOWL,
    "exponential": EXP,
    "tiny": 1e-30 * BOWL,
    "huge": 1e30 * BOWL,
    "negative": BOWL - 7,
    "all negative": -1 - EXP.max() + EXP,
    "narrow": 1 + 1e-9 * BOWL,
    "diverged": DIVERGED,
    "hole": np.where(np.arange(51) + 51 * np.arange(51)[:, None] == 9, -1e30, BOWL),
    "plateau": np.where(np.arange(51) > 49, BOWL, 0.0),
    "constant": np.full((5, 5), 2.3),
    "zero": np.zeros((5, 5)),
    "constant and negative": np.full((5, 5), -2.3),
    "float32": BOWL.astype(np.float32),
    "integers": np.arange(100),
    "some not finite": np.where(x > 0.9, np.nan, np.where(x < -0.9, np.inf, BOWL)),
}


@pytest.fixture(params=SLICES, name="values")
def _values(request):
    return SLICES[request.param]


@pytest.mark.parametrize("bands", [10, 12, 14])
def test_levels_increase_from_the_lowest_value(values, bands):
    levels = loss_levels(values, bands=bands)
    assert levels.dtype == np.float64
    assert levels.ndim == 1
    assert np.isfinite(levels).all()
    assert (np.diff(levels) > 0).all()
    assert levels[0] == values[np.isfinite(values)].min()
    assert levels.size == bands + 1


def test_levels_are_geometric_in_the_height_up_to_rounding():
    levels = loss_levels(EXP, bands=12)
    heights = levels[1:] - levels[0]
    ratio = (heights[-1] / heights[0]) ** (1 / 11)
    bands = np.log(heights[1:] / heights[:-1]) / np.log(ratio)
    assert bands.min() > 0.45  # two neighbours may each move by a quarter of a band
    assert bands.max() < 1.55
    assert bands.mean() == pytest.approx(1)
    assert heights[-1] / heights[0] > 50


def test_one_band_ends_at_the_clip():
    bottom, top = loss_levels(BOWL, bands=1)
    assert (bottom, top) == (0, pytest.approx(np.quantile(BOWL, 0.95), rel=0.2))


def test_the_valley_gets_bands_of_its_own():
    levels = loss_levels(BOWL)
    shares = np.histogram(BOWL, [*levels, np.inf])[0] / BOWL.size
    assert shares.max() < 0.3
    assert (shares > 0).all()


def test_corners_are_clipped_at_the_95th_percentile():
    top = loss_levels(EXP)[-1]
    assert 0.8 < top / np.quantile(EXP, 0.95) < 1.25
    assert loss_levels(DIVERGED, start=4.0)[-1] < 50


def test_the_start_lowers_the_clip_and_never_raises_it():
    assert 0.8 < loss_levels(EXP, start=2.0)[-1] / 20 < 1.25
    np.testing.assert_array_equal(loss_levels(EXP, start=1e9), loss_levels(EXP))
    np.testing.assert_array_equal(loss_levels(EXP, start=EXP.min()), loss_levels(EXP))
    np.testing.assert_allclose(loss_levels(BOWL - 7, start=-6.9)[-1], -6.0, atol=0.2)


@pytest.mark.parametrize("scale", [1e-30, 1e3, 1e30])
def test_levels_scale_with_the_loss(scale):
    np.testing.assert_allclose(loss_levels(scale * BOWL) / scale, loss_levels(BOWL), rtol=1e-9)


def test_levels_after_the_first_have_few_digits():
    for level in loss_levels(EXP)[1:]:
        assert float(f"{level:.2g}") == level


def test_a_caller_keeps_his_values():
    values = BOWL.copy()
    values.flags.writeable = False
    loss_levels(values)


@pytest.mark.parametrize(
    ("values", "kwargs", "message"),
    [
        (np.full((3, 4), np.nan), {}, r"values has 12 numbers.*narrow"),
        (np.empty(0), {}, r"values has 0 numbers"),
        (BOWL, {"bands": 0}, r"bands is 0.*at least 1"),
        (BOWL, {"start": np.nan}, r"start is nan.*or None"),
    ],
)
def test_errors_name_the_argument_the_value_and_the_remedy(values, kwargs, message):
    with pytest.raises(ValueError, match=message):
        loss_levels(values, **kwargs)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_ticks_are_few_round_and_within_the_levels(values, count):
    levels = loss_levels(values)
    ticks = round_ticks(levels, count)
    assert count - 1 <= ticks.size <= count
    assert (np.diff(ticks) > 0).all()
    assert levels[0] <= ticks[0]
    assert ticks[-1] <= levels[-1]
    assert np.isin(ticks, levels).all()  # so that they stand between two bands, at a line


def test_ticks_of_unround_levels_are_round():
    levels = np.geomspace(0.0293178, 29.3178, 13)
    for tick in round_ticks(levels, 5):
        assert float(f"{tick:.2g}") == tick


def test_ticks_are_spread_over_the_bands():
    index = np.interp(round_ticks(loss_levels(EXP), 5), loss_levels(EXP), np.arange(13))
    assert (np.diff(index) >= 1.5).all()
    assert index[-1] - index[0] > 9


@pytest.mark.parametrize(
    ("interval", "number"),
    [((0.9, 1.2), 1), ((17, 23), 20), ((41, 44), 42), ((-0.29, -0.22), -0.25), ((3e29, 6e29), 5e29)],
)
def test_roundest(interval, number):
    assert roundest(*interval) == number


def test_tick_text_has_no_powers_of_ten_below_ten_thousand():
    assert [tick_text(v) for v in (0.0005, 0.1, 29.3178, 9999.0, -5.2)] == [
        "0.0005",
        "0.1",
        "29.3178",
        "9999",
        "\u22125.2",
    ]
    assert tick_text(1e30) == "$10^{30}$"
    assert tick_text(1.5e-30) == r"$1.5{\times}10^{-30}$"


@pytest.mark.parametrize("scale", [1e-30, 1.0, -1.0, 1e30])
def test_even_levels_are_round_and_equally_far_apart(scale):
    values = scale * (3.0 + np.linspace(0, 1, 400).reshape(20, 20))
    edges = even_levels(values)
    np.testing.assert_allclose(np.diff(edges), np.diff(edges)[0], rtol=1e-9)
    assert 9 <= edges.size <= 17
    assert edges[0] <= values.min()


@pytest.mark.parametrize("values", [np.full(9, 2.0), np.array([0.0, 0.0, 0.0, 0.0, 1.0]), 1 + 1e-17 * np.arange(5)])
def test_even_levels_of_what_has_none_are_those_of_any_landscape(values):
    np.testing.assert_array_equal(even_levels(values), loss_levels(values))
