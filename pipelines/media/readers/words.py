"""The keys of A1111's line of settings for our fields: read from there, and written so that others read ours."""

from pipelines.schema.requests import REQUESTS

OWN = "sdxl-studio"
"""What `Version` begins with in a text of ours."""

KEYS: dict[str, str] = {
    "Steps": "num_inference_steps",
    "CFG scale": "guidance_scale",
    "Seed": "seed",
    "Model": "model",
    "VAE": "vae",
    "Denoising strength": "strength",
    "CFG Rescale": "guidance_rescale",
    "Skip Early CFG": "guidance_start",
    "Refiner": "refiner",
    "Refiner switch at": "denoising_end",
    "Masked area padding": "padding_mask_crop",
}
"""A1111's own word and the field whose value stands behind it as it is."""
OTHER_KEYS = ("Sampler", "Schedule type", "Size", "Clip skip", "Inpaint area", "Mask mode")
"""Its words for what is counted or named otherwise there."""
SPACINGS = {"linspace": "Uniform", "trailing": "SGM Uniform", "leading": "DDIM"}
"""A spacing as A1111's "Schedule type", where no other sigmas take that place."""
ONLY_MASKED = "Only masked"
NOT_MASKED = "Inpaint not masked"
NAMED_OTHERWISE = (
    "prompt", "negative_prompt", "width", "height", "scheduler", "sigmas", "timesteps", "timestep_spacing",
    "clip_skip", "inpaint_area", "invert_mask", "loras", "styles", "image", "mask_image",
    "num_images_per_prompt", "all_combinations",
)  # fmt: skip
"""The fields that neither `KEYS` nor a word of our own stands for; the last two are about the batch."""


def own_words() -> dict[str, str]:
    """A key for each of the other fields, which A1111 passes over: "Dynamic thresholding ratio"."""
    fields = dict.fromkeys(name for request_class in REQUESTS.values() for name in request_class.model_fields)
    taken = {*KEYS.values(), *NAMED_OTHERWISE}
    return {field.replace("_", " ").capitalize(): field for field in fields if field not in taken}
