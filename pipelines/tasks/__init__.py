"""The four tasks by name. A new task is one file and one line here."""

from pipelines.tasks import image_to_image, inpaint, refine, text_to_image
from pipelines.tasks.task import Task

TASKS: dict[str, Task] = {
    module.TASK.request_class.task: module.TASK for module in (text_to_image, image_to_image, inpaint, refine)
}
