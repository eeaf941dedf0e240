"""The model as it is shipped: raw features in, answers in the label's own units out.

Standardisation, the softmax and the return to the label's units are inside, so that whoever runs the exported file
needs nothing but the feature values, and cannot standardise them wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from imer.export.parity import Arrays


class Deployable(nn.Module):
    """Wraps a trained model: features of each modality [B, U, D] in their order, observed [B, U, M], valid [B, U].

    A model with speaker embeddings takes the index of the speaker within the dialogue [B, U] as well.

    Returns probabilities [B, U, C] (for regression values [B, U, 1]) and the coordinator's weights [B, U, M]; both are
    zero at padding. What stands in a slot that is not observed is never read.
    """

    def __init__(
        self,
        model: nn.Module,
        centres: Sequence[np.ndarray],
        spreads: Sequence[np.ndarray],
        *,
        classification: bool,
        target_centre: float = 0.0,
        target_spread: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(model.modalities)
        self.tells_speakers = tells_speakers(model)
        self.most_utterances: int | None = getattr(model, "most_utterances", None)
        self.batch_dependent = bool(getattr(model, "batch_dependent", False))
        self.classification = classification
        self.target_centre = target_centre
        self.target_spread = target_spread
        for name, centre, spread in zip(self.names, centres, spreads, strict=True):
            self.register_buffer(f"centre_{name}", torch.as_tensor(np.asarray(centre), dtype=torch.float32))
            self.register_buffer(f"spread_{name}", torch.as_tensor(np.asarray(spread), dtype=torch.float32))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        n = len(self.names)
        features, observed_BUM, valid_BU = inputs[:n], inputs[n], inputs[n + 1]
        standardised = {
            name: (x_BUD - getattr(self, f"centre_{name}")) / getattr(self, f"spread_{name}")
            for name, x_BUD in zip(self.names, features, strict=True)
        }
        observed_BUM = observed_BUM & valid_BU[..., None]
        more = {"speaker_BU": inputs[n + 2]} if self.tells_speakers else {}
        output = self.model(standardised, observed_BUM, valid_BU, **more)
        joint_BUC = output.joint_BUC
        if self.classification:
            answer_BUC = torch.softmax(joint_BUC, dim=-1)
        else:
            answer_BUC = joint_BUC * self.target_spread + self.target_centre
        # A model without a coordinator weighs every observed modality alike.
        weight_BUM = observed_BUM.to(answer_BUC.dtype) if output.weight_BUM is None else output.weight_BUM
        real_BU1 = valid_BU[..., None]
        return torch.where(real_BU1, answer_BUC, 0.0), torch.where(real_BU1, weight_BUM, 0.0)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return inputs to trace with: two dialogues of three utterances, so that no dimension is 1."""
        features = [torch.zeros(2, 3, width) for width in self.model.modalities.values()]
        observed = torch.ones(2, 3, len(features), dtype=torch.bool)
        speakers = [torch.zeros(2, 3, dtype=torch.int64)] if self.tells_speakers else []
        return (*features, observed, torch.ones(2, 3, dtype=torch.bool), *speakers)

    def free_shapes(self) -> tuple[tuple[dict[int, Dim], ...], ...]:
        """Return which dimensions of the inputs are free: the dialogues, and their utterances up to the model's limit.

        One shape for each of the inputs, which are the variable arguments of `forward`: hence the tuple in a tuple.
        """
        utterances = Dim("utterances", min=1, max=self.most_utterances)
        return (tuple({0: Dim("batch", min=1), 1: utterances} for _ in self.example_inputs()),)

    def input_names(self) -> list[str]:
        return [*self.names, "observed", "valid", *(["speaker"] if self.tells_speakers else [])]

    def run(self, case: Arrays) -> list[np.ndarray]:
        """Answer a case of NumPy arrays: the reference that an export is compared with."""
        with torch.inference_mode():
            return [output.numpy() for output in self(*map(torch.from_numpy, case))]


def tells_speakers(model: nn.Module) -> bool:
    """Say whether the model's answer depends on who speaks."""
    return bool(getattr(model, "uses_speakers", False))
