"""A model chosen for the whole page: what each tab takes over, and what there is to choose."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipelines.schema.models import AddOn, ModelEntry
from pipelines.schema.requests import REQUESTS
from pipelines.schema.status import LoadedComponent, Status
from tests.ui.fake_manager import FakeManager, FakeRefused
from tests.ui.handlers import find_handler
from ui.about import describe_rescan, known_names, show_found, show_loaded
from ui.choosing import list_models, parts_taken_over, show_note, show_quality, values_taken_over
from ui.fields import Fields
from ui.framing import BOXES
from ui.layout import build_app
from ui.refiner import fitting_refiners, list_refiners, plan_of

Draw = Callable[[str], Fields]
NO_ROWS = {"rows": []}
CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})


def taken_over(fields: Fields, name: str, rows: dict[str, Any] | None = NO_ROWS) -> dict[str, Any]:
    """What each input shows once a model was chosen, by field."""
    view: Any = SimpleNamespace(fields=fields)
    by_part = {id(part): field for field, part in fields.components.items()}
    values = values_taken_over(view, fields.find_model(name), rows, "en")
    return dict(zip((by_part[id(part)] for part in parts_taken_over(view)), values, strict=True))


def test_models_are_listed_with_their_size_and_what_should_be_known_before(manager: Any) -> None:
    assert [label for label, _ in list_models(manager, "en")] == [
        "Studio demo · 256 px",
        "Big model · 1024 px · to be downloaded",
        "Fast model · 512 px",
        "Filler · 1024 px · inpainting only",
    ]
    assert list_models(manager, "zh-CN")[1][0] == "Big model · 1024 px · 需下载"


def test_the_studios_own_model_is_listed_whatever_may_be_chosen(manager: Any) -> None:
    del manager.library.checkpoints["demo"]
    assert list_models(manager, "en")[0][1] == "demo"


def test_a_model_brings_its_own_settings_and_size(draw: Draw) -> None:
    fields = draw("text_to_image")
    fast = taken_over(fields, "fast")
    assert (fast["num_inference_steps"], fast["guidance_scale"], fast["timestep_spacing"]) == (4, 1.0, "trailing")
    assert (fast["width"], fast["height"]) == ("512", "512")
    big = taken_over(fields, "big")
    assert (big["num_inference_steps"], big["guidance_scale"], big["timestep_spacing"]) == (30, 7.0, "default")


def test_the_size_of_a_picture_task_still_follows_the_picture(draw: Draw) -> None:
    assert taken_over(draw("inpaint"), "fast")["width"] == ""


def test_a_distilled_base_does_not_take_the_refiners_steps(draw: Draw) -> None:
    assert taken_over(draw("refine"), "fast")["num_inference_steps"] == 30
    assert taken_over(draw("refine"), "demo")["num_inference_steps"] == 20


def test_a_framing_in_numbers_of_another_models_size_goes_back_to_the_whole_picture(draw: Draw) -> None:
    for task in REQUESTS:
        filled = taken_over(draw(task), "big", None if task == "refine" else NO_ROWS)
        assert {name: value for name in BOXES if (value := filled[name])} == {"crops_coords_top_left": "0, 0"}


def offered(fields: Fields, name: str, model: str) -> list[str]:
    """The labels of a list while a model is chosen."""
    (show,) = [show for part, show in fields.followers if part is fields.components[name]]
    return [str(label) for label, _ in show(fields.find_model(model), "en")["choices"][1:]]


def test_lists_mark_what_is_to_be_downloaded_and_leave_out_what_cannot_fit(draw: Draw, manager: FakeManager) -> None:
    manager.library.add_ons["far"] = AddOn(name="far", title="Far VAE", source="someone/far", kind="vae")
    manager.library.checkpoints["far"] = ModelEntry(name="far", title="Far", source="someone/far", kind="refiner")
    fields = draw("text_to_image")
    assert offered(fields, "vae", "big") == ["Clear VAE", "Far VAE · to be downloaded"]
    assert offered(fields, "vae", "demo") == ["Clear VAE"]
    assert offered(fields, "refiner", "big") == ["Far · to be downloaded"]


def test_a_lora_that_cannot_fit_the_chosen_model_goes(draw: Draw, manager: FakeManager) -> None:
    few_steps = {"num_inference_steps": 4}
    hub = AddOn(name="hub", title="Hub", source="someone/hub", kind="lora", defaults=few_steps)
    manager.library.add_ons["hub"] = hub
    rows = {"rows": [{"name": "hub", "weight": 1}, {"name": "ink", "weight": 0.5}]}
    fields = draw("text_to_image")
    stays, goes = taken_over(fields, "big", rows), taken_over(fields, "demo", rows)
    assert (stays["loras"], stays["num_inference_steps"]) == (gr.skip(), 4)
    assert (goes["loras"]["rows"], goes["num_inference_steps"]) == ([{"name": "ink", "weight": 0.5}], 20)


def test_loras_that_stay_chosen_keep_their_settings(draw: Draw) -> None:
    rows = {"rows": [{"name": "four-steps", "weight": 1}]}
    fields = draw("text_to_image")
    assert taken_over(fields, "big", rows)["num_inference_steps"] == 4
    levels = show_quality(SimpleNamespace(fields=fields), fields.find_model("big"), rows)["choices"]  # type: ignore[arg-type]
    assert "4 euler trailing default default" in [value for _, value in levels]


def test_an_unknown_name_means_the_studios_own_model(draw: Draw) -> None:
    fields = draw("text_to_image")
    for name in ("nowhere", None, ["demo"]):
        assert fields.find_model(name).name == "demo"


@pytest.mark.parametrize("task", list(REQUESTS))
def test_what_follows_the_model_can_be_shown_for_each(draw: Draw, manager: FakeManager, task: str) -> None:
    for model in manager.library.checkpoints.values():
        for _, show in draw(task).followers:
            json.dumps(show(model, "zh-CN"), default=str)


def test_sizes_and_framings_are_those_of_the_model(draw: Draw, manager: FakeManager) -> None:
    fields = draw("text_to_image")
    shown = " ".join(str(show(manager.library.checkpoints["big"], "en")) for _, show in fields.followers)
    assert "1024x1024" in shown
    assert "256, 256" in shown, "a quarter of it"


def test_only_refiners_of_the_models_size_are_offered(draw: Draw, manager: FakeManager) -> None:
    fields, models = draw("text_to_image"), manager.library.checkpoints
    assert list_refiners(fields, models["demo"], "en") == [("Studio demo refiner", "")], "its own needs no name"
    assert list_refiners(fields, models["big"], "en") == [("Big refiner", "big-refiner")]
    assert fitting_refiners(fields, models["fast"]) == []
    (show,) = [show for part, show in fields.followers if isinstance(part, gr.Accordion)]
    assert [show(models[name], "en")["visible"] for name in ("demo", "big", "fast")] == [True, True, False]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"denoising_end": 1}, ""),
        ({"denoising_end": 0.8, "num_inference_steps": 30}, "<p>Steps: 24 + 6 by the refiner</p>"),
        ({"denoising_end": 0.05, "num_inference_steps": 2}, "<p>denoising_end must leave the base at least one step"),
        ({"denoising_end": 0.5, "num_inference_steps": 900}, "<p>num_inference_steps must be at most 150"),
    ],
)
def test_the_steps_of_both_experts_are_told_before(draw: Draw, values: dict[str, Any], sentence: str) -> None:
    for task in ("text_to_image", "inpaint"):
        assert plan_of(draw(task), values, "en").startswith(sentence)


def test_a_note_says_what_a_model_cannot_do_or_must_do_first(manager: Any) -> None:
    notes = {name: show_note(manager, model, "en") for name, model in manager.library.checkpoints.items()}
    assert "Inpaint tab only" in notes["filler"]
    assert "downloaded" in notes["big"]
    assert "Licence: Open." in notes["big"], "it is read before the download, not after it"
    assert notes["demo"] == notes["fast"] == ""


def test_a_rescan_says_what_came_what_went_and_what_cannot_be_used(manager: Any) -> None:
    manager.library.next_add_ons = {"fresh": AddOn(name="fresh", title="fresh", source="/f", kind="lora")}
    manager.library.next_refused = (FakeRefused("loras/<old>.safetensors", "it is an SD 1.5 LoRA"),)
    before = known_names(manager)
    manager.rescan()
    del manager.library.add_ons["clear"]
    sentence = describe_rescan(before, known_names(manager), "en")
    assert sentence == "New: fresh. Gone: clear."
    found = show_found(manager, "en", sentence)
    for part in (sentence, "LoRAs 4", "VAEs 0", "loras/&lt;old&gt;.safetensors", "it is an SD 1.5 LoRA"):
        assert part in found
    again = known_names(manager)
    assert describe_rescan(again, again, "en") == "The folders were read again: nothing new."


def test_a_file_that_went_is_told_though_it_could_no_longer_be_chosen(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "choices", lambda kind: [])
    before = known_names(manager)
    del manager.library.checkpoints["fast"]
    assert describe_rescan(before, known_names(manager), "en") == "Gone: fast."


def test_what_is_loaded_is_told_with_its_place_and_size() -> None:
    parts = (
        LoadedComponent("unet", "SDXL <base>", 5_135_000_000, "cuda:0", "float16"),
        LoadedComponent("vae", "SDXL base", 335_000_000, "cpu", "float32"),
    )
    status = Status("SDXL base", "cuda", "Some GPU", "float16", "model", parts, queued=0, running=0)
    shown = show_loaded(status, "en")
    for part in ("SDXL &lt;base&gt;", "5.1 GB", "335 MB", "5.5 GB in all", "cuda:0", "float16", "One part at a time"):
        assert part in shown


def test_the_choice_fills_the_model_of_every_tabs_request_and_changes_nothing_for_others(manager: Any) -> None:
    app = build_app(manager)
    (box,) = [part for part in app.blocks.values() if "model-box" in (getattr(part, "elem_classes", None) or [])]
    draws = [fn for fn in app.fns.values() if fn.queue and fn.trigger_mode == "once" and fn.outputs[3:4]]
    runs = [fn for fn in draws if any(getattr(part, "elem_classes", None) == ["canvas-box"] for part in fn.outputs)]
    assert len(runs) == len(REQUESTS)
    assert all(box in fn.inputs for fn in runs)
    chooses: Any = find_handler(box, "input").fn
    filled = chooses(CLIENT, "fast", NO_ROWS, NO_ROWS, NO_ROWS)
    assert len(filled) == len(find_handler(box, "input").outputs)
    assert manager.model.name == "demo"
