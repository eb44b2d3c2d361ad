"""What has to happen before a page is served, and what must not."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.components import accelerators
from pipelines.manager import PipelineManager
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings

BUILD_A_PAGE = """
import sys
from pathlib import Path
from pipelines.manager import PipelineManager
from pipelines.schema.settings import Settings
from ui.layout import build_app
manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=Path(sys.argv[1])))
build_app(manager)
print(manager.status().dtype == "", sorted({"torch", "transformers", "diffusers", "peft", "compel"} & set(sys.modules)))
manager.close()
"""


def test_a_page_is_built_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD_A_PAGE, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent.parent)
    assert ran.stdout.strip() == "True []", ran.stderr


def test_the_first_request_finds_what_computes(tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path))
    request = TextToImageRequest(prompt="a fox", num_inference_steps=1, width=64, height=64)
    assert manager.submit(request).result(60).files
    assert manager.status().dtype in ("float32", "bfloat16")
    manager.close()


def test_warming_up_builds_it_beside_the_page(tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path))
    manager.warm_up()
    assert manager.plan_steps(TextToImageRequest(num_inference_steps=3)) == {"base": 3}
    assert manager.status().dtype
    manager.close()


@pytest.mark.parametrize("has_driver", [True, False])
def test_torch_is_asked_for_an_accelerator_only_where_there_may_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_driver: bool
) -> None:
    monkeypatch.setattr(accelerators.sys, "platform", "linux")
    monkeypatch.setattr(accelerators, "DRIVERS", (str(tmp_path if has_driver else tmp_path / "none"),))
    assert accelerators.may_have_accelerator() is has_driver
    manager = PipelineManager(Settings(output_dir=tmp_path))
    assert (manager._built is not None) is has_driver
    manager.close()
