"""A page is read back from the browser that it was made for: headless Chromium, driven by its own protocol.

The protocol runs over a pipe (`--remote-debugging-pipe`): messages of JSON, each ended by a zero byte.
"""

import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from nagviz.figures import About, Scene, draw_contours, looks, page, pages, style
from nagviz.figures.grids import read

x, y = np.linspace(-1.5, 1.5, 41), np.linspace(-1, 1, 31)
BOWL = 0.1 + x**2 + 4 * y[:, None] ** 2
t = np.linspace(0, 1, 61)
SPIRAL = np.stack([1.1 * np.cos(5 * t) * (1 - t), 0.85 * np.sin(5 * t) * (1 - t)], axis=1)
STEPS = 5 * np.arange(61)
LONG = "filter-normalised random direction 1 (seed 0)"
SCRIPT = "<script>window.harm = 1</script>"


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2% of path variance)")
    quantity: str = "train cross entropy, 1,437 samples"


class Projected(NamedTuple):
    coordinates: np.ndarray
    residual: np.ndarray | None = None
    steps: np.ndarray | None = None


def turned(angle):
    c, s = np.cos(angle), np.sin(angle)
    return 0.8 * SPIRAL @ np.array([[c, s], [-s, c]])


def falling(names):
    return {"train loss": {name: (STEPS, (1 + i) * 0.97**STEPS) for i, name in enumerate(names)}}


HOLED = BOWL.copy()
HOLED[20:, :8], HOLED[3:6, 30:33] = np.nan, np.inf
CUT = Cut(x, y, HOLED)
PATHS = {"SGD": Projected(turned(1), 0.2 + t, STEPS), "NAG": Projected(SPIRAL, t, STEPS)}
AHEAD = {"NAG": SPIRAL + 0.2}
EDGES = {
    "no finite loss": Scene(Cut(x, y, np.full(BOWL.shape, np.nan)), {"NAG": SPIRAL}),
    "constant": Scene(Cut(x, y, np.full(BOWL.shape, 2.0)), {"NAG": SPIRAL}),
    "tiny": Scene(Cut(x * 1e-30, y * 1e-30, BOWL * 1e-30), {"NAG": SPIRAL * 1e-30}),
    "huge": Scene(Cut(x * 1e30, y * 1e30, BOWL * 1e30), {"NAG": SPIRAL * 1e30}),
    "negative": Scene(Cut(x, y, BOWL - 50), {"NAG": SPIRAL}),
    "one point": Scene(CUT, {"NAG": Projected(SPIRAL[:1], np.ones(1))}, falling(["NAG"])),
    "far outside": Scene(CUT, {"NAG": SPIRAL * 1e12 + 3, "SGD": SPIRAL * 1.5}),
    "no path": Scene(CUT, {}),
    "in the plane": Scene(CUT, {"NAG": Projected(SPIRAL, np.zeros(61))}),
    "other rows": Scene(CUT, {"NAG": Projected(SPIRAL[:8], None, STEPS[:8] * 350), "SGD": Projected(turned(1)[:4])}),
    "no look-ahead yet": Scene(
        CUT, {"NAG": SPIRAL}, lookaheads={"NAG": np.where(t[:, None] < 0.5, np.nan, SPIRAL + 0.3)}
    ),
    "ends early": Scene(CUT, {"SGD": np.where(t[:, None] > 0.5, np.nan, SPIRAL)}),
    "ten": Scene(CUT, {f"optimizer {i}": turned(i) for i in range(10)}, falling(f"optimizer {i}" for i in range(10))),
    "long": Scene(CUT._replace(labels=(LONG, LONG), quantity=LONG * 2), {LONG: SPIRAL}, falling([LONG, "x" * 40])),
    "no Latin": Scene(CUT._replace(labels=("主成分 1", "Потеря")), {"随机梯度下降": SPIRAL}),
    "hostile": Scene(CUT._replace(labels=(SCRIPT, "</script>"), quantity=SCRIPT), {SCRIPT: SPIRAL}, note=SCRIPT),
    "tall": Scene(Cut(x, 4 * y, BOWL), {"NAG": SPIRAL}),
    "oblong": Scene(Cut(9 * x, y, BOWL), {"NAG": SPIRAL}),
}


# What is in the file.


def held(made):
    """The data that a page carries."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', made.html, re.DOTALL)[1]
    return json.loads(text)


def numbers(packed):
    if isinstance(packed, list):
        first, by, count = packed
        return first + by * np.arange(count)
    return np.frombuffer(b64decode(packed), "<f8")


def rings(outline):
    """The closed lines of an SVG path of the page, each (n, 2)."""
    made = []
    for ring in re.findall(r"M([^M]*)", outline):
        head, moves = ring.rstrip("z").split("l")
        pairs = np.array([int(n) for n in re.findall(r"-?\d+", head + " " + moves)]).reshape(-1, 2)
        made.append(np.cumsum(pairs, axis=0))
    return made


@pytest.fixture(scope="module")
def made():
    curves = falling(PATHS)
    curves["train loss"]["NAG"] += (STEPS[[20, 40]],)
    about = About("Digits & more", "Who is faster?", "0123abcd")
    return page(CUT, PATHS, curves=curves, lookaheads=AHEAD, note="one epoch", about=about)


def test_every_number_is_carried_as_it_is(made):
    (scene,) = held(made)["scenes"]
    np.testing.assert_array_equal(numbers(scene["values"]).reshape(HOLED.shape), HOLED)
    np.testing.assert_array_equal(numbers(scene["x"]), x)
    of = {path["name"]: path for path in scene["paths"]}
    for name, path in PATHS.items():
        for part, kept in (("coordinates", "at"), ("residual", "hidden"), ("steps", "steps")):
            np.testing.assert_array_equal(numbers(of[name][kept]), getattr(path, part).ravel())
    np.testing.assert_array_equal(numbers(of["NAG"]["ahead"]), AHEAD["NAG"].ravel())
    assert of["SGD"]["ahead"] is None
    np.testing.assert_array_equal(numbers(scene["curves"][0]["series"][1]["marks"]), STEPS[[20, 40]])
    assert [curve["label"] for curve in scene["curves"]] == ["train loss", "distance off the plane"]


def test_bands_are_those_of_the_printed_landscape(made):
    contours = draw_contours(style.Figure().subplots(), CUT, page_levels(made))
    (scene,) = held(made)["scenes"]
    colors = dict(re.findall(r"--c(\d+):(#\w+)", made.html.split("@media")[0]))
    for value in np.concatenate([contours.levels[:-1] + np.diff(contours.levels) / 2, [contours.levels[-1] * 1.01]]):
        band = int(np.searchsorted(contours.levels, value)) - 1
        shade = style.to_hex(style.LANDSCAPE(contours.norm(value)))
        assert colors[str(scene["bar"]["colors"][band])] == shade


def page_levels(made):
    return held(made)["scenes"][0]["bar"]["edges"]


def test_the_edge_of_a_region_lies_where_the_slice_has_its_level():
    """Of a slope that is linear along both axes the contours are exact, up to the rounding of places."""
    scene = held(page(Cut(x, y, 2.0 + x + 0 * y[:, None]), {}, levels=[0, 1.5, 2.5, 4]))["scenes"][0]
    for (_, outline), level in zip(scene["regions"], (1.5, 2.5), strict=True):
        (ring,) = rings(outline)
        assert ring[:, 0].min() == round((level - 2 + 1.5) / 3 * 10_000)
        assert ring[:, 0].max() == 10_000
        assert (ring[:, 1].min(), ring[:, 1].max()) == (0, 10_000)


def test_rows_of_the_slice_go_up_the_page():
    scene = held(page(Cut(x, y, 2.0 + 0 * x + y[:, None]), {}, levels=[0, 2.5, 4]))["scenes"][0]
    (ring,) = rings(scene["regions"][0][1])
    assert (ring[:, 1].min(), ring[:, 1].max()) == (0, 2500)


def test_cells_with_a_corner_that_is_not_finite_are_hatched():
    values = np.zeros((3, 5))
    values[2, 0], values[0, 3] = np.nan, np.inf
    scene = held(page(Cut(np.arange(5), np.arange(3), values), {}))["scenes"][0]
    assert scene["hatch"] == "M5000 5000H10000V10000H5000zM0 0H2500V5000H0z"
    assert held(page(Cut(x, y, BOWL), {}))["scenes"][0]["hatch"] == ""


def test_the_same_input_is_the_same_bytes(made):
    curves = falling(PATHS)
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        page(CUT, PATHS, curves=curves, lookaheads=AHEAD).savefig(file)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_large_slice_with_long_paths_stays_under_a_megabyte():
    a, b = np.linspace(-1.5, 1.5, 101), np.linspace(-1, 1, 101)
    waves = 2 + a**2 + 4 * b[:, None] ** 2 + np.sin(9 * a) * np.cos(9 * b[:, None])
    time = np.linspace(0, 1, 500)[:, None]
    long = {f"optimizer {i}": Projected(time * [np.cos(i), np.sin(i)], time[:, 0]) for i in range(5)}
    series = {name: (np.arange(500), time[:, 0]) for name in long}
    made = page(Cut(a, b, waves), long, curves={"train loss": series, "test accuracy": series}, lookaheads=long)
    assert len(made.html.encode()) < 1_000_000


def test_of_paths_beyond_what_a_screen_shows_some_rows_are_carried_and_it_is_said():
    time = np.linspace(0, 1, 9001)[:, None]
    path = Projected(time * [1, 0.5], time[:, 0], np.arange(9001))
    made = page(CUT, {"NAG": path}, curves={"loss": {"NAG": (path.steps, time[:, 0], [4321])}})
    (scene,) = held(made)["scenes"]
    (carried,) = scene["paths"]
    steps = numbers(carried["steps"])
    assert (steps.size, steps[0], steps[-1], np.ptp(np.diff(steps))) == (901, 0, 9000, 0)
    np.testing.assert_array_equal(numbers(carried["at"]).reshape(-1, 2), path.coordinates[steps.astype(int)])
    np.testing.assert_array_equal(numbers(carried["hidden"]), path.residual[steps.astype(int)])
    (curve,) = scene["curves"][0]["series"]
    assert 4321 in numbers(curve["steps"])
    np.testing.assert_array_equal(numbers(curve["values"]), time[numbers(curve["steps"]).astype(int), 0])
    assert "more than 1,000 rows" in scene["precision"]


def test_a_page_asks_for_nothing_and_says_whose_it_is(made):
    assert not re.search(r"(src|href)=.?(http|//)|@import|url\((?!#)", made.html)
    assert "default-src 'none'" in made.html
    assert '<meta name="fingerprint" content="0123abcd">' in made.html
    assert "<title>Digits &amp; more</title>" in made.html
    assert "from run 0123abcd." in made.html
    assert not re.search(r"\d{4}-\d\d-\d\d|/tmp|/home|/root", made.html)


def test_every_colour_is_from_the_style():
    for file in (Path(style.__file__).parent / "browser").iterdir():
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsl", file.read_text(encoding="utf-8")), file


def test_labels_cannot_leave_their_place():
    made = page(*EDGES["hostile"][:2], note=SCRIPT, about=About(SCRIPT, '"><b>', "</script>"))
    assert made.html.count("<script") == 2  # the data and the page's own
    assert made.html.count("</script") == 2
    assert "<b>" not in made.html
    assert held(made)["scenes"][0]["labels"] == [SCRIPT, "</script>"]


def test_a_name_keeps_its_look_in_another_figure(made):
    run = looks(["SGD", "Adam", "NAG"])
    other = held(page(CUT, {"Adam": SPIRAL}, looks=run))["looks"]["Adam"]
    alone = held(page(CUT, {"Adam": SPIRAL}))["looks"]["Adam"]
    assert (other["marker"], other["dash"]) != (alone["marker"], alone["dash"])


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (Scene(CUT._replace(values=HOLED.T), {}), "transpose the values"),
        (Scene(CUT, {"NAG": SPIRAL[:, :1]}), r"give \(T, 2\) numbers"),
        (Scene(CUT, {"NAG": SPIRAL}, lookaheads={"NAG": SPIRAL[1:]}), "give one look-ahead point for each"),
        (Scene(CUT, {}, lookaheads={"NAG": SPIRAL}), "lookaheads has an entry 'NAG'"),
        (Scene(CUT, {}, {"loss": {"NAG": (STEPS, t[1:])}}), r"give both as \(T,\)"),
        (Scene(CUT, {}, levels=[2, 1]), "at least two increasing numbers"),
    ],
)
def test_what_does_not_fit_is_refused(scene, said):
    with pytest.raises(ValueError, match=said):
        pages({"": scene})


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="scenes is empty"):
        pages({})


# What a browser makes of it.


LAUNCH = """if True:  # the pipes of the protocol are 3 and 4 of the process
    import fcntl, os, sys
    ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
    os.dup2(ends[0], 3), os.dup2(ends[1], 4)
    os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """Chromium without a window."""

    def __init__(self, binary, folder):
        theirs, self.orders = os.pipe()
        self.answers, their_answers = os.pipe()
        words = [binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        launch = [sys.executable, "-ISc", LAUNCH, str(theirs), str(their_answers)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*launch, *words], pass_fds=(theirs, their_answers), **quiet)
        os.close(theirs)
        os.close(their_answers)
        self.rest, self.events, self.number = b"", [], itertools.count(1)

    def attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    session = None

    def call(self, method, **parameters):
        number = next(self.number)
        order = {"id": number, "method": method, "params": parameters}
        order |= {"sessionId": self.session} if self.session else {}
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def _read(self):
        while b"\0" not in self.rest:
            more = os.read(self.answers, 1 << 20)
            assert more, "the browser has gone"
            self.rest += more
        answer, _, self.rest = self.rest.partition(b"\0")
        return json.loads(answer)

    def open(self, file, width=1200, height=900, **features):
        """Show a page; features are such as prefers_color_scheme."""
        self.events.clear()
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=file.as_uri())
        self.wait("Page.loadEventFired")

    def read(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key, code, times=1):
        for kind in ["rawKeyDown", "keyUp"] * times:
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def point(self, at, *kinds):
        for kind in kinds or ("mouseMoved",):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=float(at[0]), y=float(at[1]), **button)

    def click(self, at):
        self.point(at, "mouseMoved", "mousePressed", "mouseReleased")

    def text(self, selector):
        return self.read(f"document.querySelector({json.dumps(selector)}).innerText")

    def box(self, selector):
        return self.read(
            f"(({{x, y, width, height}}) => [x, y, width, height])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )

    def middle(self, selector):
        left, top, width, height = self.box(selector)
        return left + width / 2, top + height / 2

    def faults(self):
        told = [event for event in self.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        return [event["params"] for event in told]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.orders)
            os.close(self.answers)


HOME, LEFT, UP, RIGHT, SPACE, END = (
    ("Home", 36),
    ("ArrowLeft", 37),
    ("ArrowUp", 38),
    ("ArrowRight", 39),
    (" ", 32),
    ("End", 35),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if binary is None:
        pytest.skip("no Chromium is installed: the page was not opened")
    made = Browser(binary, tmp_path_factory.mktemp("profile"))
    try:
        made.attach()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def files(made, tmp_path_factory):
    """The page, and one of all edges."""
    folder = tmp_path_factory.mktemp("pages")
    made.savefig(folder / "page.html")
    pages(EDGES, about=About(SCRIPT, SCRIPT, SCRIPT)).savefig(folder / "edges.html")
    return folder


@pytest.fixture
def opened(browser, files):
    browser.open(files / "page.html")
    return browser


def place(browser, point):
    """Where on the page a point of the slice is."""
    left, top, width, height = browser.box("#ground .frame")
    across, up = (point[0] - x[0]) / (x[-1] - x[0]), (point[1] - y[0]) / (y[-1] - y[0])
    return left + across * width, top + (1 - up) * height


def row(browser, name):
    """The cells of an optimizer in the table."""
    script = "[...document.querySelectorAll(`tr[data-name=${JSON.stringify(NAME)}] td`)].map((cell) => cell.innerText)"
    return browser.read(script.replace("NAME", json.dumps(name)))


def test_arrow_keys_on_the_slider_move_along_the_paths(opened):
    assert opened.text("#now") == "300 of 300"
    opened.read("document.getElementById('step').focus()")
    opened.press(*HOME)
    assert opened.text("#now") == "0 of 300"
    opened.press(*RIGHT, times=7)
    assert opened.text("#now") == "35 of 300"
    assert opened.read("document.getElementById('step').getAttribute('aria-valuetext')") == "step 35 of 300"
    for i, (name, path) in enumerate(PATHS.items()):
        true = (*read(CUT, HOLED, path.coordinates[7:8]), (1 + i) * 0.97**35, path.residual[7])
        np.testing.assert_allclose([float(word) for word in row(opened, name)], true, rtol=5e-3)
    opened.press(*END)
    opened.press(*LEFT)
    assert opened.text("thead th") == "at step 295"


def test_the_cursors_of_the_curves_follow_the_slider(opened):
    cursors = "[...document.querySelectorAll('.cursor')].map((line) => Number(line.getAttribute('x1')))"
    axis = "Number(document.querySelector('#curves .rule').getAttribute('x1'))"
    assert len(set(opened.read(cursors))) == 1
    opened.read("document.getElementById('step').focus()")
    opened.press(*HOME)
    assert opened.read(cursors) == [opened.read(axis)] * 2
    assert opened.read(cursors.replace("x1", "x2")) == [opened.read(axis)] * 2


def test_a_click_on_a_curve_goes_to_its_step(opened):
    left, top, width, _ = opened.box("#curves .rule")
    opened.click((left + width * 100.9 / 300, top + 20))
    assert opened.text("#now") == "100 of 300"


def test_the_slice_is_read_between_its_points_under_the_pointer(opened):
    at = np.rint(place(opened, (0.812, -0.443)))
    opened.point(at)
    left, top, width, height = opened.box("#ground .frame")
    point = x[0] + (at[0] - left) / width * 3, y[-1] - (at[1] - top) / height * 2
    first, second = opened.text("#tip").split("\n\n")
    assert first.endswith(" loss on the slice")
    assert float(first.split()[0]) == pytest.approx(read(CUT, HOLED, np.array([point])).item(), rel=5e-4)
    told = [float(number.replace("\u2212", "-")) for number in re.findall(r"[\u2212\d.]+", second)]
    assert told == pytest.approx(point, abs=5e-4)
    opened.point((2, 2))
    assert opened.read("document.getElementById('tip').hidden")


def test_what_is_not_finite_is_said_so_under_the_pointer(opened):
    opened.point(place(opened, (-1.3, 0.8)))
    assert opened.text("#tip").startswith("NaN loss on the slice")


def test_a_path_under_the_pointer_tells_its_step_and_what_the_plane_hides(opened):
    opened.point(place(opened, SPIRAL[12]))
    name, here, measured, hidden, _ = opened.text("#tip").split("\n\n")
    assert name == "NAG at step 60"
    assert float(here.split()[0]) == pytest.approx(read(CUT, HOLED, SPIRAL[12:13]).item(), rel=5e-4)
    assert measured == f"{2 * 0.97**60:.4g} train loss"
    assert hidden == "0.200 off the plane"
    opened.click(place(opened, SPIRAL[12]))
    assert opened.text("#now") == "60 of 300"


def test_the_read_out_is_moved_by_keys_too(opened):
    opened.read("document.querySelector('#ground svg').focus()")
    opened.press(*UP, times=3)
    opened.press(*RIGHT)
    _, _, width, height = opened.box("#ground .frame")
    true = (8 / width * 3, 24 / height * 2)
    told = re.search(r"at \((.*), (.*)\)", opened.text("#tip")).groups()
    assert [float(number) for number in told] == pytest.approx(true, abs=1e-3)
    opened.press("Escape", 27)
    assert opened.read("document.getElementById('tip').hidden")


def test_an_optimizer_is_switched_off_and_on(opened):
    drawn = "[...document.querySelectorAll('#paths > g')].map((group) => group.dataset.name)"
    lines = "document.querySelectorAll('#curves .core').length"
    assert (opened.read(drawn), opened.read(lines)) == (["SGD", "NAG"], 4)
    opened.click(opened.middle("tr[data-name=SGD] label span"))
    assert (opened.read(drawn), opened.read(lines)) == (["NAG"], 2)
    opened.point(place(opened, PATHS["SGD"].coordinates[10]))
    assert "SGD" not in opened.text("#tip")
    opened.read("document.querySelector('tr[data-name=SGD] input').focus()")
    opened.press(*SPACE)
    assert (opened.read(drawn), opened.read(lines)) == (["SGD", "NAG"], 4)
    assert opened.text("#play").endswith("Play")


CLOCK = """
    let clock = 0, frame = null;
    performance.now = () => clock;
    window.requestAnimationFrame = (made) => { frame = made; return 1; };
    window.cancelAnimationFrame = () => { frame = null; };
    window.pass = (duration, times) => { while (times--) { clock += duration; if (frame) frame(clock); } };
"""


@pytest.fixture
def timed(browser):
    """The browser, with frames that are drawn when the test says so."""
    number = browser.call("Page.addScriptToEvaluateOnNewDocument", source=CLOCK)["identifier"]
    yield browser
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=number)


def test_space_plays_from_the_start_and_pauses(timed, files):
    timed.open(files / "page.html")
    assert timed.text("#play").endswith("Play")
    timed.press(*SPACE)
    assert (timed.text("#now"), timed.text("#play")[-5:]) == ("0 of 300", "Pause")
    timed.read("pass(50, 10)")  # of 3.6 seconds for 60 steps
    assert timed.text("#now") == "40 of 300"
    head = timed.middle("#ground [clip-path] > g:last-child > .mark:last-child")
    share = 500 / 3600 * 60 - 8
    assert head == pytest.approx(place(timed, (1 - share) * SPIRAL[8] + share * SPIRAL[9]), abs=0.6)
    timed.press(*SPACE)
    timed.read("pass(50, 10)")
    assert (timed.text("#now"), timed.text("#play")[-4:]) == ("40 of 300", "Play")
    timed.click(timed.middle("#play"))
    timed.read("pass(50, 80)")
    assert (timed.text("#now"), timed.text("#play")[-4:]) == ("300 of 300", "Play")


def test_who_wants_less_motion_sees_few_and_whole_steps(timed, files):
    timed.open(files / "page.html", prefers_reduced_motion="reduce")
    timed.press(*SPACE)
    timed.read("pass(16, 31)")
    assert timed.text("#now") == "0 of 300"
    timed.read("pass(16, 1)")
    assert timed.text("#now") == "45 of 300"
    head = timed.middle("#ground [clip-path] > g:last-child > .mark:last-child")
    assert head == pytest.approx(place(timed, SPIRAL[9]), abs=0.6)


def test_a_path_is_marked_where_it_starts_stands_and_ends(opened):
    marks = "[...document.querySelectorAll('#ground [clip-path] > g > .mark')].map((mark) => mark.getAttribute('d'))"
    outlines = held_marks(opened)
    assert sorted(opened.read(marks)) == sorted([outlines["start"], outlines["star"]] * 2)
    opened.read("document.getElementById('step').focus()")
    opened.press(*LEFT)
    assert outlines["star"] not in opened.read(marks)
    assert opened.read("document.querySelectorAll('#paths .ghost').length") == 2


def held_marks(browser):
    return browser.read("JSON.parse(document.getElementById('data').textContent).marks")


def test_the_look_ahead_reaches_from_the_path(opened):
    opened.read("document.getElementById('step').focus()")
    opened.press(*HOME)
    left, top, width, height = opened.box("#ground .ahead")
    tail, head = place(opened, SPIRAL[0]), place(opened, AHEAD["NAG"][0])
    assert (left, top + height) == pytest.approx(tail, abs=4)
    assert (left + width, top) == pytest.approx(head, abs=4)
    assert {"look-ahead", "loss not finite", "restart", "start", "end"} <= set(opened.text("#key").split("\n"))


def test_a_notebook_shows_the_page_in_a_frame(made, browser, tmp_path):
    (tmp_path / "notebook.html").write_text(f"<body>{made._repr_html_()}", encoding="utf-8")
    browser.open(tmp_path / "notebook.html")
    script = "document.querySelector('iframe').contentDocument.getElementById('now').textContent"
    assert browser.read(script) == "300 of 300"


def test_nothing_is_fetched_and_nothing_fails(opened):
    for key in (HOME, RIGHT, END):
        opened.press(*key)
    asked = [e["params"]["request"]["url"] for e in opened.events if e.get("method") == "Network.requestWillBeSent"]
    assert [url.partition(":")[0] for url in asked if not url.startswith("data:")] == ["file"]
    assert opened.faults() == []


CONTRAST = """(() => {
    const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = (text) => {
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const part = rgb(text).map((c) => linear(c / 255));
        return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const ratio = (one, two) => {
        const [low, high] = [light(one), light(two)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const ground = getComputedStyle(document.documentElement).backgroundColor;
    const least = (selector, key, limit) => [...document.querySelectorAll(selector)]
        .map((element) => [ratio(getComputedStyle(element)[key], ground), element.outerHTML.slice(0, 80)])
        .filter(([found]) => found < limit);
    return [
        ground,
        [
            ...least("h1, p, th, td, li, button, label span, output, kbd, h2", "color", 4.5),
            ...least("svg text", "fill", 4.5),
        ],
        least("tbody .core", "stroke", 2.2),
    ];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_are_read_by_day_and_by_night(browser, files, scheme):
    browser.open(files / "page.html", prefers_color_scheme=scheme)
    for kind in (scheme, {"light": "dark", "dark": "light"}[scheme]):
        ground, words, lines = browser.read(CONTRAST)
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 25, 30)"}[kind]
        assert (words, lines) == ([], [])
        browser.click(browser.middle("#theme"))  # the reader's wish is above the system's


CHOOSE = """(() => {
    const box = document.getElementById("scene");
    box.value = NUMBER;
    box.dispatchEvent(new Event("change"));
})()"""


@pytest.mark.parametrize("width", [360, 1200])
def test_every_edge_is_a_sensible_page_on_a_phone_and_on_a_desk(browser, files, width):
    browser.open(files / "edges.html", width=width)
    for number, title in enumerate(EDGES):
        browser.read(CHOOSE.replace("NUMBER", str(number)))
        browser.press(*SPACE)
        browser.press(*SPACE)
        assert browser.read("document.documentElement.scrollWidth") <= width, title
        drawn = browser.read("document.querySelector('main').outerHTML")
        assert not re.search(r'(\bd|\b[xy]\d?|transform|width|height)="[^"]*(NaN|Infinity|undefined|null)', drawn), (
            title
        )
    assert browser.read("window.harm") is None
    assert browser.text("h1") == SCRIPT
    assert browser.faults() == []


@pytest.mark.parametrize(
    ("title", "selector", "said"),
    [
        ("no finite loss", "#ground", "no finite loss on this slice"),
        ("no finite loss", "tr[data-name=NAG]", "NaN"),
        ("constant", "tr[data-name=NAG]", "2.000"),
        ("tiny", "#xlabel", "PC 1"),
        ("tiny", "#bar", "\u00d710\u207b\u00b3\u00b9"),
        ("huge", "tr[data-name=NAG]", "1.000\u00d710\u00b2\u2079"),
        ("negative", "tr[data-name=NAG]", "\u221249.90"),
        ("one point", "#now", "300 of 300"),
        ("far outside", "#note", "Leaving the slice: NAG, SGD."),
        ("far outside", "tr[data-name=NAG]", "outside"),
        ("ends early", "#key", "not finite from here"),
        ("ends early", "#note", "Not finite: SGD from step 31."),
        ("ends early", "tr[data-name=SGD]", "not finite"),
        ("other rows", "#now", "12,250 of 12,250"),
        ("other rows", "thead", "at step 12,250"),
        ("no Latin", "#ylabel", "Потеря"),
        ("long", "tbody", "no path"),
        ("hostile", "#xlabel", SCRIPT),
        ("hostile", "#note", SCRIPT),
        ("oblong", "#note", "not to the same scale"),
    ],
)
def test_an_edge_is_said_in_words(browser, files, title, selector, said):
    if not browser.read("location.href").endswith("edges.html"):
        browser.open(files / "edges.html")
    browser.read(CHOOSE.replace("NUMBER", str(list(EDGES).index(title))))
    assert said in browser.read(f"document.querySelector({json.dumps(selector)}).textContent")


def test_a_distance_off_the_plane_is_told_where_there_is_any(browser, files):
    browser.open(files / "edges.html")
    for title, columns in (("in the plane", ["at step 60", "on the slice"]), ("one point", [*COLUMNS, "off plane"])):
        browser.read(CHOOSE.replace("NUMBER", str(list(EDGES).index(title))))
        assert browser.read("[...document.querySelectorAll('thead th')].map((cell) => cell.textContent)") == columns
        assert len(row(browser, "NAG")) == len(columns) - 1


COLUMNS = ["at step 300", "on the slice", "train loss"]


def choose(browser, title):
    browser.read(CHOOSE.replace("NUMBER", str(list(EDGES).index(title))))
    browser.read("document.getElementById('step').focus()")


def test_a_number_of_an_earlier_step_is_marked_as_such(browser, files):
    browser.open(files / "edges.html")
    choose(browser, "other rows")
    early = "[...document.querySelectorAll('td.early')].map((cell) => cell.title)"
    assert browser.read(early) == ["of step 3"]
    assert not browser.read("document.getElementById('early').hidden")
    browser.press(*HOME)
    assert browser.read(early) == []
    assert browser.read("document.getElementById('early').hidden")


def test_a_path_ends_in_a_cross_only_where_it_is_lost(browser, files):
    browser.open(files / "edges.html")
    choose(browser, "ends early")
    ends = "[...document.querySelector('#ends g').querySelectorAll('.mark')].map((mark) => mark.getAttribute('d'))"
    marks = held(page(CUT, {"SGD": SPIRAL}))["marks"]
    assert browser.text("#now") == "31 of 31"
    assert browser.read(ends) == [marks["start"], marks["cross"]]
    browser.press(*LEFT)
    assert marks["cross"] not in browser.read(ends)
    assert row(browser, "SGD") != ["not finite"]


def test_a_look_ahead_is_drawn_where_it_is_known(browser, files):
    browser.open(files / "edges.html")
    choose(browser, "no look-ahead yet")
    assert browser.read("document.querySelectorAll('#ends .ahead').length") == 1
    browser.press(*HOME)
    assert browser.read("document.querySelectorAll('#ends .ahead').length") == 0
    assert browser.faults() == []


def test_a_word_of_a_name_is_not_cut(browser, files):
    browser.open(files / "page.html", width=360)
    browser.read("document.querySelector('tr[data-name=NAG] .name').textContent = 'Adagrad'")
    assert browser.box("tr[data-name=NAG] .name")[3] < 25  # one line


def test_a_path_far_outside_leaves_in_its_direction_within_numbers_that_can_be_drawn(browser, files):
    browser.open(files / "edges.html")
    browser.read(CHOOSE.replace("NUMBER", str(list(EDGES).index("far outside"))))
    outline = browser.read("document.querySelector('#paths [data-name=NAG] .core').getAttribute('d')")
    drawn = np.array(re.findall(r"-?[\d.]+", outline), float).reshape(-1, 2)
    assert 1e4 < np.abs(drawn).max() < 1.1e5
    true = SPIRAL[:50] * [1, -1]  # y goes down the page
    middle = np.array([float(n) for n in browser.box("#ground .frame")[2:]]) / 2
    ways = drawn[:50] - middle
    np.testing.assert_allclose(np.arctan2(*ways.T), np.arctan2(*true.T), atol=0.01)


def test_the_controls_stay_in_sight_of_the_curves_on_a_phone(browser, files):
    browser.open(files / "page.html", width=360, height=640)
    browser.read("document.querySelector('#curves div:last-child').scrollIntoView({block: 'end'})")
    assert 0 <= browser.box("#controls")[1] < 10
