"""Several processes that train one model, each on its share of every batch.

A world of W ranks that share out a batch, N pairs to each, trains as one process with the batch of W*N
pairs, joined in rank order, does. Every rank sees all embeddings and computes the whole loss; by the chain
rule a rank then owes the towers only the gradient through its own rows, and the sum over ranks is the
gradient of the whole loss: negatives carry their gradient, on whichever rank they live. No process group: a
world of one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1

    def gather(self, local_ND: Tensor) -> Tensor:
        """The rows of all ranks in rank order, without a graph. Every rank must bring equally many rows."""
        if self.size == 1:
            return local_ND.detach()
        parts = [torch.empty_like(local_ND) for _ in range(self.size)]
        dist.all_gather(parts, local_ND.detach().contiguous())
        return torch.cat(parts)

    def own(self, all_ND: Tensor) -> Tensor:
        """This rank's rows of what `gather` joined."""
        num_rows = len(all_ND) // self.size
        return all_ND[self.rank * num_rows : (self.rank + 1) * num_rows]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over ranks. The same parameters must have one on every rank."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        for dtype in dict.fromkeys(g.dtype for g in gradients):  # in one order on every rank
            group = [g for g in gradients if g.dtype == dtype]
            flat = torch.cat([g.reshape(-1) for g in group])
            dist.all_reduce(flat)
            offset = 0
            for gradient in group:
                gradient.copy_(flat[offset : offset + gradient.numel()].reshape(gradient.shape))
                offset += gradient.numel()

    def any(self, claim: bool, device: torch.device) -> bool:
        """Whether the claim holds on any rank; the same answer everywhere."""
        if self.size == 1:
            return claim
        flag = torch.tensor([float(claim)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def join(self, own: Sequence[T]) -> list[T]:
        """What all ranks bring, in rank order; a few small objects, for they travel as pickles."""
        if self.size == 1:
            return list(own)
        parts: list[Sequence[T]] = [()] * self.size
        dist.all_gather_object(parts, own)
        return [one for part in parts for one in part]

    def from_first(self, tensor: Tensor) -> Tensor:
        """Rank 0's values, in place: what all ranks computed alike is then the same to the last bit."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier()


def current_world() -> World:
    """The world of the default process group, or a world of one."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()
