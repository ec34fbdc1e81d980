import numpy as np
import torch
from torch import nn

from trainables.task.classification_scores import soft_vote
from trainables.task.soft_vote import Renormalized, SoftVote


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def test_the_vote_is_that_of_evaluation() -> None:
    models, images = [linear(1), linear(2)], torch.randn(5, 3, 2, 2) * 4
    with torch.inference_mode():
        found = SoftVote(models)(images).numpy()
        expected = soft_vote([model(images).numpy() for model in models])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_model_sees_the_images_as_it_was_trained_to() -> None:
    model, pixels = linear(1), torch.rand(4, 3, 2, 2)
    given, own = ((0.1, 0.2, 0.3), (0.5, 0.4, 0.3)), ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))

    def normalized(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        return (pixels - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)

    with torch.inference_mode():
        found = Renormalized(model, own, given)(normalized(*given))
        torch.testing.assert_close(found, model(normalized(*own)), rtol=1e-5, atol=1e-5)
