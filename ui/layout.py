"""The whole page, from the one list of tabs, and how it is served."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.choosing import bind_choosing
from ui.endpoints import answer_wrong_names, bind_counting_api, bind_endpoints
from ui.header import NAME, build_header
from ui.i18n import make_i18n, word
from ui.keeping import bind_keeping, spoken_words
from ui.reading import bind_reading_api
from ui.sending import bind_sending
from ui.shapes import draw_aspects
from ui.studio_blocks import StudioBlocks
from ui.styles import build_style_table
from ui.tabs import TABS
from ui.theme import make_theme
from ui.view import build_view

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

FOLDER = Path(__file__).parent
KEEP_FILES_SECONDS = 24 * 60 * 60
"""Copies that browsers fetched; the output folder keeps its pictures."""
WAITING_EVENTS = 1000
"""Gradio's own queue only passes events on: who waits for the device is the engine's business."""


def build_app(manager: "PipelineManager") -> gr.Blocks:
    """The page and the API over `manager`; serve it with `launch(**launch_options())`."""
    with StudioBlocks(
        title=NAME, fill_width=True, analytics_enabled=False, delete_cache=(3600, KEEP_FILES_SECONDS)
    ) as app:
        with gr.Row(elem_classes=["wires"]):
            build_style_table(manager.styles)
        header = build_header(manager, app)
        model = header.choosing.model
        views, titles = {}, {}
        with gr.Tabs(elem_classes=["tasks"]) as tabs:
            for tab in TABS:
                with gr.Tab(word(f"tab.{tab.task}"), id=tab.task) as titles[tab.task]:
                    views[tab.task] = build_view(tab, manager, [other.task for other in TABS if other != tab], model)
        opened = bind_keeping(tabs, titles, views, app)
        bind_choosing(header.choosing, views, header.followers, manager, opened)
        bind_sending(tabs, views)
        bind_endpoints(manager, app)
        bind_counting_api(manager, app)
        bind_reading_api(manager, app)
    app.queue(api_open=False, max_size=WAITING_EVENTS, default_concurrency_limit=None, status_update_rate=2)
    return app


def launch_options(native_size: int) -> dict[str, Any]:
    """What `launch()` has to be told for the page to look and behave as meant."""
    scripts = "".join(f"<script>{file.read_text(encoding='utf-8')}</script>" for file in sorted(FOLDER.glob("*.js")))
    styles = "".join(file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.css")))
    return {
        "theme": make_theme(),
        "css": styles + draw_aspects(native_size),
        "head": spoken_words() + scripts,
        "i18n": make_i18n(),
        "app_kwargs": {"exception_handlers": {TypeError: answer_wrong_names}},
        "footer_links": ["api"],
        "run_history": False,
        "show_error": True,
        "max_file_size": "32mb",
        "max_threads": 64,
        "ssr_mode": False,
        "enable_monitoring": False,
    }
