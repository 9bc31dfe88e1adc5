"""The page: its tabs in each language, its look, and how it is served."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from .compare import compare_tab
from .draw import draw_tab
from .edit import edit_tab
from .gate import Aside, Gate
from .inside import inside_tab
from .line import MOST_PLACES
from .parts import Desk, Shelf
from .studio import Studio
from .training import training_tab
from .words import LANGUAGES, Words

ASSETS = Path(__file__).parent / "assets"
# Fonts of the system alone: a web font would be fetched from elsewhere.
FONTS = ["system-ui", "Pretendard", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", "NanumGothic", "sans-serif"]
MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "D2Coding", "monospace"]
# Colours of the theme, in light and in dark: its own greys are too faint to read (contrast below 4.5 to 1), so are its
# boxes and fields (3 to 1) and the white on its blue, and its titles shout.
COLOURS = {
    "body_background_fill": ("*neutral_50", "*neutral_950"),
    "body_text_color_subdued": ("*neutral_600", "*neutral_300"),
    "block_info_text_color": ("*neutral_600", "*neutral_300"),
    "block_title_text_color": ("*body_text_color", "*body_text_color"),
    "button_primary_background_fill": ("*primary_600", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_700"),
    "checkbox_border_color": ("*neutral_500", "*neutral_200"),
    "checkbox_border_color_hover": ("*neutral_500", "*neutral_200"),
    "checkbox_label_background_fill_selected": ("*primary_700", "*primary_700"),
    "block_label_background_fill": ("transparent", "transparent"),
    "input_border_color": ("*neutral_500", "*neutral_400"),
    "block_label_text_color": ("*primary_700", None),
}
# Visitors whose fields and traces are remembered, 2 MB each at most 10; the longest away is forgotten first.
MOST_SESSIONS = 100
# Each drawing in the line takes a thread, and what is answered at once needs some too.
THREADS = MOST_PLACES + 32
# Seconds: how often downloads are cleared away, and how old they are then.
CLEAR_EVERY, CLEAR_AFTER = 600, 3600


def make_app(studio: Studio, language: str = "en", any_folder: bool = True) -> gr.Blocks:
    """The app, on one page for each language.

    Args:
        studio: the models.
        language: of the first page; the others are at /en and /ko.
        any_folder: let a visitor name any folder of this machine on the training page, which is right where the
            visitor is its owner, and wrong on a Space.
    """
    shelf = Shelf()
    with gr.Blocks(title="text2digit", analytics_enabled=False, delete_cache=(CLEAR_EVERY, CLEAR_AFTER)) as app:
        _page(studio, shelf, Words(language), any_folder, LANGUAGES[language])
    for other in LANGUAGES:
        if other != language:
            with app.route(LANGUAGES[other], other):
                _page(studio, shelf, Words(other), any_folder, LANGUAGES[language])
    app.queue(default_concurrency_limit=None)
    return app


def launch_options(hosts: Sequence[str] = (), language: str | None = None) -> dict[str, Any]:
    """Arguments of `launch` that make the page look and stay at home: no share link, no fonts or scripts of others.

    Args:
        hosts: names that visitors reach the app by, besides localhost. A Space's own name is added.
        language: of the first page, for every visitor; None is English, and a Korean browser goes on to /ko.
    """
    hosts = [*hosts, *filter(None, os.environ.get("SPACE_HOST", "").split(","))]
    pages = json.dumps({"all": list(LANGUAGES), "first": language or "en", "fixed": language is not None})
    style, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("frame.css", "page.js"))
    told = "".join(f'<p lang="{language}">{Words(language)("no_script")}</p>' for language in LANGUAGES)
    head = f"<style>{style}</style><script>{{ const pages = {pages};\n{script} }}</script>"
    fonts: dict[str, Any] = {"font": FONTS, "font_mono": MONO_FONTS}
    theme = gr.themes.Soft(primary_hue="blue", secondary_hue="blue", neutral_hue="slate", **fonts).set(
        button_secondary_background_fill_hover_dark="*neutral_600",
        block_title_text_weight="600",
        input_border_width="1px",
        block_shadow="none",
        **{name: light for name, (light, _) in COLOURS.items()},
        **{f"{name}_dark": dark for name, (_, dark) in COLOURS.items() if dark},
    )
    return {
        "theme": theme,
        "css_paths": [ASSETS / "style.css"],
        "head": head,
        "footer_links": [],  # Gradio's settings: its own languages, a recorder, and advice on `launch`
        "share": False,
        "ssr_mode": False,
        "run_history": False,
        "pwa": False,
        "show_error": False,
        "enable_monitoring": False,
        "max_file_size": 0,
        "state_session_capacity": MOST_SESSIONS,
        "max_threads": THREADS,
        "app_kwargs": {
            "lifespan": partial(_gated, hosts=hosts),
            "middleware": [Middleware(Aside, html=f"<noscript>{told}</noscript>")],
        },
    }


@asynccontextmanager
async def _gated(app: Any, hosts: Sequence[str]) -> AsyncIterator[None]:
    """Put the gate before all middleware: Gradio adds its own, which answers CORS, before any that `launch` takes."""
    app.middleware_stack = Gate(app.middleware_stack, hosts)
    yield


def _page(studio: Studio, shelf: Shelf, words: Words, any_folder: bool, first_page: str) -> None:
    gr.Navbar(main_page_name=first_page)
    with gr.Row(elem_classes="t2d-head", equal_height=False):
        tagline = words("tagline" if studio.draws_digits(studio.model) else "tagline_classes")
        gr.HTML(f"<h1>{words('title')}</h1><p>{tagline}</p>", elem_classes="t2d-title")
        model = gr.Dropdown(
            list(studio.models), value=studio.model, label=words("model"),
            scale=0, min_width=240, visible=len(studio.models) > 1,
        )  # fmt: skip
    desk = Desk(studio, words, shelf, model)
    tabs = {"draw": draw_tab, "inside": inside_tab, "compare": compare_tab, "edit": edit_tab}
    with gr.Tabs(overflow_behavior="wrap"):
        for name, build in tabs.items():
            with gr.Tab(words(name), id=name, elem_id=name):
                build(desk)
        with gr.Tab(words("training"), id="training", elem_id="training") as tab:
            training_tab(desk, tab, any_folder)
