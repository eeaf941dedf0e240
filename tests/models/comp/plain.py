"""ComP once more, in the plainest way: one dialogue without padding, one modality, one query at a time, in float64.

Written from the equations and not from the model, whose parameters it borrows by name. It knows the linear head.
Shapes: x [t, H] are the utterances of a dialogue in one modality; seen [t, M] bool tells what is observed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imer.models.base import BRANCHES
from imer.models.comp.model import Comp


@dataclass
class Said:
    """Of one dialogue: uni and rebuilt by modality, [t, C] and [t, D]; joint [t, C] and weight [t, M] in the second stage."""

    uni: list[Tensor]
    rebuilt: list[Tensor]
    joint: Tensor | None = None
    weight: Tensor | None = None


class PlainComp:
    """`parameters` are float64 leaves of autograd; regulator[u][b][t] multiplies what instance t gives to the prototypes."""

    def __init__(self, model: Comp) -> None:
        self.settings, self.names = model.settings, list(model.modalities)
        self.late_fusion = model.head.settings.late_fusion
        self.parameters = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}

    def answer(
        self, dialogues: list[list[Tensor]], seen: list[Tensor], stage: str, regulator: list[list[Tensor]] | None = None
    ) -> list[Said]:
        """Answer dialogues, each a list of features [t, D_u] by modality."""
        n, settings = len(self.names), self.settings
        settled = settings.stage1 and stage != BRANCHES
        encoded = [
            [self._encoded(x, o, u, settled=settled) for u, x in enumerate(xs)]
            for xs, o in zip(dialogues, seen, strict=True)
        ]
        z = [[self._started(e, o, u) for u, e in enumerate(es)] for es, o in zip(encoded, seen, strict=True)]
        said = [Said([], [self._rebuilt(e, u) for u, e in enumerate(es)]) for es in encoded]
        if stage == BRANCHES:
            for block in range(settings.blocks):
                z = [[self._read(x, o, block, u) for u, x in enumerate(xs)] for xs, o in zip(z, seen, strict=True)]
        else:
            z = self._propagated(z, seen, regulator)
        for one, xs, o in zip(said, z, seen, strict=True):
            one.uni = [self._linear(xs[u], "branch_heads", u) for u in range(n)]
            if stage != BRANCHES:
                one.weight = self._coordinated(xs, o)
                one.joint = self._headed(xs, one)
        return said

    # --- layers ---------------------------------------------------------------------------------------------------

    def _linear(self, x: Tensor, name: str, u: int) -> Tensor:
        """A layer of modality u, of weights [M, in, out]."""
        y = x @ self.parameters[f"{name}.weight"][u]
        return y + self.parameters[f"{name}.bias"][u].view(-1) if f"{name}.bias" in self.parameters else y

    def _common(self, x: Tensor, name: str) -> Tensor:
        """A layer of `nn.Linear`."""
        return functional.linear(x, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _mlp(self, x: Tensor, name: str, u: int) -> Tensor:
        return self._linear(functional.gelu(self._linear(x, f"{name}.inner", u)), f"{name}.outer", u)

    def _normed(self, x: Tensor, name: str, u: int) -> Tensor:
        weight, bias = (self.parameters[f"{name}.{part}"][u].view(-1) for part in ("weight", "bias"))
        return functional.layer_norm(x, x.shape[-1:], weight, bias)

    # --- in and out of the branches -------------------------------------------------------------------------------

    def _encoded(self, x: Tensor, seen: Tensor, u: int, *, settled: bool) -> Tensor:
        shown = torch.where(seen[:, [u]], x.double(), 0.0).clamp(-self.settings.clip_z, self.settings.clip_z)
        h = self._common(shown, f"encoder.enter.{self.names[u]}")
        if x.shape[-1] <= self.settings.magnitudes_up_to:
            far = (shown.abs().clamp(max=3.0) - (2.0 / torch.pi) ** 0.5) / 3.0
            weight = self.parameters[f"encoder.magnitudes.{self.names[u]}.weight"]
            h = h + far @ (weight.detach() if settled else weight).T
        return h + self._mlp(h, "encoder.update", u)

    def _rebuilt(self, encoded: Tensor, u: int) -> Tensor:
        inner = functional.gelu(self._common(encoded, f"decoder.inner.{self.names[u]}"))
        return self._common(inner, f"decoder.leave.{self.names[u]}")

    def _started(self, encoded: Tensor, seen: Tensor, u: int) -> Tensor:
        """A learnt vector where nothing is observed; then what the neighbours add."""
        z = torch.where(seen[:, [u]], encoded, self.parameters["encoder.missing"][u].view(-1))
        if self.settings.positions != "conv":
            return z
        kernel, bias = self.parameters["positions.kernel"][:, u, 0, 0], self.parameters["positions.bias"][u].view(-1)
        before = len(kernel) - 1 if self.settings.causal else (len(kernel) - 1) // 2
        added = []
        for t in range(len(z)):
            near = [(s, t + s - before) for s in range(len(kernel)) if 0 <= t + s - before < len(z)]
            added.append(sum((kernel[s] * z[place] for s, place in near), bias))
        return z + torch.stack(added)

    # --- attention and propagation --------------------------------------------------------------------------------

    def _read(self, x: Tensor, seen: Tensor, block: int, u: int) -> Tensor:
        """The attention layers of a block."""
        for number in range(self.settings.layers):
            layer = f"blocks.{block}.layers.{number}"
            if self.settings.attention == "published":
                y, _ = self._attended(x, seen, layer, u)
                x = x + y + self._mlp(y, f"{layer}.mlp", u)
                continue
            y, reads = self._attended(self._normed(x, f"{layer}.norm_attention", u), seen, layer, u)
            x = x + torch.where(reads[:, None], self._linear(y, f"{layer}.out", u), 0.0)
            x = x + self._mlp(self._normed(x, f"{layer}.norm_mlp", u), f"{layer}.mlp", u)
        last = block == self.settings.blocks - 1
        return self._normed(x, f"blocks.{block}.final_norm", u) if last and self.settings.final_norm else x

    def _attended(self, x: Tensor, seen: Tensor, layer: str, u: int) -> tuple[Tensor, Tensor]:
        """Return what every utterance reads, [t, H], and whether it reads anything at all."""
        width = x.shape[1] // self.settings.heads
        query, key, value = self._linear(x, f"{layer}.query_key_value", u).chunk(3, dim=-1)
        read, reads = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.bool)
        for t in range(len(x)):
            past = range(t + 1) if self.settings.causal else range(len(x))
            keys = [j for j in past if seen[j, u] or self.settings.keys == "valid"]
            prompts = self._own_prompts(seen[t])
            reads[t] = bool(keys or prompts)
            if not reads[t]:
                continue
            heads = []
            for first in range(0, x.shape[1], width):
                part = slice(first, first + width)
                scores = [self._turned(query[t, part], t) @ self._turned(key[j, part], j) for j in keys]
                values = [value[j, part] for j in keys]
                for row in prompts:
                    scores.append(query[t, part] @ self.parameters[f"{layer}.prompts.prompt_key"][u, row, part])
                    values.append(self.parameters[f"{layer}.prompts.prompt_value"][u, row, part])
                heads.append((torch.stack(scores) / width**0.5).softmax(0) @ torch.stack(values))
            read = torch.cat([read[:t], torch.cat(heads)[None], read[t + 1 :]])
        return read, reads

    def _own_prompts(self, seen_M: Tensor) -> list[int]:
        """Rows of the missing-aware prompts that an utterance reads: its case's, or those of its modalities."""
        here = seen_M.nonzero().flatten().tolist()
        owners = {"none": [], "modality": here, "case": [sum(2**u for u in here) - 1] if here else []}
        length = self.settings.missing_prompt_length
        return [owner * length + i for owner in owners[self.settings.missing_prompts] for i in range(length)]

    def _turned(self, x: Tensor, place: int) -> Tensor:
        if self.settings.positions != "rotary":
            return x
        half = len(x) // 2
        angle = place / 1000.0 ** (torch.arange(half) / half)
        pairs = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones_like(angle.double()), angle.double())
        return torch.cat([pairs.real, pairs.imag])

    def _propagated(
        self, z: list[list[Tensor]], seen: list[Tensor], regulator: list[list[Tensor]] | None
    ) -> list[list[Tensor]]:
        n, settings = len(self.names), self.settings
        others = [[v for v in range(n) if v != u] for u in range(n)]
        returned: list[list[list[Tensor]]] = []
        banks = [[self._prototypes(z, seen, b, u) for u in range(n)] for b in range(len(z))]
        for block in range(settings.blocks):
            new = [[self._prompt(xs[u], banks[b][u], block, u, regulator and regulator[u][b]) for u in range(n)]
                   for b, xs in enumerate(z)]  # fmt: skip
            after, back = [], []
            for b, xs in enumerate(z):
                after.append([])
                back.append([])
                for u in range(n):
                    heard = []
                    for place, v in enumerate(others[u]):
                        momentum = settings.prompt_momentum if block else 0.0
                        before = returned[b][u][place] if block else 0.0
                        prompt = momentum * before + (1 - momentum) * new[b][v]
                        sends = seen[b][:, [v]] | settings.prompts_from_missing
                        scale = 1.0
                        if settings.prompt_aggregation == "rescale":
                            scale = (n - 1) / seen[b][:, others[u]].sum(1, keepdim=True).clamp(min=1)
                        heard.append(torch.where(sends, prompt * scale, 0.0))
                    g = self._linear(xs[u], f"blocks.{block}.fuse_own", u)
                    g = g + self._linear(torch.cat(heard, -1), f"blocks.{block}.fuse_prompts", u)
                    g = self._read(g, seen[b], block, u)
                    after[b].append(self._linear(g, f"blocks.{block}.out", u))
                    if block < settings.blocks - 1:
                        back[b].append(self._linear(g, f"blocks.{block}.back", u).split(settings.prompt_width, dim=-1))
            z, returned = after, back
        return z

    def _prototypes(self, z: list[list[Tensor]], seen: list[Tensor], b: int, u: int) -> Tensor:
        if self.settings.prototypes == "batch":
            spare = [self.settings.longest_dialogue - len(xs[u]) for xs in z]
            along = [functional.pad(xs[u], (0, 0, 0, more)).T for xs, more in zip(z, spare, strict=True)]
            return torch.cat([self._mlp(x, "prototypes.compress", u).T for x in along])
        bank = self.parameters["prototypes.bank"][u]
        if self.settings.prototypes == "bank" or not seen[b][:, u].any():
            return bank
        rows = z[b][u][seen[b][:, u]]
        share = (self.parameters["prototypes.pool_query"][u] @ rows.T / bank.shape[1] ** 0.5).softmax(-1)
        return bank + self.parameters["prototypes.pool_gain"][u].view(()) * (share @ rows)

    def _prompt(self, x: Tensor, prototypes: Tensor, block: int, u: int, regulator: Tensor | None) -> Tensor:
        """What a modality has to say, [t, p]; every instance has a copy of the prototypes, whose gradient is its own."""
        name, mixed = f"generators.{block}", []
        sharpness = self.parameters.get(f"{name}.assign.log_sharpness")
        for t, row in enumerate(x):
            own = prototypes.clone()
            if regulator is not None:
                own.register_hook(lambda gradient, t=t: gradient * regulator[t])
            cosine = functional.cosine_similarity(row[None], own, eps=1e-6)
            if sharpness is not None:
                cosine = cosine * sharpness[u].view(()).exp().clamp(1.0, 50.0)
            mixed.append(cosine.softmax(0) @ own)
        said = self._mlp(torch.stack(mixed), f"{name}.from_prototypes", u)
        if self.settings.prompt_head == "sum":
            return said + self._linear(x, f"{name}.from_branch", u)
        return self._mlp(said + self._mlp(x, f"{name}.from_branch", u), f"{name}.join", u)

    # --- coordinator and head -------------------------------------------------------------------------------------

    def _coordinated(self, xs: list[Tensor], seen: Tensor) -> Tensor:
        heard = seen
        if self.settings.coordinator_mask == "soft":
            heard = (seen.cumsum(0) > 0) if self.settings.causal else seen.any(0).expand_as(seen)
        if self.settings.coordinator_mask == "none":
            heard = torch.ones_like(seen)
        told = torch.cat([torch.where(heard[:, [u]], x, 0.0) for u, x in enumerate(xs)], dim=-1)
        logit = self._common(functional.gelu(self._common(told, "coordinator.router.0")), "coordinator.router.2")
        if self.settings.coordinator_mask == "soft":
            logit = logit + torch.where(seen, 0.0, self.parameters["coordinator.unobserved"])
        rows = []
        for t in range(len(seen)):
            speaking = heard[t].nonzero().flatten()
            rows.append(logit.new_zeros(len(xs)).index_add(0, speaking, logit[t, speaking].softmax(0) * len(speaking)))
        return torch.stack(rows)

    def _headed(self, xs: list[Tensor], said: Said) -> Tensor:
        fused = torch.cat([said.weight[:, [u]] * x for u, x in enumerate(xs)], dim=-1)
        joint = self._common(fused + self._common(fused, "head.mix").relu(), "head.classify")
        total = said.weight.sum(1, keepdim=True).clamp(min=1.0)
        return joint + self.late_fusion * sum(said.weight[:, [u]] * x for u, x in enumerate(said.uni)) / total
