"""The page in a browser: quiet, complete, narrow enough, and readable by everyone."""

from __future__ import annotations

import shutil

import pytest
from synthetic_runs import STAGES, write_run

from augcompress.report import SECTIONS, write

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
PAGES = ("one", "several", "half", "real")


@pytest.fixture(scope="module")
def pages(tmp_path_factory, finished):
    """A page of a finished run, of two runs, of an unfinished one, and of what a real run left."""
    folder = tmp_path_factory.mktemp("pages")
    one = write_run(folder / "shirts")
    other = write_run(folder / "trousers", seed=3)
    half = write_run(folder / "half", STAGES[:2])
    runs = {"one": [one], "several": [one, other], "half": [half]}
    runs["real"] = [finished / "runs" / "tiny"]
    return {name: write(found, folder / f"{name}.html") for name, found in runs.items()}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def view(browser, pages):
    """Opens a page and keeps what it says on the console and what it asks the network for."""
    opened = []

    def open_page(name: str, *, width: int = 1280, scheme: str = "light", scripts: bool = True):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=scripts,
        )
        opened.append(context)
        page = context.new_page()
        page.noise, page.requests = [], []
        page.on("console", lambda message: page.noise.append(message.text))
        page.on("pageerror", lambda error: page.noise.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in opened:
        context.close()


def open_details(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


@pytest.mark.parametrize("name", PAGES)
def test_says_nothing_on_the_console_and_asks_the_network_for_nothing(view, pages, name):
    page = view(name)
    fetched = [url for url in page.requests if not url.startswith("data:")]
    assert page.noise == []
    assert fetched == [pages[name].as_uri()]


def test_every_section_is_visible(view):
    page = view("one")
    assert all(page.locator(f"#{key}").is_visible() for key in SECTIONS)


@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("name", PAGES)
def test_no_sideways_scrolling(view, name, width):
    page = view(name, width=width)
    open_details(page)
    wide, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room == width


def test_without_javascript_it_says_the_same(view):
    texts = [view("one", scripts=scripts).inner_text("main") for scripts in (True, False)]
    assert texts[0] == texts[1]
    assert "The shipped file labels" in texts[0]


def test_dark_and_light_differ_and_print_is_light(view):
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (view("one", scheme=scheme) for scheme in ("light", "dark"))
    before = light.evaluate(script), dark.evaluate(script)
    dark.emulate_media(media="print")
    assert before == ("rgb(250, 250, 248)", "rgb(18, 20, 23)")
    assert dark.evaluate(script) == "rgb(255, 255, 255)"


def test_print_shows_what_is_folded_on_screen(view):
    page = view("one")
    folded = page.locator("#training details table").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()


def test_drawings_take_the_colours_of_the_theme(view):
    script = """() => getComputedStyle(
        document.querySelector('#tradeoffs svg use[style*="--shipped"]')).fill"""
    assert view("one").evaluate(script) == "rgb(11, 95, 192)"
    assert view("one", scheme="dark").evaluate(script) == "rgb(116, 180, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_accessible(view, name, scheme):
    page = view(name, scheme=scheme)
    open_details(page)
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
