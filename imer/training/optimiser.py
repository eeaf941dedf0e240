"""Adam with what belongs around it: parameter groups, warm-up, clipping, and a running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from imer.training.settings import TrainSettings

SHORTEST_MEMORY = 10  # steps: the running mean forgets its start this fast at first


class Optimiser:
    """One stage's optimiser. `state` and `load_state` carry it through a checkpoint, bit for bit."""

    def __init__(self, model: nn.Module, settings: TrainSettings, max_epochs: int, steps_per_epoch: int) -> None:
        self.model, self.settings = model, settings
        self.total_steps = max(1, max_epochs * steps_per_epoch)
        self.warmup_steps = settings.warmup_epochs * steps_per_epoch
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.adam = kind(parameter_groups(model, settings), lr=settings.learning_rate, fused=True)
        self.steps = 0
        self.norm_sum, self.norm_count = 0.0, 0
        memory = settings.average_epochs * steps_per_epoch
        self.decay = 1.0 - 1.0 / max(memory, 1.0)
        self.mean = [p.detach().clone() for p in self.parameters] if memory else []

    def step(self, loss: Tensor) -> None:
        """Take one step down this loss."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm or math.inf)
        factor = self._rate_factor()
        for group in self.adam.param_groups:
            group["lr"] = self.settings.learning_rate * group["factor"] * factor
        self.adam.step()
        self.steps += 1
        self.norm_sum, self.norm_count = self.norm_sum + float(norm), self.norm_count + 1
        if self.mean:
            decay = min(self.decay, self.steps / (self.steps + SHORTEST_MEMORY))
            with torch.no_grad():
                torch._foreach_lerp_(self.mean, self.parameters, 1.0 - decay)

    def _rate_factor(self) -> float:
        factor = min(1.0, (self.steps + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.settings.schedule == "cosine":
            factor *= 0.5 * (1.0 + math.cos(math.pi * self.steps / self.total_steps))
        return factor

    def mean_gradient_norm(self) -> float:
        """Return the mean norm of the gradient (before clipping) since the last call."""
        mean = self.norm_sum / max(self.norm_count, 1)
        self.norm_sum, self.norm_count = 0.0, 0
        return mean

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within, the model has the running mean of its weights."""
        if not self.mean:
            yield
            return
        with torch.no_grad():
            own = [p.detach().clone() for p in self.parameters]
            for parameter, mean in zip(self.parameters, self.mean, strict=True):
                parameter.copy_(mean)
            try:
                yield
            finally:
                for parameter, kept in zip(self.parameters, own, strict=True):
                    parameter.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, as named tensors."""
        tensors = {"steps": torch.tensor(self.steps)}
        for index, parameter in enumerate(self.parameters):
            for key, value in self.adam.state.get(parameter, {}).items():
                tensors[f"{index}.{key}"] = value
            if self.mean:
                tensors[f"{index}.mean"] = self.mean[index]
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.steps = int(tensors["steps"])
        for index, parameter in enumerate(self.parameters):
            kept: dict[str, Any] = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{index}.{key}" in tensors:
                    on = "cpu" if key == "step" and parameter.device.type == "cpu" else parameter.device
                    kept[key] = tensors[f"{index}.{key}"].to(on)
            if kept:
                self.adam.state[parameter] = kept
            if self.mean:
                self.mean[index].copy_(tensors[f"{index}.mean"])


def parameter_groups(model: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Return AdamW's groups: no decay for biases, norms, any other vector (also the weights of a layer with one output)
    and what the model exempts; the head's own learning rate.
    """
    exempt = set(model.undecayed()) if hasattr(model, "undecayed") else set()
    called = set(getattr(model, "modalities", ()))  # a modality may be called anything, "norm" among it
    head_factor = float(getattr(getattr(model, "head", None), "learning_rate_factor", 1.0))
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        normed = any("norm" in part for part in name.split(".") if part not in called)
        plain = name.endswith("bias") or normed or parameter.squeeze().ndim <= 1 or name in exempt
        plain = plain and settings.optimiser == "adamw"
        factor = head_factor if name.startswith("head.") else 1.0
        groups.setdefault((not plain, factor), []).append(parameter)
    return [
        {"params": members, "weight_decay": settings.weight_decay if decayed else 0.0, "factor": factor}
        for (decayed, factor), members in groups.items()
    ]
