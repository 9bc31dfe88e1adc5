"""What the page looks like in a browser: to the eye, to a keyboard and to a screen reader, on a desk and on a phone."""

import re
from pathlib import Path

import pytest

# ruff: noqa: F811 (fixtures are imported by name)
from text2digit.gui.plots import loss_by_time_plot
from text2digit.gui.words import Words

from .browsing import (  # noqa: F401
    PATIENCE_MS,
    address,
    browser,
    button,
    expect,
    open_tab,
    pictures,
    pytestmark,
    settle,
    status,
    unfold,
    visit,
)

axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python, of the extra test")
AXE = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TABS = {
    "en": ("Draw", "Look inside", "Compare", "Edit", "Training"),
    "ko": ("그리기", "들여다보기", "비교", "고쳐 그리기", "학습"),
}
# Levels A and AA, and what axe advises besides.
OPTIONS = """{
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}"""
# Relative luminance and contrast as WCAG 2 defines them; of the colour behind an element, through what is transparent.
CONTRAST = """
(() => {
  const rgb = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(srgb") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const light = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(colour).slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  window.behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (rgb(colour)[3] > 0.5) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  window.contrast = (one, other) => {
    const [a, b] = [light(one), light(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
})()
"""


def complaints_of_axe(page):
    """Rules that the page breaks, each with the first element that breaks it."""
    page.evaluate(f"window.axe || (() => {{ {AXE} }})()")
    found = page.evaluate(f"axe.run(document, {OPTIONS})")["violations"]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]} {rule['nodes'][0]['failureSummary']}" for rule in found]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_axe_finds_nothing(visit, language):
    """Would catch text too faint to read, a heading that is skipped, and a field without a name, in any tab, theme,
    language or width, with results and settings in sight and after an error."""
    page = visit(language if language == "ko" else "", reduced_motion="reduce")
    for name in TABS[language]:
        open_tab(page, name)
        if name != TABS[language][-1]:
            page.locator("button.primary").locator("visible=true").click()
            expect(page.locator(".t2d-take").locator("visible=true")).to_be_visible()
        folds = page.locator("button.label-wrap").locator("visible=true")
        for i in range(folds.count()):
            if folds.nth(i).get_attribute("aria-expanded") == "false":
                folds.nth(i).click()
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for dark in (True, False):
                page.evaluate(f"document.body.classList.toggle('dark', {str(dark).lower()})")
                settle(page)
                assert complaints_of_axe(page) == [], (name, width, dark)
    open_tab(page, TABS[language][0])
    page.get_by_role("spinbutton").locator("visible=true").first.fill("0")
    page.locator("button.primary").locator("visible=true").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_be_visible()
    assert complaints_of_axe(page) == []


def test_tabs_follow_the_pattern_of_aria(visit):
    """Would catch tabs that the arrow keys do not move along, or that are one stop each on the way of the Tab key."""
    page = visit()
    tabs = page.locator("[role=tablist]").first.get_by_role("tab")
    tabs.first.focus()
    for key, name in (
        ("ArrowRight", "Look inside"),
        ("ArrowLeft", "Draw"),
        ("ArrowLeft", "Training"),
        ("Home", "Draw"),
    ):
        page.keyboard.press(key)
        chosen = page.get_by_role("tab", name=name, exact=True)
        expect(chosen).to_be_focused()
        expect(chosen).to_have_attribute("aria-selected", "true")
        panel = page.locator(f"#{chosen.get_attribute('aria-controls')}")
        expect(panel).to_be_visible()
        expect(panel).to_have_attribute("aria-labelledby", str(chosen.get_attribute("id")))
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Training")).to_be_focused()
    assert tabs.evaluate_all("tabs => tabs.map(t => t.tabIndex)") == [-1, -1, -1, -1, 0]
    fold = page.locator("button.label-wrap").first
    expect(fold).to_have_attribute("aria-expanded", re.compile("true|false"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_is_seen(visit, scheme):
    """Would catch a field, box, tab or sheet that shows by 6 of 255 levels that it has the focus."""
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(CONTRAST)
    seen = set()
    for name in ("Draw", "Edit"):
        open_tab(page, name)
        page.get_by_role("tab", name=name, exact=True).focus()
        for _ in range(14):
            page.keyboard.press("Tab")
            settle(page)
            kind, width, ratio = page.evaluate(
                """() => {
                    const element = document.activeElement, box = ["checkbox", "radio"].includes(element.type);
                    const ring = box ? element.closest("label") : element;
                    const style = getComputedStyle(ring);
                    const kind = element.type || element.tagName;
                    return [kind, parseFloat(style.outlineWidth) * (style.outlineStyle !== "none"),
                            contrast(style.outlineColor, behind(ring.parentElement))];
                }"""
            )
            assert width >= 2 and ratio >= 3, (name, kind, width, ratio)
            seen.add(kind)
    assert seen >= {"checkbox", "radio", "button", "CANVAS", "number"}


def test_boxes_and_charts_are_seen(visit):
    """Would catch radios almost white on white, and chart labels that are black on near-black."""
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        page.evaluate(CONTRAST)
        open_tab(page, "Look inside")
        button(page, "Draw").click()
        expect(page.locator(".t2d-plots svg").locator("visible=true")).to_have_count(3)
        ratios = page.evaluate(
            "[...document.querySelectorAll('.t2d-plots svg text')]"
            ".map(e => contrast(getComputedStyle(e).fill, behind(e)))"
        )
        assert len(ratios) > 20 and min(ratios) >= 4.5
        ratios = page.evaluate(
            "[...document.querySelectorAll('input[type=radio]:not(:checked), input[type=checkbox]:not(:checked)')]"
            ".filter(e => e.offsetParent).map(e => contrast(getComputedStyle(e).borderColor, behind(e.parentElement)))"
        )
        assert len(ratios) == 9 and min(ratios) >= 3


def box(locator):
    """Left, top, width and height in whole pixels."""
    found = locator.bounding_box()
    return [round(found[name]) for name in ("x", "y", "width", "height")]


def test_settings_and_results_line_up(visit):
    """Would catch results that stand beside the settings that made them, fields at three heights, two Settings."""
    page = visit()
    open_tab(page, "Compare")
    page.get_by_role("radio", name="4").locator("visible=true").last.check()
    button(page, "Draw side by side").click()
    expect(status(page)).to_contain_text("4 ways")
    expect(page.locator("figure").locator("visible=true")).to_have_count(4)
    columns = [box(column) for column in page.locator(".t2d-column").locator("visible=true").all()]
    results = [box(figure) for figure in page.locator("figure").locator("visible=true").all()]
    assert len(columns) == len(results) == 4
    for column, result in zip(columns, results, strict=True):
        assert abs(column[0] - result[0]) <= 2 and abs(column[2] - result[2]) <= 2, (columns, results)
    assert len({result[1] for result in results}) == 1
    open_tab(page, "Draw")
    unfold(page, "Settings")
    fields = [page.get_by_label(name, exact=True).locator("visible=true").first for name in ("Steps", "Guidance scale")]
    assert len({box(field)[1] for field in fields}) == 1
    # One thing of this name: Gradio's own would offer its languages, a recorder and advice on launch().
    expect(page.get_by_text("Settings", exact=True).locator("visible=true")).to_have_count(1)


def test_a_phone_reaches_everything(visit):
    """Would catch tabs that hide behind a menu, a page that is pushed sideways, and a title below its buttons."""
    page = visit(width=390, has_touch=True)
    for name in TABS["en"]:
        tab = page.get_by_role("tab", name=name, exact=True)
        tab.tap()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    page.get_by_role("tab", name="Draw", exact=True).tap()
    button(page, "Draw").tap()
    unfold(page, "Take it with you")
    row = page.locator(".t2d-code p").locator("visible=true")
    title = row.evaluate(
        "e => { const range = document.createRange(); range.selectNode(e.firstChild);"
        " return range.getBoundingClientRect().right; }"
    )
    assert title <= box(row.get_by_role("button"))[0]


def test_every_line_of_a_chart_is_seen():
    """Would catch a line that is drawn so pale that it is invisible on the page's ground, in light or in dark."""
    lines = [{"step": i, "loss": 1 / i, "loss_by_time": [i / (10 + k) for k in range(10)]} for i in range(1, 9)]
    svg = loss_by_time_plot(lines, Words("en"))
    curves = re.findall(r'<path d="[^"]*" clip-path="[^"]*" style="([^"]*)"', svg)
    curves = [style for style in curves if "#b0b0b0" not in style]  # the grid, which nobody needs
    assert len(curves) == 5

    def light(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
        return sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for style in curves:
        colour = [int(style.split("#")[1][i : i + 2], 16) / 255 for i in (0, 2, 4)]
        opacity = float((re.findall(r"stroke-opacity: ([\d.]+)", style) or [1])[0])
        for ground in ((1, 1, 1), (2 / 255, 6 / 255, 23 / 255)):
            seen = light([opacity * a + (1 - opacity) * b for a, b in zip(colour, ground, strict=True)])
            levels = sorted([seen, light(ground)])
            assert (levels[1] + 0.05) / (levels[0] + 0.05) >= 3, (style, ground)
