"""The tabs, in the order they stand in: the only registry."""

from ui.tab import Tab
from ui.tabs.image_to_image import IMAGE_TO_IMAGE
from ui.tabs.inpaint import INPAINT
from ui.tabs.refine import REFINE
from ui.tabs.text_to_image import TEXT_TO_IMAGE

TABS: tuple[Tab, ...] = (TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT, REFINE)
