"""PixelsModel: a model with its preprocessing and its softmax, from the pixels of one image to probabilities.

Pillow's bicubic resize with antialiasing is two products with matrices, of which the sizes of the image decide the
weights (Pillow, `Resample.c`), rounded after each: the same operators run in every runtime of ONNX, at any size. Pillow
sums in whole numbers, this graph in float32: one of 10,000 pixels is off by one.
"""

import torch
from torch import Tensor, nn

from trainables.data.preprocess import PAD_COLOR, Preprocessing

# Keys' cubic convolution (1981), with the parameter that Pillow has.
_A = -0.5
_SUPPORT = 2.0


class PixelsModel(nn.Module):
    """`image` uint8 (height, width, 3), RGB and upright -> `probabilities` float32 (classes,)."""

    mean: Tensor
    std: Tensor
    color: Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, temperature: float) -> None:
        """Keep a model in eval mode on the CPU, whose logits are divided by the temperature."""
        super().__init__()
        self.model = model
        self.size = preprocessing.image_size
        self.mode = preprocessing.resize_mode
        self.temperature = temperature
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(preprocessing, name)).reshape(3, 1, 1))
        self.register_buffer("color", torch.tensor(PAD_COLOR, dtype=torch.float32).reshape(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the probabilities of one image."""
        pixels = self.resized(image) / 255
        logits = self.model(((pixels - self.mean) / self.std)[None])
        return torch.softmax(logits / self.temperature, dim=1)[0]

    def resized(self, image: Tensor) -> Tensor:
        """Resize to (3, size, size), whole numbers from 0 to 255, as `preprocess.resize` does."""
        height, width = (torch.full((), side, dtype=torch.float32) for side in image.shape[:2])
        long, short = torch.maximum(height, width), torch.minimum(height, width)
        rows, in_rows = self._weights(image.shape[0], height, long, short)
        columns, in_columns = self._weights(image.shape[1], width, long, short)
        pixels = image.permute(2, 0, 1).to(torch.float32)
        pixels = _rounded(rows @ _rounded(pixels @ columns.T))
        return torch.where(in_rows[:, None] & in_columns[None, :], pixels, self.color)

    def _weights(self, count: int, side: Tensor, long: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much each of `count` pixels counts in each of the output (size, count), and which are image."""
        target = torch.arange(self.size, dtype=torch.float32)
        begin, length, inner = torch.zeros(()), side, torch.full((), float(self.size))
        if self.mode == "crop":
            begin, length = (side - short) / 2, short
        elif self.mode == "pad":
            inner = torch.round(side * (self.size / long)).clamp(min=1)
            target = target - torch.floor((self.size - inner) / 2)
        scale = length / inner
        center = begin + (target + 0.5) * scale
        stretch = scale.clamp(min=1)
        distance = ((torch.arange(count, dtype=torch.float32) + 0.5)[None, :] - center[:, None]).abs() / stretch
        weights = _cubic(distance)
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6), (target >= 0) & (target < inner)


def _rounded(pixels: Tensor) -> Tensor:
    return torch.floor(pixels + 0.5).clamp(0, 255)


def _cubic(distance: Tensor) -> Tensor:
    near = ((_A + 2) * distance - (_A + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * _A
    return torch.where(distance < 1, near, torch.where(distance < _SUPPORT, far, torch.zeros_like(distance)))
