"""One tab on the screen: the inputs its file draws, beside the stage that all tabs have alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.job import Job
from ui.examples import Example, build_examples
from ui.fields import Fields
from ui.i18n import word
from ui.presets import build_presets
from ui.restoring import build_restoring
from ui.running import make_runner
from ui.stage import Stage, build_bar, build_gallery
from ui.tab import Tab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager


@dataclass(frozen=True)
class View:
    """A tab as drawn."""

    tab: Tab
    fields: Fields
    stage: Stage
    copy_link: gr.Button
    """Copies a link with the settings of the picture that is looked at."""


def build_view(tab: Tab, manager: "PipelineManager", tasks: list[str], model: gr.Dropdown) -> View:
    """Draws one tab, whose requests name what is chosen in `model`, and binds its Generate and Stop."""
    fields = Fields(tab.request_class, manager)
    fields.add("model", model)
    with gr.Row(elem_classes=["workspace"]):
        with gr.Column(elem_classes=["controls"], scale=0, min_width=320):
            build_presets(fields)
            tab.build(fields)
            build_restoring(fields)
            generate, stop = build_bar()
        with gr.Column(elem_classes=["stage"], scale=1, min_width=320):
            with gr.Column(elem_classes=["idle"]) as idle:
                cards = build_examples(fields)
            canvas, gallery = gr.HTML(visible=False, elem_classes=["canvas-box"]), build_gallery()
            status = gr.HTML(elem_classes=["status-box"])
            facts = gr.HTML(visible=False, elem_classes=["facts-box"])
            actions, copy_link = _build_actions(tasks)
            stage = Stage(
                idle=idle,
                canvas=canvas,
                gallery=gallery,
                status=status,
                facts=facts,
                **actions,
                generate=generate,
                stop=stop,
                job=gr.State(None),
                outcome=gr.State(None),
                selected=gr.State(0),
            )
    view = View(tab, fields, stage, copy_link)
    _bind(view, manager, cards)
    return view


def _build_actions(tasks: list[str]) -> tuple[dict[str, Any], gr.Button]:
    """The row below finished pictures; its last button apart, for `ui/recipes.py`."""
    with gr.Row(visible=False, elem_classes=["actions"]) as actions:
        send_to = {task: gr.Button(word(f"button.send.{task}"), size="sm", min_width=120) for task in tasks}
        reuse_seed = gr.Button(word("button.reuse_seed"), size="sm", min_width=120)
        copy_link = gr.Button(word("button.copy_link"), size="sm", min_width=120)
    return {"actions": actions, "send_to": send_to, "reuse_seed": reuse_seed}, copy_link


def _bind(view: View, manager: "PipelineManager", cards: list[tuple[gr.Button, Example]]) -> None:
    stage, components = view.stage, view.fields.components
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    stage.generate.click(
        make_runner(manager, view.fields, stage),
        [stage.outcome, *components.values()],
        stage.outputs,
        preprocess=False,  # Gradio's own checks would answer before ours do
        concurrency_limit=None,
        trigger_mode="once",  # with the only event that draws: no stage ever has two runs
        show_progress="hidden",
        api_visibility="private",
    )
    stage.stop.click(stop_job, stage.job, stage.stop, **quiet)
    stage.gallery.select(selected_index, None, stage.selected, **quiet)
    stage.reuse_seed.click(first_seed, [stage.outcome, stage.selected], components["seed"], **quiet)
    for card, example in cards:
        filled = card.click(example.fill, None, [components[name] for name in example.fields()], **quiet)
        if "image" not in components:
            filled.then(None, js="() => window.studio.generate()", api_visibility="private")


def stop_job(job: Job | None) -> Any:
    """Asks the running job to end; its own stream then says that it has."""
    if job is not None:
        job.cancel()
    return gr.update(interactive=False)


def selected_index(event: gr.SelectData) -> int:
    """Which picture of the gallery is looked at."""
    return int(event.index)


def first_seed(outcome: dict[str, Any] | None, selected: int) -> Any:
    """The seed of the picture that is looked at."""
    return outcome["seeds"][selected] if outcome else gr.skip()
