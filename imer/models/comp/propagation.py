"""Knowledge propagation (ComP eq. 3–5): take the others' prompts in, let the dialogue speak, give prompts back.

New layers start as the identity, and prompts with no say: the second stage starts at exactly the function that the
first one ended with.
"""

from __future__ import annotations

from torch import Tensor, nn

from imer.models.comp.attention import Reading, attention_layer
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear, StackedNorm


class PropagationBlock(nn.Module):
    """One block: fuse → attention layers → project back. The last block gives no prompts back."""

    def __init__(self, n_modalities: int, settings: CompSettings, *, last: bool) -> None:
        super().__init__()
        width, received = settings.hidden, (n_modalities - 1) * settings.prompt_width
        self.layers = nn.ModuleList(attention_layer(n_modalities, settings) for _ in range(settings.layers))
        self.fuse_own = StackedLinear(n_modalities, width, width)
        self.out = StackedLinear(n_modalities, width, width)
        self.fuse_prompts = StackedLinear(n_modalities, received, width, bias=False) if settings.prompts else None
        if settings.identity_start:
            self.fuse_own.start_at_identity()
            self.out.start_at_identity()
            if self.fuse_prompts is not None:
                self.fuse_prompts.start_at_zero()
        self.back = StackedLinear(n_modalities, width, received) if settings.prompts and not last else None
        # Every layer adds to the branches and none brings them back to size: without this their heads start far off.
        self.final_norm = StackedNorm(n_modalities, width) if settings.final_norm and last else None

    def attend(self, x_MRH: Tensor, reading: Reading) -> Tensor:
        """The layers alone: what the block is in the first stage."""
        for layer in self.layers:
            x_MRH = layer(x_MRH, reading)
        return x_MRH if self.final_norm is None else self.final_norm(x_MRH)

    def forward(self, x_MRH: Tensor, received: Tensor | None, reading: Reading) -> tuple[Tensor, Tensor | None]:
        """Return the new branches [M, B, U, H] and the updated prompts [M, B, U, (M−1)·p] for the next block."""
        fused = self.fuse_own(x_MRH)
        if self.fuse_prompts is not None and received is not None:
            fused = fused + self.fuse_prompts(received)
        read = self.attend(fused, reading)
        return self.out(read), None if self.back is None else self.back(read)
