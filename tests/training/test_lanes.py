"""A batch in parts side by side gives the gradients of the whole."""

import torch
from torch import Tensor, nn

from training.lanes import Lanes


def gradients(model: nn.Module, rows: Tensor, lanes: int) -> list[Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(lanes)
    side_by_side = Lanes(torch.device("cpu"))
    torch.set_num_threads(threads)
    assert side_by_side.count == lanes
    model.zero_grad(set_to_none=True)

    def add(part: slice) -> Tensor:
        (model(rows[part]).square().sum() / len(rows)).backward()
        return rows[part, 0]

    seen = torch.cat(side_by_side.run(add, len(rows)))
    assert torch.equal(seen, rows[:, 0]), "every row once, in order"
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_lanes_give_the_gradients_of_one() -> None:
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 4)), torch.randn(7, 8)
    expected = gradients(model, rows, 1)
    for lanes in (2, 3, 9):
        for _ in range(20):
            for mine, theirs in zip(gradients(model, rows, lanes), expected, strict=True):
                assert torch.allclose(mine, theirs, atol=1e-6)
