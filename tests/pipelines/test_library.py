"""Every model that can be named: those of the catalogue, of the host's folders and of the command line."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.components import folders as module
from pipelines.components.diffusers_folder import check_folder
from pipelines.components.library import Library
from pipelines.diffusion.schedulers import SCHEDULERS
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import AddOn, Catalogue, ModelEntry, load_catalogue
from pipelines.schema.requests import GenerationRequest, RefineRequest, TextToImageRequest, make_request

DEMO = Path(load_catalogue().checkpoints["demo"].source)
CATALOGUE = Catalogue(
    checkpoints={
        "demo": ModelEntry(name="demo", title="Demo", source=str(DEMO), refiner="demo-refiner"),
        "demo-refiner": ModelEntry(name="demo-refiner", title="R", source=str(DEMO / "refiner"), kind="refiner"),
        "far": ModelEntry(name="far", title="Far", source="someone/far", refiner="nowhere", vae="fixed"),
    },
    add_ons={"fixed": AddOn(name="fixed", title="Fixed", source="someone/fixed", kind="vae")},
)
ROOMS = ("checkpoints", "loras", "vae", "embeddings")
LORA = {"lora_te1_x.lora_down.weight": (2, 8), "lora_te1_x.lora_up.weight": (8, 2)}
SD15_LORA = {"lora_te_x.lora_down.weight": (2, 8), "lora_te_x.lora_up.weight": (8, 2)}
VAE = {"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 4, 3, 3)}
EMBEDDING = {"clip_l": (1, 8), "clip_g": (1, 8)}
UNET = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 1, 1),
    "model.diffusion_model.label_emb.0.0.weight": (1,),
}
BASE = {
    **UNET,
    "conditioner.embedders.0.transformer.x": (1,),
    "conditioner.embedders.1.model.x": (1,),
    **{f"first_stage_model.{key}": shape for key, shape in VAE.items()},
}
REFINER = {key.replace("0.transformer", "0.model"): shape for key, shape in BASE.items() if "1.model" not in key}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for room in ROOMS:
        (tmp_path / "models" / room).mkdir(parents=True)
    return tmp_path / "models"


def write(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    return path


def reasons(library: Library) -> dict[str, str]:
    return {refused.file: refused.reason for refused in library.refused}


# Scanning


def test_files_are_named_by_their_stem_and_told_by_their_content(folder: Path) -> None:
    write(folder / "checkpoints" / "dreams.safetensors", BASE)
    write(folder / "checkpoints" / "deep" / "polish.safetensors", REFINER)
    write(folder / "loras" / "ink.SAFETENSORS", LORA)
    write(folder / "vae" / "sharp.safetensors", VAE)
    write(folder / "embeddings" / "neg.safetensors", EMBEDDING)
    (folder / "loras" / "README.md").write_text("not weights")
    library = Library(folder, CATALOGUE)
    kinds = {name: entry.kind for name, entry in library.checkpoints.items() if name not in CATALOGUE.checkpoints}
    assert kinds == {"dreams": "base", "polish": "refiner"}
    assert {name: entry.kind for name, entry in library.add_ons.items()} == {
        "fixed": "vae",
        "ink": "lora",
        "sharp": "vae",
        "neg": "embedding",
    }
    assert library.checkpoints["dreams"].source == str((folder / "checkpoints" / "dreams.safetensors").resolve())
    assert library.checkpoints["dreams"].native_size == 1024
    assert library.refused == ()


def test_a_folder_that_is_not_there_leaves_the_catalogue(tmp_path: Path) -> None:
    library = Library(tmp_path / "nowhere", CATALOGUE)
    assert dict(library.checkpoints) == CATALOGUE.checkpoints
    assert dict(library.add_ons) == CATALOGUE.add_ons


def test_what_cannot_be_used_is_refused_by_name(folder: Path) -> None:
    write(folder / "loras" / "old.safetensors", SD15_LORA)
    write(folder / "checkpoints" / "lost.safetensors", LORA)
    write(folder / "checkpoints" / "half.safetensors", UNET)
    whole = write(folder / "vae" / "cut.safetensors", VAE)
    whole.write_bytes(whole.read_bytes()[:-1])
    torch.save({}, folder / "loras" / "disguised.safetensors")
    (folder / "checkpoints" / "pickle.ckpt").write_bytes(b"")
    library = Library(folder, CATALOGUE)
    assert reasons(library) == {
        "checkpoints/half.safetensors": "half.safetensors is a UNet alone, not an SDXL checkpoint",
        "checkpoints/lost.safetensors": "lost.safetensors is an SDXL LoRA; it belongs in loras/",
        "checkpoints/pickle.ckpt": "pickle.ckpt is a pickle, and those are never read; only .safetensors files are",
        "loras/disguised.safetensors": "disguised.safetensors is no whole safetensors file: "
        "it is a pickle under another name, and those are never read",
        "loras/old.safetensors": "old.safetensors is an SD 1.5 LoRA, not an SDXL LoRA",
        "vae/cut.safetensors": "cut.safetensors is no whole safetensors file: "
        "it is cut short: 2015 bytes of weights are there, 2016 were written",
    }
    assert dict(library.checkpoints) == CATALOGUE.checkpoints
    assert dict(library.add_ons) == CATALOGUE.add_ons


def test_names_are_unique_and_never_change_their_meaning(folder: Path) -> None:
    write(folder / "checkpoints" / "demo.safetensors", BASE)
    write(folder / "loras" / "a" / "ink.safetensors", LORA)
    write(folder / "loras" / "b" / "ink.safetensors", LORA)
    library = Library(folder, CATALOGUE)
    assert library.checkpoints["demo"].source == str(DEMO)
    assert library.checkpoints["checkpoints/demo.safetensors"].source.endswith("demo.safetensors")
    assert {name for name in library.add_ons if "ink" in name} == {"loras/a/ink.safetensors", "loras/b/ink.safetensors"}


def test_a_diffusers_folder_is_one_checkpoint_with_its_own_refiner(folder: Path) -> None:
    shutil.copytree(DEMO, folder / "checkpoints" / "mine")
    library = Library(folder, CATALOGUE)
    mine, refiner = library.checkpoints["mine"], library.checkpoints["mine-refiner"]
    assert (mine.kind, mine.refiner, mine.native_size) == ("base", "mine-refiner", 256)
    assert (refiner.kind, refiner.source) == ("refiner", f"{mine.source}/refiner")
    assert library.refused == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sample_size": [32, 32]}, "mine/unet/config.json must name the UNet's sample_size"),
        ({"sample_size": 1e999}, "mine/unet/config.json must name the UNet's sample_size"),
        ({"sample_size": -1}, "mine/unet/config.json: sample_size must be from 8 to 256, got -1"),
        ({"addition_embed_type": None}, "mine is no SDXL model: its UNet does not take sizes and pooled text"),
    ],
)
def test_a_foreign_diffusers_folder_is_refused(folder: Path, change: dict, reason: str) -> None:
    write_changed(folder, "unet/config.json", change)
    assert reasons(Library(folder, CATALOGUE)) == {"checkpoints/mine": reason}


def write_changed(folder: Path, file: str, change: dict) -> Path:
    """A copy of the embedded model whose config says something else; a field that becomes `...` is gone."""
    mine = Path(shutil.copytree(DEMO, folder / "checkpoints" / "mine"))
    config = json.loads((mine / file).read_text()) | change
    (mine / file).write_text(json.dumps({field: value for field, value in config.items() if value is not ...}))
    return mine


NO_DDPM = "; SDXL's is that of DDPM"
BETAS = "trained_betas must be a number between 0 and 1 for each training step"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_class_name": "EDMEulerScheduler"}, f"the model uses the EDM schedule{NO_DDPM}"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler"}, f"the model uses the EDM schedule{NO_DDPM}"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, f"the model uses flow matching{NO_DDPM}"),
        ({"_class_name": "ScoreSdeVeScheduler"}, f"the model uses the scheduler 'ScoreSdeVeScheduler'{NO_DDPM}"),
        ({"_class_name": ["DDIMScheduler"]}, f"the model uses the scheduler \"['DDIMScheduler']\"{NO_DDPM}"),
        ({"_class_name": ...}, f"the model uses the scheduler 'None'{NO_DDPM}"),
        ({"prediction_type": "flow_prediction"}, "prediction_type must be one of epsilon, v_prediction"),
        ({"timestep_spacing": []}, "timestep_spacing must be one of leading, linspace, trailing"),
        ({"beta_schedule": "cosine"}, "beta_schedule must be one of scaled_linear, linear, squaredcos_cap_v2"),
        ({"beta_start": "0.1"}, "beta_start must be a number between 0 and 1"),
        ({"beta_start": 0}, "beta_start must be a number between 0 and 1"),
        ({"beta_end": True}, "beta_end must be a number between 0 and 1"),
        ({"beta_end": float("nan")}, "beta_end must be a number between 0 and 1"),
        ({"beta_end": 1e999}, "beta_end must be a number between 0 and 1"),
        ({"num_train_timesteps": 1e3}, "num_train_timesteps must be a whole number from 1 to 10000"),
        ({"num_train_timesteps": 0}, "num_train_timesteps must be a whole number from 1 to 10000"),
        ({"num_train_timesteps": 10_001}, "num_train_timesteps must be a whole number from 1 to 10000"),
        ({"trained_betas": 0.5}, BETAS),
        ({"trained_betas": [0.1] * 999}, BETAS),
        ({"trained_betas": [0.1] * 999 + ["0.1"]}, BETAS),
    ],
)
def test_a_folder_that_was_trained_on_another_schedule_is_refused(folder: Path, change: dict, problem: str) -> None:
    write_changed(folder, "scheduler/scheduler_config.json", change)
    found = reasons(Library(folder, CATALOGUE))
    assert found == {"checkpoints/mine": f"mine/scheduler/scheduler_config.json: {problem}"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"latents_mean": [0.0] * 4},
            "the VAE sets latents_mean, as Playground 2.5 does; SDXL's latents are scaled by one number",
        ),
        (
            {"latents_std": 0},
            "the VAE sets latents_std, as Playground 2.5 does; SDXL's latents are scaled by one number",
        ),
        ({"latent_channels": 16}, "the VAE must have 4 latent channels, not 16"),
        ({"scaling_factor": "0.13"}, "scaling_factor must be a positive number"),
        ({"scaling_factor": 0.0}, "scaling_factor must be a positive number"),
        ({"scaling_factor": 1e999}, "scaling_factor must be a positive number"),
    ],
)
def test_a_folder_whose_vae_would_give_other_colours_is_refused(folder: Path, change: dict, problem: str) -> None:
    mine = write_changed(folder, "vae/config.json", change)
    assert reasons(Library(folder, CATALOGUE)) == {"checkpoints/mine": f"mine/vae/config.json: {problem}"}
    with pytest.raises(ModelError, match=r"^vae/config\.json: "):
        check_folder(mine / "vae")


@pytest.mark.parametrize(
    "change",
    [{"trained_betas": [0.1] * 1000}, {"prediction_type": "v_prediction"}, {"beta_start": ..., "trained_betas": ...}]
    + [{"_class_name": scheduler.__name__} for scheduler, _ in SCHEDULERS.values()],
)
def test_a_folder_with_any_scheduler_of_the_ddpm_family_is_found(folder: Path, change: dict) -> None:
    write_changed(folder, "scheduler/scheduler_config.json", change)
    library = Library(folder, CATALOGUE)
    assert library.refused == ()
    assert "mine" in library.checkpoints


@pytest.mark.parametrize("place", ["", "text_encoder/", "text_encoder_2/", "unet/", "tokenizer/", "scheduler/"])
def test_a_folder_with_an_adapter_in_it_is_refused(folder: Path, place: str) -> None:
    mine = Path(shutil.copytree(DEMO, folder / "checkpoints" / "mine"))
    check_folder(mine)
    (mine / place / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    reason = f"mine/{place}adapter_config.json: the folder holds an adapter, and those are no part of a checkpoint"
    assert reasons(Library(folder, CATALOGUE)) == {"checkpoints/mine": reason}
    with pytest.raises(ModelError, match="adapter_config"):
        check_folder(mine)


def test_a_folder_that_holds_some_parts_alone_is_checked_for_what_is_there(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for part in ("unet", "tokenizer"):
        shutil.copytree(DEMO / part, parts / part)
    check_folder(parts)
    check_folder(DEMO / "vae")


def test_a_diffusers_folder_of_pickles_is_refused(folder: Path) -> None:
    mine = folder / "checkpoints" / "mine"
    shutil.copytree(DEMO, mine)
    for path in (mine / "unet").glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    expected = {"checkpoints/mine": "mine/unet must hold diffusion_pytorch_model.safetensors"}
    assert reasons(Library(folder, CATALOGUE)) == expected


def test_weights_of_another_precision_alone_become_the_variant(folder: Path) -> None:
    mine = folder / "checkpoints" / "mine"
    shutil.copytree(DEMO, mine)
    assert Library(folder, CATALOGUE).checkpoints["mine"].variant is None
    for path in (mine / "unet").glob("*.safetensors"):
        path.rename(path.with_name(path.name.replace("model-", "model.fp16-")))
    assert Library(folder, CATALOGUE).checkpoints["mine"].variant == "fp16"


def test_links_are_followed_within_their_folder_only(folder: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.safetensors", LORA)
    inside = write(folder / "loras" / "inside.safetensors", LORA)
    (folder / "loras" / "out.safetensors").symlink_to(outside)
    (folder / "loras" / "again.safetensors").symlink_to(inside)
    (folder / "loras" / "loop").symlink_to(folder / "loras")
    (folder / "loras" / "self.safetensors").symlink_to(folder / "loras" / "self.safetensors")
    (folder / "loras" / "gone.safetensors").symlink_to(folder / "loras" / "nothing")
    library = Library(folder, CATALOGUE)
    assert {name for name, entry in library.add_ons.items() if entry.kind == "lora"} == {"inside", "again"}
    assert reasons(library) == {
        "loras/gone.safetensors": "gone.safetensors cannot be opened",
        "loras/self.safetensors": "self.safetensors cannot be opened",
        "loras/out.safetensors": "out.safetensors is a link that leads out of loras/",
    }


def test_one_of_the_four_folders_may_itself_be_a_link(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "disk" / "ink.safetensors", LORA)
    (folder / "loras").rmdir()
    (folder / "loras").symlink_to(tmp_path / "disk")
    assert "ink" in Library(folder, CATALOGUE).add_ons


def test_names_that_cannot_be_sent_are_refused(folder: Path) -> None:
    write(folder / "loras" / f"{'x' * 230}.safetensors", LORA)
    os.rename(write(folder / "loras" / "y.safetensors", LORA), os.fsencode(folder / "loras") + b"/\xff.safetensors")
    (folder / "loras" / "z").mkdir()
    write(folder / "loras" / "z" / "z.safetensors", LORA)
    os.rename(folder / "loras" / "z", os.fsencode(folder / "loras") + b"/\xff")
    found = reasons(Library(folder, CATALOGUE))
    assert sorted(reason.split(" ", 1)[1] for reason in found.values()) == [
        "has a name that cannot be written",
        "has a name that cannot be written",
        "has too long a name",
    ]
    json.dumps(found).encode()
    "".join(found).encode()


def test_a_rescan_finds_what_came_and_forgets_what_went(folder: Path) -> None:
    library = Library(folder, CATALOGUE)
    before = library.add_ons
    path = write(folder / "loras" / "ink.safetensors", LORA)
    library.rescan()
    assert "ink" in library.add_ons
    assert "ink" not in before
    path.unlink()
    library.rescan()
    assert "ink" not in library.add_ons


def test_a_rescan_opens_only_what_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read: Callable = module.read_header
    monkeypatch.setattr(module, "read_header", lambda path: opened.append(path.name) or read(path))
    write(folder / "loras" / "a.safetensors", LORA)
    write(folder / "loras" / "b.safetensors", SD15_LORA)
    library = Library(folder, CATALOGUE)
    assert opened == ["a.safetensors", "b.safetensors"]
    write(folder / "loras" / "a.safetensors", {**LORA, "lora_te1_x.alpha": ()})
    library.rescan()
    assert opened[2:] == ["a.safetensors"]


def test_readers_see_one_whole_scan_while_another_is_made(folder: Path) -> None:
    for number in range(5):
        write(folder / "loras" / f"{number}.safetensors", LORA)
    library = Library(folder, CATALOGUE)
    stop = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(library.add_ons))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        library.rescan()
    stop.set()
    reader.join()
    assert seen == {6}


# Paths of the command line


def test_a_path_becomes_a_name(folder: Path, tmp_path: Path) -> None:
    library = Library(folder, CATALOGUE)
    single = write(tmp_path / "dreams.safetensors", BASE)
    assert library.find_model(str(single)).name == "dreams"
    assert library.find_model("dreams").source == str(single.resolve())
    shutil.copytree(DEMO, tmp_path / "copy")
    assert library.find_model(str(tmp_path / "copy")).refiner == "copy-refiner"
    library.rescan()
    assert {"dreams", "copy", "copy-refiner"} <= library.checkpoints.keys()


def test_a_path_that_is_known_already_keeps_its_entry(folder: Path, tmp_path: Path) -> None:
    library = Library(folder, CATALOGUE)
    assert library.find_model(str(DEMO)) is library.checkpoints["demo"]
    single = write(tmp_path / "demo.safetensors", BASE)
    assert library.find_model(str(single)).name == "demo.safetensors"
    assert library.find_model(str(single)).name == "demo.safetensors"


def test_what_is_neither_a_name_nor_a_model_is_answered_with_the_known_ones(folder: Path, tmp_path: Path) -> None:
    library = Library(folder, CATALOGUE)
    rule = r"^model must be one of demo, far, a \.safetensors checkpoint, or a folder that holds model_index"
    for name in ("unknown", str(tmp_path)):
        with pytest.raises(ModelError, match=rule):
            library.find_model(name)
    lora = write(tmp_path / "ink.safetensors", LORA)
    with pytest.raises(ModelError, match=r"^ink\.safetensors is an SDXL LoRA, not an SDXL checkpoint or"):
        library.find_model(str(lora))


def test_a_folder_tells_its_native_size(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(DEMO, tmp_path / "copy"))
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": 64}))
    assert Library(folder, CATALOGUE).find_model(str(copy)).native_size == 512


# Choosing


def request(**values: object) -> GenerationRequest:
    return make_request(TextToImageRequest, values)


@pytest.fixture
def library(folder: Path) -> Library:
    write(folder / "checkpoints" / "dreams.safetensors", BASE)
    for name in ("ink", "glow"):
        write(folder / "loras" / f"{name}.safetensors", LORA)
    write(folder / "vae" / "sharp.safetensors", VAE)
    for name in ("neg", "neg-xl", "my.style"):
        write(folder / "embeddings" / f"{name}.safetensors", EMBEDDING)
    return Library(folder, CATALOGUE)


def test_nothing_named_means_the_studios_own(library: Library) -> None:
    chosen = library.select(request(prompt="a fox"), library.checkpoints["demo"])
    assert chosen.model.name == "demo"
    assert chosen.refiner is library.checkpoints["demo-refiner"]
    assert (chosen.vae, chosen.loras, chosen.embeddings) == (None, (), ())


def test_a_model_brings_its_vae_and_its_refiner_where_they_are_known(library: Library) -> None:
    chosen = library.select(request(model="far"), library.checkpoints["demo"])
    assert chosen.model.name == "far"
    assert chosen.vae is library.add_ons["fixed"]
    assert chosen.refiner is None


def test_names_choose(library: Library) -> None:
    loras = [{"name": "glow", "weight": -0.5}, {"name": "ink"}]
    wanted = request(model="dreams", refiner="demo-refiner", vae="sharp", loras=loras)
    chosen = library.select(wanted, library.checkpoints["demo"])
    assert (chosen.model.name, chosen.vae, chosen.refiner) == (
        "dreams",
        library.add_ons["sharp"],
        library.checkpoints["demo-refiner"],
    )
    assert [(lora.name, weight) for lora, weight in chosen.loras] == [("glow", -0.5), ("ink", 1.0)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model": "nope"}, "model must be one of demo, far, dreams, got 'nope'"),
        (
            {"model": "demo-refiner"},
            "model must be one of demo, far, dreams, and not the refiner demo-refiner, got 'demo-refiner'",
        ),
        ({"refiner": "far"}, "refiner must be one of demo-refiner, and not the checkpoint far, got 'far'"),
        ({"vae": "ink"}, "vae must be one of fixed, sharp, and not the LoRA ink, got 'ink'"),
        ({"loras": [{"name": "sharp"}]}, "loras must be one of glow, ink, and not the VAE sharp, got 'sharp'"),
        ({"model": str(DEMO)}, f"model must be one of demo, far, dreams, got '{DEMO}'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(library: Library, values: dict, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        library.select(request(**values), library.checkpoints["demo"])
    assert str(raised.value) == sentence
    assert raised.value.field in values


def test_many_names_are_not_all_told(folder: Path) -> None:
    for number in range(25):
        write(folder / "loras" / f"l{number:02}.safetensors", LORA)
    library = Library(folder, CATALOGUE)
    with pytest.raises(InvalidRequest, match="l18, l19 and 5 more, got 'x'"):
        library.select(request(loras=[{"name": "x"}]), library.checkpoints["demo"])
    empty = Library(folder / "nowhere", CATALOGUE)
    with pytest.raises(InvalidRequest, match="loras must be empty, because none is there to choose, got 'x'"):
        empty.select(request(loras=[{"name": "x"}]), library.checkpoints["demo"])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"prompt": "a fox, neg"}, {"neg"}),
        ({"negative_prompt": "neg-xl"}, {"neg-xl"}),
        ({"negative_prompt": "(neg)1.2, neg-xl++"}, {"neg", "neg-xl"}),
        ({"prompt_2": "neg--"}, {"neg"}),
        ({"negative_prompt_2": "in my.style"}, {"my.style"}),
        ({"negative_prompt": "(embedding:neg:1.2)", "prompt": "embedding:my.style"}, {"neg", "my.style"}),
        ({"prompt": "negative, NEG, non-neg, mystyle, my_neg"}, set()),
    ],
)
def test_embeddings_are_used_where_their_names_stand(library: Library, values: dict, names: set[str]) -> None:
    chosen = library.select(request(**values), library.checkpoints["demo"])
    assert {entry.name for entry in chosen.embeddings} == names


def test_textual_inversions_on_this_disk_are_counted_by_their_vectors(library: Library, folder: Path) -> None:
    assert library.embedding_sizes() == {"neg": 1, "neg-xl": 1, "my.style": 1}
    write(folder / "embeddings" / "long.safetensors", {"clip_l": (5, 8), "clip_g": (5, 8)})
    library.rescan()
    assert library.embedding_sizes()["long"] == 5


# LoRAs that prompts name


def loras_of(library: Library, **values: object) -> dict[str, float]:
    chosen = library.select(request(**values), library.checkpoints["demo"])
    return {entry.name: weight for entry, weight in chosen.loras}


@pytest.mark.parametrize(
    ("values", "loras"),
    [
        ({"prompt": "a fox <lora:ink:0.8>"}, {"ink": 0.8}),
        ({"prompt": "a fox <lora:ink>"}, {"ink": 1.0}),
        ({"prompt": "<lora:INK:-4>", "prompt_2": "<lora:glow.safetensors:4>"}, {"ink": -4.0, "glow": 4.0}),
        ({"prompt": "<lora:styles/ink:1>, <lora:other\\Glow:0.5>"}, {"ink": 1.0, "glow": 0.5}),
        ({"prompt": "<lora:ink:1> <lora:ink:0.5>"}, {"ink": 0.5}),
        (
            {"prompt": "<lora:Ink:0.5>", "loras": [{"name": "ink", "weight": 2}, {"name": "glow"}]},
            {"ink": 0.5, "glow": 1},
        ),
        ({"prompt": "(fox)1.2 withLora(ink, 0.4)", "prompt_syntax": "compel"}, {"ink": 0.4}),
        ({"negative_prompt": "<lora:ink:1>", "negative_prompt_2": "<lora:nobody:9>"}, {}),
        ({"prompt": "\\<lora ink> <ink> lora:ink"}, {}),
    ],
)
def test_a_tag_in_a_prompt_names_a_lora_and_its_weight(library: Library, values: dict, loras: dict) -> None:
    assert loras_of(library, **values) == loras


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"prompt": "<lora:nobody:1>"}, "prompt must name LoRAs among glow, ink, got 'nobody'"),
        ({"prompt_2": "<lora:neg:1>"}, "prompt_2 must name LoRAs among glow, ink, got 'neg'"),
        ({"prompt": "<lora:ink:4.1>"}, "prompt must weigh LoRAs from -4 to 4, got 'ink:4.1'"),
        ({"prompt": "<lora:ink:-4.1>"}, "prompt must weigh LoRAs from -4 to 4, got 'ink:-4.1'"),
    ],
)
def test_a_tag_that_cannot_be_followed_is_refused_by_name(library: Library, values: dict, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        loras_of(library, **values)
    assert str(raised.value) == sentence


def test_a_tag_that_fits_several_files_is_not_guessed(folder: Path) -> None:
    for place in ("a", "b"):
        write(folder / "loras" / place / "ink.safetensors", LORA)
    library = Library(folder, CATALOGUE)
    with pytest.raises(InvalidRequest, match=r"prompt must name one LoRA, of loras/a/ink\.safetensors, loras/b/ink"):
        loras_of(library, prompt="<lora:ink:1>")
    assert loras_of(library, prompt="<lora:Loras/B/ink:1>") == {"loras/b/ink.safetensors": 1}


def test_chosen_loras_and_tags_together_are_at_most_eight(folder: Path) -> None:
    for number in range(9):
        write(folder / "loras" / f"l{number}.safetensors", LORA)
    library = Library(folder, CATALOGUE)
    rows = [{"name": f"l{number}"} for number in range(7)]
    assert len(loras_of(library, loras=rows, prompt="<lora:l7:1> <lora:l0:0.5>")) == 8
    with pytest.raises(InvalidRequest, match=r"prompt must name fewer LoRAs: 8 are the most .* got 'l8'"):
        loras_of(library, loras=rows, prompt="<lora:l7:1> <lora:l8:1>")


def test_a_pass_of_the_refiner_takes_no_lora_from_the_prompt_it_was_given(library: Library, tmp_path: Path) -> None:
    refine = make_request(RefineRequest, {"image": tmp_path, "prompt": "<lora:ink:1> <lora:nobody:1>"})
    assert library.select(refine, library.checkpoints["demo"]).loras == ()


def test_what_is_on_this_disk_is_here(library: Library) -> None:
    assert library.is_here(library.checkpoints["demo"])
    assert library.is_here(library.add_ons["ink"])
    assert not library.is_here(library.checkpoints["far"])
    Path(library.add_ons["ink"].source).unlink()
    assert not library.is_here(library.add_ons["ink"])
