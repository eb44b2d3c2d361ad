"""Settings read back from pictures and texts of any program, which may name what this studio does not have."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from pipelines.media.metadata import make_text_chunks
from pipelines.schema.models import AddOn
from pipelines.schema.requests import ImageToImageRequest, TextToImageRequest, make_request
from tests.media import samples
from tests.ui.fake_manager import FakeManager
from tests.ui.handlers import find_page
from ui.fields import Fields
from ui.known import Missed, find_names
from ui.names import Shelf
from ui.restoring import build_restoring

Draw = Callable[[str], Fields]
CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})
SKIPPED = {"__type__": "update"}
FORGE = (
    "a <fox> <lora:ink:0.5>\nNegative prompt: blur\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
    "Seed: 5, Size: 832x1216, Model: Fast_Model.safetensors [abc], Clip skip: 2, Hires upscaler: <Latent>, "
    "Version: f2.0.1v1.10.1"
)


def as_upload(path: Path) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def write_picture(path: Path, model: str = "demo", **values: Any) -> dict[str, Any]:
    """A picture of ours with its settings inside, as an upload."""
    request = make_request(TextToImageRequest, {"width": 64, "height": 64, **values})
    Image.new("RGB", (64, 64)).save(path, pnginfo=make_text_chunks(request, seed=7, model=model))
    return as_upload(path)


def write_chunks(path: Path, **texts: str) -> dict[str, Any]:
    """A stranger's picture, as an upload."""
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    Image.new("RGB", (64, 64)).save(path, pnginfo=chunks)
    return as_upload(path)


class Tab:
    """A drawn tab: what its inputs show, and its three ways to fill them."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.page = find_page(fields.components["seed"])
        self.by_id = {part._id: name for name, part in fields.components.items()}
        self.shown = {name: part.value for name, part in fields.components.items()}  # type: ignore[attr-defined]
        self.note = ""
        self.told: dict[str, Any] = {}
        self.kept: Any = None

    def restore(self, upload: Any) -> dict[str, Any]:
        """Fills the tab from an upload; gives back what changed."""
        functions = [found for found in self.page.fns.values() if any(event == "upload" for _, event in found.targets)]
        (handler, _) = [function for function in functions if len(function.outputs) > 10]
        return self._run(handler, upload)

    def paste(self, text: str) -> dict[str, Any]:
        return self._run(self._find("restore_text"), text)

    def undo(self) -> dict[str, Any]:
        return self._run(self._find("put_back"), self.kept)

    def _find(self, name: str) -> Any:
        (found,) = [function for function in self.page.fns.values() if getattr(function.fn, "__name__", "") == name]
        return found

    def _run(self, function: Any, first: Any) -> dict[str, Any]:
        names = [self.by_id[part._id] for part in function.inputs[1:]]
        answers = function.fn(CLIENT, first, *(self.shown[name] for name in names))
        _, note, kept, self.told, _, *updates = answers
        self.note = self.note if note == SKIPPED else note
        self.kept = self.kept if kept == SKIPPED else kept
        given = dict(zip((self.by_id[part._id] for part in function.outputs[5:]), updates, strict=True))
        changed = {name: update for name, update in given.items() if update != SKIPPED}
        values = {name: part.get("value", part) if isinstance(part, dict) else part for name, part in changed.items()}
        self.shown |= values
        return values


def draw_tab(draw: Draw, task: str) -> Tab:
    fields = draw(task)
    with find_page(fields.components["seed"]):
        build_restoring(fields)
    return Tab(fields)


@pytest.fixture
def tab(draw: Draw) -> Tab:
    return draw_tab(draw, "text_to_image")


def test_every_setting_of_ours_comes_back(tab: Tab, tmp_path: Path) -> None:
    upload = write_picture(
        tmp_path / "a.png", model="fast", prompt="a fox", vae="clear", sigmas="karras", clip_skip=2,
        loras=[{"name": "ink", "weight": 0.5}], negative_original_size=[32, 32], styles=["pencil"],
    )  # fmt: skip
    tab.fields.manager.styles["pencil"] = next(iter(tab.fields.manager.styles.values()))
    filled = tab.restore(upload)
    assert tab.told["sentence"].startswith("Read from SDXL Studio: ")
    assert "Not taken over" not in tab.note
    assert filled["model"] == "fast"
    assert (filled["prompt"], filled["vae"], filled["sigmas"], filled["clip_skip"]) == ("a fox", "clear", "karras", 2)
    assert filled["loras"] == {"rows": [{"name": "ink", "weight": 0.5}], "turned": []}
    assert filled["negative_original_size"] == "32, 32"
    assert tab.fields.read([filled["styles"]], ["styles"]) == {"styles": ["pencil"]}


def test_settings_with_loras_fill_a_tab_that_has_none(draw: Draw, tmp_path: Path) -> None:
    tab = draw_tab(draw, "refine")
    loras = [{"name": "ink", "weight": 0.5}, {"name": "lost-lora", "weight": 1}]
    filled = tab.restore(write_picture(tmp_path / "a.png", prompt="a fox", prompt_2="a hill", loras=loras))
    assert "Not taken over" not in tab.note, "what the tab does not use is not missed"
    assert filled["prompt"] == "a fox"
    assert not {"loras", "prompt_2"} & set(filled)


def test_what_is_not_there_is_named_and_the_rest_is_filled_in(tab: Tab, tmp_path: Path) -> None:
    loras = [{"name": "ink", "weight": 0.5}, {"name": "lost-lora", "weight": 1}]
    upload = write_picture(tmp_path / "a.png", model="<lost>", prompt="a fox", vae="lost-vae", loras=loras)
    filled = tab.restore(upload)
    assert "<p>Not taken over: 3.</p>" in tab.note
    assert "<li>Model: &lt;lost&gt; is not in this studio</li>" in tab.note
    assert "<li>VAE: lost-vae is not in this studio</li><li>LoRA: lost-lora is not in this studio</li>" in tab.note
    assert tab.told["sentence"].endswith(" Not taken over: 3.")
    assert filled["prompt"] == "a fox"
    assert [row["name"] for row in filled["loras"]["rows"]] == ["ink"]
    assert "model" not in filled, "the chosen one stays"
    assert filled["vae"] == "", "the model's own"


def test_a_picture_without_settings_is_answered_where_it_was_put_in(tab: Tab, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    assert tab.restore(as_upload(tmp_path / "bare.png")) == {}
    assert "file must hold settings of this studio, AUTOMATIC1111, Forge, Fooocus or ComfyUI" in tab.told["wrong"]
    assert "undo" not in tab.told
    assert tab.restore(None) == {}
    assert "file must be a file that exists" in tab.told["wrong"]


def test_a_picture_without_settings_leaves_the_way_back_from_the_one_before(tab: Tab, tmp_path: Path) -> None:
    tab.shown["prompt"] = "mine"
    tab.paste(FORGE)
    note = tab.note
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    tab.restore(as_upload(tmp_path / "bare.png"))
    assert tab.note == note
    assert tab.undo()["prompt"] == "mine"


def test_a_picture_of_forge_fills_the_tab_and_what_has_no_counterpart_is_listed(tab: Tab, tmp_path: Path) -> None:
    filled = tab.restore(write_chunks(tmp_path / "a.png", parameters=FORGE))
    assert "<p>Read from Forge: 13 settings.</p><p>The model is Fast model now.</p>" in tab.note
    assert "<p>Not taken over: 1.</p><ul><li>Hires upscaler: &lt;Latent&gt;</li></ul>" in tab.note
    assert tab.told["more"]
    expected = {
        "prompt": "a <fox> <lora:ink:0.5>", "negative_prompt": "blur", "num_inference_steps": 20, "guidance_scale": 7.0,
        "scheduler": "dpmpp_2m", "sigmas": "karras", "width": 832, "height": 1216, "seed": 5, "model": "fast",
        "clip_skip": 0,
    }  # fmt: skip
    assert {name: filled[name] for name in expected} == expected


def test_what_a_program_leaves_unsaid_goes_back_to_its_default(tab: Tab) -> None:
    tab.shown |= {
        "offset_noise": 0.1,
        "denoising_end": 0.5,
        "sigmas": "beta",
        "num_images_per_prompt": 4,
        "clip_skip": 3,
    }
    filled = tab.paste("a fox\nSteps: 20, Sampler: Euler a, Seed: 5, Version: v1.10.1")
    assert (filled["offset_noise"], filled["denoising_end"], filled["clip_skip"]) == (0.0, 1.0, 0)
    assert (filled["scheduler"], filled["sigmas"]) == ("euler_ancestral", "default")
    assert not {"num_images_per_prompt", "width", "guidance_scale", "model"} & set(filled)


def test_a_pasted_infotext_leaves_only_the_prompt_in_its_box(tab: Tab) -> None:
    filled = tab.paste(FORGE)
    assert filled["prompt"] == "a <fox> <lora:ink:0.5>"
    assert "Read from Forge: 13 settings." in tab.told["sentence"]


def test_a_pasted_text_that_cannot_be_read_stays_a_prompt(tab: Tab) -> None:
    tab.shown["prompt"] = "before"
    assert tab.paste("only words") == {"prompt": "only words"}
    assert "prompt must be an infotext" in tab.told["wrong"]
    assert tab.told["undo"]
    assert tab.undo() == {"prompt": "before"}


def test_undo_puts_back_what_was_there_before(tab: Tab) -> None:
    tab.shown |= {"prompt": "mine", "seed": "12", "sigmas": "karras", "clip_skip": 1}
    before = dict(tab.shown)
    tab.paste(FORGE)
    assert tab.shown["prompt"] != "mine"
    tab.undo()
    assert tab.shown == before
    assert tab.note == ""
    assert tab.told == {"task": "text_to_image", "sentence": "The settings are as before."}


def test_undo_leaves_alone_what_was_not_filled_in(tab: Tab) -> None:
    tab.paste("a fox\nSteps: 20, Sampler: Euler a, Version: v1.10.1")
    tab.shown["guidance_scale"] = 9
    assert "guidance_scale" not in tab.undo()


def test_another_tasks_own_fields_are_left_alone(draw: Draw) -> None:
    tab = draw_tab(draw, "inpaint")
    filled = tab.paste("a fox\nSteps: 20, Sampler: Euler, Denoising strength: 0.3, Size: 512x512")
    assert filled["prompt"] == "a fox"
    assert "strength" not in filled
    assert "It was drawn as “Image to image”" in tab.told["sentence"]
    assert "<li>Strength: 0.3</li>" in tab.note
    filled = tab.paste(
        "a fox\nSteps: 20, Sampler: Euler, Denoising strength: 0.3, Mask blur: 4, Inpaint area: Only masked"
    )
    assert (filled["strength"], filled["inpaint_area"]) == (0.3, "masked")
    assert "It was drawn" not in tab.told["sentence"]


def test_what_another_task_leaves_at_its_default_is_not_missed(tab: Tab, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "start.png")
    values = {"prompt": "a fox", "image": tmp_path / "start.png", "resize_mode": "pad"}
    request = make_request(ImageToImageRequest, {**values, "width": 64, "height": 64})
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=make_text_chunks(request, seed=7, model="demo"))
    assert tab.restore(as_upload(tmp_path / "a.png"))["prompt"] == "a fox"
    assert "<p>Not taken over: 1.</p><ul><li>Fit the picture by: Pad</li></ul>" in tab.note


TAGGED = (
    "a fox, <lora:add_detail:0.8>, <LYCO:lost:1> sharp <lora:Paper Cut:0.5> <lora:far:1>\n"
    "Negative prompt: <lora:add_detail:1>\nSteps: 20, Sampler: Euler a, Version: v1.10.1"
)


def test_tags_of_loras_that_are_not_here_are_taken_out_and_listed(tab: Tab, manager: FakeManager) -> None:
    far = AddOn(name="far", title="Far away", source="someone/far", kind="lora")
    manager.library.add_ons["far"] = far
    tab.shown |= {"prompt": "mine", "model": "fast"}
    filled = tab.paste(TAGGED)
    assert filled["prompt"] == "a fox, sharp <lora:paper:0.5>", "tags that stay name LoRAs as they are called here"
    assert filled["negative_prompt"] == ""
    for said in ("add_detail is not in this studio", "lost is not in this studio", "Far away is not downloaded yet"):
        assert f"<li>LoRA: {said}" in tab.note
    assert tab.note.count("; its tag was taken out of the prompt</li>") == 4
    assert tab.undo()["prompt"] == "mine"


def test_compels_calls_of_loras_are_taken_out_where_they_are_calls(manager: FakeManager) -> None:
    values = {"prompt": "a fox++ withLora(lost, 0.5) useLora(ink)"}
    found, missed = find_names(manager, values, manager.model)  # type: ignore[arg-type]
    assert found == {"prompt": "a fox++ useLora(ink)"}
    assert missed == [Missed("prompt", "lost", "not_here", is_tag=True)]
    as_text = values | {"prompt_syntax": "a1111"}
    assert find_names(manager, as_text, manager.model) == (as_text, [])  # type: ignore[arg-type]


def test_tags_are_taken_out_of_the_longest_prompts_at_once(manager: FakeManager) -> None:
    prompt = "".join(f"<lora:a{number}:1> ," for number in range(1300)) + " " * 2000
    started = time.process_time()
    found, missed = find_names(manager, {"prompt": prompt}, manager.model)  # type: ignore[arg-type]
    assert found == {"prompt": ""}
    assert len(missed) == 1300
    assert time.process_time() - started < 1


def test_what_would_have_to_be_downloaded_is_not_taken_over(tab: Tab, manager: FakeManager, tmp_path: Path) -> None:
    add_ons = manager.library.add_ons
    add_ons["far"] = AddOn(name="far", title="Far away", source="someone/far", kind="vae")
    filled = tab.restore(write_picture(tmp_path / "a.png", model="big", prompt="a fox", vae="far"))
    assert "model" not in filled
    assert filled["vae"] == ""
    assert "<li>Model: Big model is not downloaded yet; choose it by hand to download it</li>" in tab.note
    assert "<li>VAE: Far away is not downloaded yet" in tab.note
    assert "The model is" not in tab.note
    tab.shown["model"] = "big"
    tab.restore(write_picture(tmp_path / "a.png", model="big", prompt="a fox"))
    assert "Not taken over" not in tab.note, "who has chosen it knows"


def test_a_share_of_the_refiner_needs_one_on_this_disk(manager: FakeManager) -> None:
    values = {"model": "fast", "denoising_end": 0.8}
    assert find_names(manager, values, manager.model) == (  # type: ignore[arg-type]
        {"model": "fast"}, [Missed("denoising_end", "0.8", "no_refiner")]
    )  # fmt: skip
    values = {"model": "demo", "denoising_end": 0.8}
    assert find_names(manager, values, manager.model) == (values, [])  # type: ignore[arg-type]


def test_what_does_not_go_with_the_model_is_listed(tab: Tab, manager: FakeManager, tmp_path: Path) -> None:
    add_ons = manager.library.add_ons
    add_ons["near"] = AddOn(name="near", title="Of the Hub", source="someone/near", kind="lora")
    manager.is_here = lambda entry: True  # type: ignore[method-assign]
    loras = [{"name": "near", "weight": 1}]
    filled = tab.restore(
        write_picture(tmp_path / "a.png", prompt="a <lora:near:1> fox", refiner="big-refiner", loras=loras)
    )
    assert (filled["prompt"], filled["loras"]["rows"]) == ("a fox", [])
    assert "<li>LoRA: Of the Hub does not go with this model</li>" in tab.note
    assert "<li>Refiner: big-refiner does not go with this model</li>" in tab.note


@pytest.mark.parametrize(
    "name", ["big", "BIG", "Big model", "big_model.safetensors", "sdxl\\big-model.safetensors", "Big Model [1a2b3c]"]
)
def test_a_model_goes_by_its_name_its_title_or_its_file(manager: FakeManager, name: str) -> None:
    found = Shelf(manager.choices("model")).find(name)
    assert found is manager.library.checkpoints["big"]


def test_a_name_that_two_go_by_is_nobodys(manager: FakeManager) -> None:
    twins = Shelf(
        entry.model_copy(update={"name": f"twin-{entry.name}", "title": "Twin"}) for entry in manager.choices("lora")
    )
    assert twins.find("twin") is None
    assert twins.find("twin-ink") is not None
    assert twins.find("???") is None


def test_the_studios_own_model_is_always_there(manager: FakeManager) -> None:
    del manager.library.checkpoints["demo"]
    found = find_names(manager, {"model": "Studio Demo"}, manager.model)  # type: ignore[arg-type]
    assert found == ({"model": "demo"}, [])


def test_styles_go_by_their_titles_and_unknown_ones_are_missed(manager: FakeManager) -> None:
    style = next(iter(manager.styles.values()))
    named = {"styles": [style.title["en"].upper(), style.name, "Fooocus V2"]}
    found = find_names(manager, named, manager.model)  # type: ignore[arg-type]
    assert found == ({"styles": [style.name]}, [Missed("styles", "Fooocus V2", "not_here")])


def test_what_a_picture_was_drawn_from_is_told(tab: Tab, tmp_path: Path) -> None:
    request = make_request(TextToImageRequest, {"prompt": "a red fox", "width": 64, "height": 64})
    chunks = make_text_chunks(request, seed=7, model="demo", template={"prompt": "a {red|blue} fox" + "!" * 200})
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=chunks)
    filled = tab.restore(as_upload(tmp_path / "a.png"))
    assert filled["prompt"] == "a red fox"
    assert "Drawn from: a {red|blue} fox!!!!" in tab.told["sentence"]
    assert "!…" in tab.told["sentence"]


def test_every_peers_sample_can_be_dropped(tab: Tab, tmp_path: Path) -> None:
    given = {name: sample for name, sample in vars(samples).items() if name.isupper()}
    assert len(given) > 10
    for name, sample in given.items():
        key = "prompt" if name.startswith("COMFYUI") else "parameters"
        text = sample if isinstance(sample, str) else json.dumps(sample)
        filled = tab.restore(write_chunks(tmp_path / f"{name}.png", **{key: text}))
        assert "Read from" in tab.told["sentence"], name
        assert filled["prompt"], name
