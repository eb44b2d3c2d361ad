"""Who draws: which checkpoints a task accepts, and the part of the run that each expert gets."""

from pipelines.diffusion.plan import make_first_path, make_second_path, share_of_base
from pipelines.diffusion.run import Segment
from pipelines.diffusion.steps.call import DeepCache
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import CheckpointKind, ModelEntry, Selection
from pipelines.schema.requests import EnsembleRequest, GenerationRequest
from pipelines.tasks.task import Condition

REFUSALS: dict[CheckpointKind, str] = {
    "refiner": "only refines pictures that another checkpoint has drawn",
    "inpainting": "only redraws what a mask covers",
}
"""What a checkpoint of each kind says to a task that it cannot do."""


def check_experts(request: EnsembleRequest, selection: Selection, *kinds: CheckpointKind) -> None:
    """Raises `InvalidRequest` for a model of another kind than `kinds`, or a refiner that is not there."""
    model = selection.model
    if model.kind not in kinds:
        raise InvalidRequest("model", f"must be another one: {model.title} {REFUSALS[model.kind]}", model.name)
    if request.denoising_end < 1:
        if selection.refiner is None:
            rule = f"must be 1, because {model.title} has no refiner"
            raise InvalidRequest("denoising_end", rule, request.denoising_end)
        check_refiner(selection.refiner, model)


def check_refiner(refiner: ModelEntry, model: ModelEntry) -> None:
    """Raises `InvalidRequest` for a refiner of another kind of latents: those of the small model are its own."""
    if refiner.native_size != model.native_size:
        rule = f"must be made for pictures of {model.native_size} pixels, as {model.title} is"
        raise InvalidRequest("refiner", rule, refiner.name)


def make_segments(request: GenerationRequest, condition: Condition, expert_name: str = "base") -> list[Segment]:
    """One segment, or two: an ensemble of experts (SDXL, arXiv:2307.01952, section 2.5).

    The refiner takes over the base's latents undecoded, with a scheduler that starts where the base's stopped.
    Raises `InvalidRequest` for a share that leaves one of them nothing to do.
    """
    expert, conditioning = condition(expert_name)
    path = make_first_path(request, expert.scheduler_config)
    segments = [Segment(expert, path.scheduler, path.timesteps, conditioning, deep_cache=make_deep_cache(request))]
    if share_of_base(request) < 1:
        refiner, conditioning = condition("refiner")
        path = make_second_path(request, refiner.scheduler_config)
        cache = make_deep_cache(request)
        segments.append(Segment(refiner, path.scheduler, path.timesteps, conditioning, deep_cache=cache))
    return segments


def make_deep_cache(request: GenerationRequest) -> DeepCache | None:
    """A place for one expert's deep features, where the request wants them drawn more rarely than each step."""
    return DeepCache(request.deep_cache_interval) if request.deep_cache_interval > 1 else None
