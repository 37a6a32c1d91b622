"""Batch normalisation over the batches of all processes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, whose mean and variance are of all processes' batches: several learn what one does.

    `nn.SyncBatchNorm` is the same on GPUs alone.
    """

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Each channel with mean 0 and variance 1 over the batch, scaled and shifted."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        from torch.distributed.nn.functional import all_reduce  # noqa: PLC0415  (torch may be built without it)

        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        own = exact.new_full((1,), exact.numel() / exact.shape[1])
        total: Tensor = all_reduce(torch.cat([exact.sum((0, 2, 3)), own]))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = exact - mean[:, None, None]
        variance: Tensor = all_reduce(centred.square().sum((0, 2, 3))) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move what is used outside of training a little towards these."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1
