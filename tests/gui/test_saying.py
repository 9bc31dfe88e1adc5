"""What the page says: of guidance, of prompts, of errors, of classes that are no digits, and in which language."""

import re

import pytest
import torch

# ruff: noqa: F811 (fixtures are imported by name)
from text2digit.gui.app import launch_options, make_app
from text2digit.gui.studio import Studio
from text2digit.models import DigitUNet2DModel
from text2digit.pipelines import ClassConditionedDigitPipeline
from text2digit.pipelines.loading import shipped_names
from text2digit.schedulers import DDIMScheduler

from ..conftest import randomize
from .browsing import (  # noqa: F401
    address,
    browser,
    button,
    expect,
    open_tab,
    pictures,
    pytestmark,
    settle,
    status,
    type_into,
    unfold,
    visit,
)
from .test_look import box

LONG_NAME = "a class with a name of sixty characters, as data sets have it"


def alert(page):
    return page.get_by_role("alert").locator("visible=true").first


def choose_model(page, name):
    page.get_by_label("Model").locator("visible=true").first.click()
    page.get_by_role("option", name=name).click()


def test_guidance_is_on_where_the_page_says_so(visit):
    """Would catch a guidance interval that has no control, 15 passes at 10 steps that nothing explains, and a step
    without guidance that does not say why."""
    page = visit()
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("10 steps, 15 forward passes an image. Guidance is on at steps 2 to 6 only")
    open_tab(page, "Look inside")
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("Guidance is off at this step: its interval, 10 to 60 %, covers steps 2 to 6")
    slider = page.get_by_label("range slider for Step").locator("visible=true")
    expect(slider).to_have_css("background-image", re.compile("gradient"))
    settle(page)
    band = slider.evaluate("e => getComputedStyle(e).backgroundImage")
    assert [float(share) for share in re.findall(r"\* ([\d.]+)\)|([\d.]+)%", band) for share in share if share][:2]
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(status(page)).to_contain_text("Step 2 of 10")
    expect(status(page)).to_contain_text("Guidance is on at this step")
    expect(pictures(page).last).to_have_attribute("alt", re.compile("Guidance: with the request"))
    unfold(page, "Settings")
    for name, typed in (("starts", "0"), ("ends", "100")):
        type_into(page, f"number input for Guidance {name} at (%)", typed)
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("0 to 100 %, covers steps 1 to 10")
    type_into(page, "Guidance scale", "1")
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("Guidance is off at every step: its scale is 1.")


def test_the_first_redrawing_is_another_digit(visit):
    """Would catch a start of the class and seed of its redrawing, a choice below the button that it decides, and a
    sketch that is lost."""
    page = visit()
    open_tab(page, "Edit")
    chosen = page.get_by_role("radio", checked=True).locator("visible=true")
    expect(chosen).to_have_count(2)
    assert [one.evaluate("e => e.closest('label').innerText.trim()") for one in chosen.all()] == ["3", "8"]
    assert (
        box(page.get_by_role("group", name="Start from").locator("visible=true"))[1]
        < (box(button(page, "Draw it on the sheet"))[1])
    )
    button(page, "Redraw").click()
    expect(pictures(page)).to_have_count(3)
    expect(status(page)).to_contain_text("forward passes")
    pixels = page.evaluate(
        """() => [...document.querySelectorAll('.t2d-picture img')].filter(e => e.offsetParent).map(image => {
            const canvas = new OffscreenCanvas(28, 28), context = canvas.getContext('2d');
            context.drawImage(image, 0, 0, 28, 28);
            return [...context.getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0);
        })"""
    )
    start, _, redrawn = torch.tensor(pixels).float() / 255
    assert (start - redrawn).abs().mean() > 0.04
    sheet = page.get_by_role("img", name="Your sketch").locator("visible=true")
    ink = "e => e.toDataURL()"
    before = sheet.evaluate(ink)
    button(page, "Draw it on the sheet").click()
    expect(status(page)).to_contain_text("It is on the sheet")
    expect(button(page, "Undo")).to_be_enabled()
    assert sheet.evaluate(ink) != before
    button(page, "Undo").click()
    assert sheet.evaluate(ink) == before
    expect(button(page, "Undo")).to_be_disabled()
    for _ in range(2):  # the second Clear changes nothing, so there is nothing to undo
        button(page, "Clear").click()
    button(page, "Undo").click()
    assert sheet.evaluate(ink) == before
    for typed in ("0.05", "0"):
        type_into(page, "number input for Noise added", typed)
        button(page, "Redraw").click()
        expect(status(page)).to_contain_text(f"stays as it is: {typed} of 10 steps is less than one step")


@pytest.mark.skipif("'text-mnist' not in __import__('text2digit.pipelines.loading', fromlist=['x']).shipped_names()")
def test_words_are_in_sight_and_silence_is_told(visit):
    """Would catch a page that hides that it draws words, ten boxes of noise for one prompt, pictures half as large as
    those of digits, and one digit of the model's own choice without a word."""
    page = visit()
    height = box(pictures(page).first)[3]
    button(page, "a thin five").click()
    button(page, "a thick slanted seven").click()  # which is still there
    expect(page.get_by_label("Prompts").locator("visible=true")).to_have_value("a thick slanted seven")
    expect(pictures(page)).to_have_count(1)
    expect(pictures(page).first).to_have_attribute("alt", "Noise that becomes: a thick slanted seven")
    page.get_by_label("Prompts").locator("visible=true").fill("a thin five\n2026\n7")
    expect(pictures(page)).to_have_count(3)
    button(page, "Draw").click()
    expect(status(page)).to_contain_text("3 images in")
    heights = [box(image)[3] for image in pictures(page).all()]
    assert min(heights) > 0.8 * height, (heights, height)
    for prompt, note in (("", "The prompt is empty"), ("hello", "hello: names no digit that the model knows")):
        page.get_by_label("Prompts").locator("visible=true").fill(prompt)
        button(page, "Draw").click()
        expect(status(page)).to_contain_text(note)
    expect(page.locator("figcaption").locator("visible=true")).to_have_text("hello")
    long = "굵은 " * 60 + "and " * 2000
    page.get_by_label("Prompts").locator("visible=true").fill(f"{long}\ntwo and then three and four or {long}")
    button(page, "Draw").click()
    expect(alert(page)).to_be_visible()
    assert len(alert(page).inner_text()) < 600
    expect(page.get_by_text("The images below are from before").locator("visible=true")).to_have_count(1)
    assert float(pictures(page).first.evaluate("e => getComputedStyle(e).opacity")) < 0.5
    assert page.evaluate("document.documentElement.scrollHeight") < 2000


def test_an_error_of_ours_is_told_in_words():
    """Would catch a red "Error" without a word, for a fault that nobody foresaw."""
    import gradio as gr

    from text2digit.gui.parts import Desk, Result, Shelf
    from text2digit.gui.words import Words

    with gr.Blocks(analytics_enabled=False):
        result = Result(Desk(None, Words("ko"), Shelf(), None), "x")
    told = result.error(OverflowError("<b>too</b> large " + "x" * 9000))[result.status]
    assert "OverflowError" in told and "앱의 문제입니다" in told and "<b>too" not in told and len(told) < 1000
    told = result.error(ValueError("scheduler: got 'x'"))[result.status]
    assert '<span lang="en">scheduler: got &#x27;x&#x27;</span>' in told
    said = set()
    for kind in (ValueError, FileNotFoundError, RuntimeError, NotImplementedError, OverflowError):
        told = result.error(kind("some English"))[result.status]
        korean = re.sub('<span lang="en">.*?</span>|<[^>]*>', "", told)
        assert "some English" in told and not re.search("[A-Za-z]", korean) and len(korean) > 60, korean
        said.add(korean)
    assert len(said) == 4


def test_without_javascript_the_page_says_so(browser, address):
    """Would catch a blank page."""
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    told = page.locator("body").inner_text()
    assert "Turn it on and load the page again." in told and "자바스크립트를 켠" in told
    page.context.close()


def test_the_training_tab_follows_the_model(visit):
    """Would catch the run of the model that was chosen before, when the tab is opened and while it is in sight."""
    if len(shipped_names()) < 3:
        pytest.skip("needs the weights that ship")
    page = visit()
    for i, name in enumerate(("dit-mnist", "text-mnist")):
        choose_model(page, name)
        if i == 0:
            open_tab(page, "Training")
        expect(status(page)).to_contain_text(f"{name}: step")
        expect(page.get_by_label("Run", exact=True).locator("visible=true")).to_have_value(name)


def test_a_korean_browser_gets_a_korean_page(visit, address):
    """Would catch an English page for a Korean browser, one marked as English, and English errors and charts on it."""
    page = visit(locale="ko-KR")
    page.wait_for_url("**/ko")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    unfold(page, "설정")
    type_into(page, "단계 수", "0")
    button(page, "그리기").click()
    expect(alert(page)).to_contain_text("단계 수: 1에서 1,000 사이의 정수를 넣어 주세요 (입력: 0).")
    assert not re.search("[A-Za-z]", alert(page).inner_text())
    open_tab(page, "학습")
    words = page.locator(".t2d-plots svg text").locator("visible=true")
    expect(words.first).to_be_visible()
    assert {word for word in words.all_text_contents() if re.search("[A-Za-z]{2}", word)} == set()
    page.get_by_role("link", name="English").click()  # who chooses English stays there
    expect(page.get_by_role("tab", name="Look inside")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def make_classes(folder, names):
    """A tiny pipeline with random weights, of classes with these names."""
    model = DigitUNet2DModel(
        block_out_channels=(16, 32), attention_head_dim=16, class_channels=None, num_classes=len(names)
    )
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    pipeline = ClassConditionedDigitPipeline(randomize(model), scheduler, id2label=dict(enumerate(names)))
    pipeline.register_to_config(default_num_inference_steps=2)
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    "names",
    [["only"], ["shoe", LONG_NAME], [chr(65 + i) for i in range(26)], [f"thing {i}" for i in range(1000)]],
    ids=lambda names: str(len(names)),
)
def test_any_number_of_classes(browser, tmp_path, names):
    """Would catch a page for ten digits: names that wrap within their box or run one letter a line, digits that are
    spoken of, and classes that cannot be chosen."""
    app = make_app(Studio(make_classes(tmp_path / "model", names), others=()))
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
    page = browser.new_context(viewport={"width": 390, "height": 900}).new_page()
    try:
        page.goto(app.local_url)
        page.get_by_role("tab").first.wait_for()
        settle(page)
        assert not re.search("digit", page.locator("main").inner_text().replace("text2digit", ""))
        expect(page.get_by_text("Classes", exact=True)).to_be_visible()
        button(page, "Draw").click()
        shown = len(names) if len(names) <= 40 else 10
        expect(status(page)).to_contain_text(re.compile(rf"{shown} images? in"))
        for label in page.locator(".t2d-classes label").locator("visible=true").all():
            lines = label.evaluate("e => e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight)")
            assert lines < (4 if len(label.inner_text()) > 20 else 2.5), (label.inner_text(), lines)
        if len(names) > 40:
            field = page.get_by_label("Classes").locator("visible=true").first
            field.fill("thing 777")
            page.get_by_role("option", name="thing 777").click()
            button(page, "Draw").click()
            expect(status(page)).to_contain_text("11 images in")
            expect(pictures(page).last).to_have_attribute("alt", "Drawn by the model: thing 777")
        for tab, name in (("Look inside", "Draw"), ("Edit", "Redraw")):
            open_tab(page, tab)
            button(page, name).click()
            expect(status(page)).to_contain_text(re.compile("log-SNR|forward pass"))
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        page.context.close()
        app.close()
