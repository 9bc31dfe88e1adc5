"""The page in a real browser, used as a person would."""

import re
from io import BytesIO

import pytest
from PIL import Image

# ruff: noqa: F811 (fixtures are imported by name)
from text2digit.pipelines.loading import shipped_names

from .browsing import (  # noqa: F401
    address,
    browser,
    button,
    downloaded,
    expect,
    open_tab,
    pictures,
    pytestmark,
    settle,
    sketch,
    status,
    type_into,
    unfold,
    visit,
)

VISITORS = 10


def test_draw_streams_and_gives_files(visit):
    """Would catch pictures that come only at the end, and buttons that download nothing."""
    page = visit()
    expect(pictures(page)).to_have_count(10)
    noise = pictures(page).first.get_attribute("src")
    expect(pictures(page).first).to_have_attribute("alt", "Noise that becomes: 0")
    unfold(page, "Settings")
    type_into(page, "Steps", "50")  # so many that a slow browser sees some of them
    page.evaluate(
        "window.seen = new Set(); new MutationObserver(() => document.querySelectorAll('.prose.t2d-status').forEach("
        "e => window.seen.add(e.innerText.trim()))).observe(document.body, {subtree: true, childList: true})"
    )
    button(page, "Draw").click()
    expect(status(page)).to_contain_text(re.compile(r"10 images in \d+\.\d\d s: \d+ steps, \d+ forward passes"))
    assert any(re.fullmatch(r"Step \d+ of \d+", text) for text in page.evaluate("[...window.seen]"))
    expect(pictures(page).first).not_to_have_attribute("src", noise)
    expect(pictures(page).nth(7)).to_have_attribute("alt", "Drawn by the model: 7")
    unfold(page, "Take it with you")
    assert Image.open(BytesIO(downloaded(page, "Picture (PNG)"))).size == (2 * 291, 2 * 30)
    assert Image.open(BytesIO(downloaded(page, "Animation (GIF)"))).n_frames > 1
    assert b'DigitPipeline.from_pretrained("unet-mnist")' in downloaded(page, "Python (.py)").replace(b"'", b'"')


@pytest.mark.skipif("text-mnist" not in shipped_names(), reason="needs the weights of texts that ship")
def test_prompts_take_the_place_of_classes(visit):
    """Would catch boxes that stay ticked for a model of words, a number whose pieces are not composed, and a word that
    is left out in silence."""
    page = visit()
    page.get_by_label("Model").locator("visible=true").first.click()
    page.get_by_role("option", name="text-mnist").click()
    prompts = page.get_by_label("Prompts").locator("visible=true")
    prompts.wait_for()
    settle(page)
    prompts.fill("a thick, slanted seven\n칠\n2026\na glorp 2")
    expect(page.get_by_role("checkbox", name="7").locator("visible=true")).to_have_count(0)
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("4 images in")
    expect(status(page)).to_contain_text("glorp")
    expect(pictures(page)).to_have_count(4)
    shapes = pictures(page).evaluate_all("images => images.map(i => i.naturalWidth / i.naturalHeight)")
    assert [shape > 2 for shape in shapes] == [False, False, True, False]


@pytest.mark.parametrize(
    "field, typed, told",
    [
        ("Seed", "abc", "Seed: got abc, expected a whole number from 0 to 4,294,967,295"),
        ("Steps", "0", "Steps: got 0, expected a whole number from 1 to 1,000"),
        ("Steps", "1001", "Steps: got 1001, expected a whole number from 1 to 1,000"),
        ("Guidance scale", "101", "Guidance scale: got 101, expected a number from 0 to 100"),
        ("Images of each", "1.5", "Images of each: got 1.5, expected a whole number from 1 to 100"),
        ("Images of each", "100", "Images: got 1,000, expected 100 or fewer"),
    ],
)
def test_bad_input_gets_a_message_in_the_page(visit, field, typed, told):
    """Would catch a traceback, a silent page, or a toast that is gone before it is read."""
    page = visit()
    unfold(page, "Settings")
    type_into(page, field, typed)
    button(page, "Draw").click()
    expect(page.get_by_role("alert").locator("visible=true").first).to_contain_text(told)


def test_look_inside_by_keyboard(visit):
    """Would catch a slider that only a mouse can move, or that waits in the line behind those who draw."""
    page = visit()
    open_tab(page, "Look inside")
    page.get_by_role("radio", name="4").locator("visible=true").check()
    button(page, "Draw").focus()
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("log-SNR")
    expect(page.locator(".t2d-plots svg").locator("visible=true")).to_have_count(3)
    settle(page)
    last = pictures(page).first.get_attribute("src")
    page.get_by_role("slider").locator("visible=true").first.focus()
    page.keyboard.press("Home")
    expect(status(page)).to_contain_text("Step 1 of")
    expect(pictures(page).first).not_to_have_attribute("src", last)
    expect(pictures(page).first).to_have_attribute("alt", re.compile("x_t"))


def test_a_number_beyond_the_slider_is_the_nearest(visit):
    """Would catch an error of the server for a step that does not exist, and a number that is not the picture's."""
    page = visit()
    open_tab(page, "Look inside")
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("Step 10 of 10")
    settle(page)
    field = page.get_by_label("number input for Step").locator("visible=true")
    for typed, kept in (("0", "1"), ("99", "10"), ("-3", "1"), ("", "1"), ("4", "4")):
        field.fill(typed)
        field.press("Tab")
        expect(field).to_have_value(kept)
        expect(status(page)).to_contain_text(f"Step {kept} of 10")


def test_files_are_those_of_the_pictures(visit):
    """Would catch the files of an earlier drawing under the half of a later one, and under another model's noise."""
    page = visit()
    files = page.locator(".t2d-take").locator("visible=true")
    unfold(page, "Settings")
    for steps, word in (("2", "10 images in"), ("1000", " of 1000")):
        type_into(page, "Steps", steps)
        button(page, "Draw").click()
        expect(status(page)).to_contain_text(word)
    button(page, "Stop").click()
    expect(status(page)).to_contain_text("Stopped.")
    expect(files).to_have_count(0)
    type_into(page, "Steps", "2")
    button(page, "Draw").click()
    expect(files).to_have_count(1)
    if "dit-mnist" in shipped_names():
        page.get_by_label("Model").locator("visible=true").first.click()
        page.get_by_role("option", name="dit-mnist").click()
        expect(status(page)).to_contain_text("from this noise")
        expect(files).to_have_count(0)


def test_compare(visit):
    """Would catch columns that stay hidden, and a model that cannot be loaded beside another."""
    page = visit()
    open_tab(page, "Compare")
    page.get_by_role("radio", name="3").locator("visible=true").last.check()
    expect(page.get_by_text("Setting 3")).to_be_visible()
    if "dit-mnist" in shipped_names():
        page.get_by_label("Model").locator("visible=true").nth(2).click()
        page.get_by_role("option", name="dit-mnist").click()
    button(page, "Draw side by side").click()
    expect(status(page)).to_contain_text("The same noise, seed 0, 3 ways")
    expect(pictures(page)).to_have_count(3)
    expect(page.locator(".prose.t2d-picture").locator("visible=true")).to_contain_text(
        re.compile(r"\d+ forward passes, \d+ ms")
    )


def test_redraw_a_sketch(visit):
    """Would catch a sheet that forgets what was drawn, and an empty one that is sent off as a black picture."""
    page = visit()
    open_tab(page, "Edit")
    button(page, "Clear").click()
    button(page, "Redraw").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("Your sketch: it is empty")
    sketch(page, [(0.3, 0.2), (0.7, 0.2), (0.5, 0.8)])
    button(page, "Redraw").click()
    expect(status(page)).to_contain_text("forward passes")
    expect(pictures(page)).to_have_count(3)
    button(page, "Clear").click()
    button(page, "Redraw").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("Your sketch: it is empty")
    sheet = page.get_by_role("img", name="Your sketch").locator("visible=true")
    sheet.focus()
    for key in (" ", "ArrowDown", " ", "ArrowDown", " "):
        page.keyboard.press(key)
    button(page, "Redraw").click()
    expect(status(page)).to_contain_text("forward passes")


def test_fill_a_hole_and_go_between(visit):
    """Would catch a mask that is painted on nothing, and a digit that does not reach the sheet."""
    page = visit()
    open_tab(page, "Edit")
    open_tab(page, "Fill a hole")
    expect(page.get_by_text("To the painted part: 0 keeps it").locator("visible=true")).to_have_count(1)
    button(page, "Fill it").click()
    expect(pictures(page)).to_have_count(3)  # the sheet opens with a drawing, and a part of it that is painted
    button(page, "Clear").click()
    button(page, "Fill it").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("nothing is painted")
    button(page, "Draw it on the sheet").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_have_count(0)
    sketch(page, [(0.2, 0.3), (0.8, 0.3)], "Paint over")
    button(page, "Fill it").click()
    expect(status(page)).to_contain_text("forward passes")
    open_tab(page, "Between two images")
    type_into(page, "Number of images", "4")
    button(page, "Draw the images between").click()
    expect(status(page)).to_contain_text("4 images in")
    expect(pictures(page)).to_have_count(4)


def test_training_follows_a_run(visit, tmp_path):
    """Would catch a page that shows what was there when it was opened, and not what has come since."""
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)

    def log(step):
        Image.new("L", (30, 30), step).save(run / "samples" / f"step-{step:06d}.png")
        with (run / "history.jsonl").open("a") as file:
            file.write(f'{{"step": {step}, "loss": {1 / step}, "loss_by_time": {[1 / step] * 10}}}\n')

    log(10)
    page = visit()
    open_tab(page, "Training")
    expect(status(page)).to_contain_text("unet-mnist: step")
    field = page.get_by_label("Run", exact=True).locator("visible=true")
    field.fill(str(tmp_path / "none"))
    field.press("Enter")
    button(page, "Open").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("expected a folder with a history.jsonl")
    field.fill(str(run))
    field.press("Enter")
    button(page, "Open").click()
    expect(status(page)).to_contain_text("run: step 10")
    expect(page.locator(".t2d-plots svg").locator("visible=true")).to_have_count(2)
    page.get_by_label("Follow while it trains").check()
    log(20)
    expect(status(page)).to_contain_text("run: step 20")
    expect(pictures(page).first).to_have_attribute("alt", "Samples after step 20")
    page.get_by_label("Follow while it trains").uncheck()
    settle(page)
    page.get_by_role("slider").locator("visible=true").first.focus()
    page.keyboard.press("Home")
    expect(pictures(page).first).to_have_attribute("alt", "Samples after step 10")


@pytest.mark.parametrize("path, draw, scheme", [("", "Draw", "dark"), ("ko", "그리기", "light")])
def test_a_phone_shows_it_all(visit, path, draw, scheme):
    """Would catch a page that a phone has to push sideways, on any tab, and a tab without its language."""
    page = visit(path, width=375, color_scheme=scheme, has_touch=True)
    names = {"": ("Look inside", "Compare", "Edit", "Training"), "ko": ("들여다보기", "비교", "고쳐 그리기", "학습")}
    button(page, draw).tap()
    expect(status(page)).to_contain_text(re.compile("forward passes|모델 호출"))
    for name in (None, *names[path]):
        if name:
            open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
    text = page.locator("main").inner_text()
    assert ("학습" in text) == (path == "ko")


def test_light_and_dark_differ_and_digits_stay_sharp(visit):
    """Would catch colours that do not follow the system, and digits that are blurred or too small."""
    colours = set()
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        # The digits that the page opens with are drawn after its heading, so both are waited for.
        expect(pictures(page).first).to_have_css("image-rendering", "pixelated")
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert pictures(page).first.bounding_box()["width"] > 80  # 28 pixels are to be seen, one by one
    assert len(colours) == 2


def test_every_input_has_a_label(visit):
    """Would catch a field that a screen reader cannot name, on any tab."""
    page = visit()
    for name in ("Draw", "Look inside", "Compare", "Edit", "Training"):
        open_tab(page, name)
        nameless = page.evaluate(
            "[...document.querySelectorAll('main input, main textarea, main canvas, main button, main img')]"
            ".filter(e => e.offsetParent && !(e.labels?.length || e.ariaLabel || e.title || e.alt || e.innerText.trim()"
            " || e.closest('label'))).map(e => e.outerHTML.slice(0, 120))"
        )
        assert nameless == [], name


def test_who_closes_the_page_frees_the_line(visit):
    """Would catch hundreds of steps for nobody, while the next visitor waits, and a click on Draw that comes before the
    stopped drawing has ended, and is lost."""
    leaving = visit()
    unfold(leaving, "Settings")
    type_into(leaving, "Steps", "400")
    button(leaving, "Draw").click()
    expect(status(leaving)).to_contain_text("Step ")
    leaving.close()
    page = visit()
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("10 images in")
    unfold(page, "Settings")
    type_into(page, "Steps", "400")
    button(page, "Draw").click()
    expect(status(page)).to_contain_text(" of 400")
    button(page, "Stop").click()
    expect(status(page)).to_contain_text("Stopped.")
    button(page, "Draw").click()
    expect(status(page)).to_contain_text(" of 400")
    type_into(page, "Steps", "1")
    button(page, "Stop").click()
    button(page, "Draw").click()
    expect(status(page)).to_contain_text(re.compile(r"\b1 step,"))


def test_ten_visitors_are_served(visit):
    """Would catch visitors who are refused or mixed up; test_line.py tells who comes first."""
    # Each in a context of its own: a browser opens six connections to a server, and a page of Gradio keeps one.
    pages = [visit() for _ in range(VISITORS)]
    for steps, page in enumerate(pages, start=1):
        unfold(page, "Settings")
        type_into(page, "Steps", str(steps))
    for page in pages:
        with page.expect_response("**/queue/join*"):  # in the line, before the next one comes
            button(page, "Draw").click()
    for steps, page in enumerate(pages, start=1):
        expect(status(page)).to_contain_text(re.compile(rf"10 images in .* {steps} steps?,"))
