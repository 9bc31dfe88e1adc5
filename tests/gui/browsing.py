"""A browser for tests and what a person does with the page; an error in its console or a request elsewhere fails."""

import shutil
from pathlib import Path

import pytest

# ruff: noqa: E402 (what follows needs gradio)
pytest.importorskip("gradio", reason="needs the extra gui")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra test")
expect = sync_api.expect

from text2digit.gui.app import launch_options, make_app
from text2digit.gui.studio import Studio
from text2digit.pipelines.loading import shipped_names

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser; on Debian: apt-get install chromium"),
    pytest.mark.skipif("unet-mnist" not in shipped_names(), reason="needs the weights that ship"),
]
# A busy machine is slow, and not broken.
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def address():
    """The app, served as `text2digit play` serves it, but that a busy machine may take its time."""
    app = make_app(Studio("unet-mnist"))
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("text2digit.gui.studio.MOST_SECONDS", 1e9)
        yield app.local_url
    app.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens pages and looks over each one's shoulder; at the end nothing may have gone wrong on any."""
    complaints, contexts = [], []
    expect.set_options(timeout=PATIENCE_MS)

    def watch(page):
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: complaints.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None,
        )
        return page

    def open_page(path="", width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = watch(context.new_page())
        page.goto(address + path)
        page.get_by_role("heading", level=1).wait_for()
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == [], complaints


def settle(page):
    """Wait until the page has done what it has begun.

    Gradio sets a field to its value a moment after it appears, and what is typed before that is lost. People are slower
    (it takes 5 ms, and 5 ms of work on any machine); a test on a busy machine is not.
    """
    idle = "new Promise(done => requestIdleCallback(done, {timeout: 30000}))"
    page.evaluate(f"{idle}.then(() => new Promise(requestAnimationFrame)).then(() => {idle})")


def open_tab(page, name):
    """By the bar, or by the menu that a narrow page puts it in."""
    page.get_by_role("tab").first.wait_for()
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.count():
        page.get_by_role("button", name="More tabs").first.click()
        tab = page.get_by_role("button", name=name, exact=True)
    tab.click()
    settle(page)


def button(page, name):
    return page.get_by_role("button", name=name, exact=True).locator("visible=true")


def unfold(page, name):
    """Open a part of the page that is folded; the fold's arrow is a part of its name."""
    fold = page.locator("button.label-wrap", has_text=name).locator("visible=true")
    fold.click()
    expect(fold).to_have_attribute("aria-expanded", "true")
    settle(page)


def type_into(page, label, text):
    """As fingers do it: into the field, over what is there, and on."""
    field = page.get_by_label(label).locator("visible=true").first
    field.click()
    field.press("Control+a")
    field.press_sequentially(text)
    field.press("Tab")
    expect(field).to_have_value(text)


def status(page):
    return page.locator(".prose.t2d-status").locator("visible=true")


def pictures(page):
    return page.locator(".t2d-picture img").locator("visible=true")


def downloaded(page, name):
    """Bytes of a file that the page offers."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name).locator("visible=true").click()
    return Path(download.value.path()).read_bytes()


def sketch(page, places, name="Your sketch"):
    """Draw a line by the mouse; places are parts of the sheet's side."""
    sheet = page.get_by_role("img", name=name).locator("visible=true")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()
