"""Keeping the host in step with a device that works on its own."""

import torch


class Pace:
    """Lets the host be one step ahead of a CUDA device, no more.

    A step only queues its kernels there. Without waiting, several steps would be queued when a visitor presses
    Stop, and the speed shown would be that of queueing.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._last_step: torch.cuda.Event | None = None

    def keep(self) -> None:
        """Call after each step: returns when the step before it is done."""
        if self.device.type != "cuda":
            return
        if self._last_step is not None:
            self._last_step.synchronize()
        self._last_step = torch.cuda.Event()
        self._last_step.record(torch.cuda.current_stream(self.device))
