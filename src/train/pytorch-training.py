"""
Writes pytorch-training.safetensors, the reference values of pytorch-training.test.ts: the tiny checkpoint of test/golden
in transformers' Qwen2_5_VLModel, a LoRA by PEFT, the losses written once more in torch, gradients by autograd, and three
updates of torch.optim.AdamW behind clip_grad_norm_. Run with torch 2.13.0, transformers 5.18.0, peft 0.21.0, safetensors:

    python src/train/pytorch-training.py

Tensors: `lora/<module>/A|B` at the start (A [r, in], B [out, r]), `grad/lora/<module>/A|B`, `grad/weights/<name>` of the same
loss without the adapter, `loss/<case>`, `steps/loss`, `steps/norm`; `grad/dora/<module>/A|B|m`, `dora/loss`, `dora/norm` with the
same matrices as a rank-stabilised DoRA, whose magnitudes have no weight decay.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

GOLDEN = Path(__file__).parents[2] / "test" / "golden"
SIZES, TEMPERATURE, RANK, ALPHA = [16, 32, 64], 0.05, 2, 3
TARGETS = r".*(language_model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj)$|multi_vector_projector"
SOME_WEIGHTS = [
    "model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.k_proj.bias",
    "model.layers.2.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight", "model.norm.weight",
    "multi_vector_projector.weight", "multi_vector_projector.bias", "visual.blocks.0.attn.proj.bias",
    "visual.blocks.0.attn.qkv.weight", "visual.blocks.3.norm2.weight", "visual.merger.mlp.0.weight", "visual.merger.ln_q.weight",
]
QUERIES = [[7, 30, 211, 5], [99, 41, 300], [12, 13, 14, 15, 16]]
TEXTS = [[8, 31, 200], [400, 41, 301, 17]]  # the third document is image.small of the golden values


class Whole(torch.nn.Module):
    def __init__(self, config, projector):
        super().__init__()
        self.qwen = Qwen2_5_VLModel(config)
        self.multi_vector_projector = torch.nn.Linear(config.text_config.hidden_size, projector)


def build():
    raw = json.loads((GOLDEN / "config.json").read_text())
    config = Qwen2_5_VLConfig(**{k: v for k, v in raw.items() if k in ("text_config", "vision_config")}, image_token_id=raw["image_token_id"])
    config._attn_implementation = "eager"
    whole = Whole(config, raw["multi_vector_projector_dim"]).float()
    weights = {}
    for file in sorted(GOLDEN.glob("model-*.safetensors")):
        weights.update(load_file(file))
    renamed = {}
    for name, value in weights.items():
        if name.startswith("model."):
            name = "qwen.language_model." + name[6:]
        elif name.startswith("visual."):
            name = "qwen." + name
        renamed[name] = value.float()
    missing = whole.load_state_dict(renamed, strict=False)
    assert not missing.unexpected_keys, missing
    assert not [k for k in missing.missing_keys if "rotary" not in k], missing
    return whole.eval()


def encode(whole, golden):
    """Pooled means [S, D] and unit token vectors, input by input."""
    pooled, tokens = [], []
    for ids in QUERIES + TEXTS + ["image"]:
        if ids == "image":
            hidden = whole.qwen(
                input_ids=golden["image.small/input_ids"].long(),
                position_ids=golden["image.small/position_ids"].long(),
                pixel_values=golden["image.small/pixel_values"],
                image_grid_thw=golden["image.small/image_grid_thw"].long(),
                attention_mask=torch.ones_like(golden["image.small/input_ids"]).long(),
                mm_token_type_ids=(golden["image.small/input_ids"] == whole.qwen.config.image_token_id).int(),
            ).last_hidden_state[0]
            begin = golden["image.small/input_ids"][0].tolist().index(588)
            span = hidden[begin : begin + 6]
        else:
            hidden = whole.qwen(input_ids=torch.tensor([ids])).last_hidden_state[0]
            span = hidden
        pooled.append(span.mean(0))
        tokens.append(F.normalize(whole.multi_vector_projector(hidden), dim=-1))
    return torch.stack(pooled), tokens


def scores(pooled, tokens, a, b, size):
    if size is None:
        return torch.stack([torch.stack([(tokens[i] @ tokens[j].T).amax(1).mean() for j in b]) for i in a])
    unit = F.normalize(pooled[:, :size], dim=-1)
    return unit[a] @ unit[b].T


def over_views(loss):
    parts = [(loss(size), 1.0) for size in SIZES] + [(loss(None), 0.5)]
    return sum(l * w for l, w in parts) / sum(w for _, w in parts)


def losses(pooled, tokens):
    q, d = [0, 1, 2], [3, 4, 5]

    def info_nce(size):
        s = scores(pooled, tokens, q, d, size) / TEMPERATURE
        truth = torch.arange(3)
        return (F.cross_entropy(s, truth) + F.cross_entropy(s.T, truth)) / 2

    def hard(size):
        s = torch.cat([scores(pooled, tokens, [0, 1], [3, 4], size), scores(pooled, tokens, [0, 1], [2, 5], size)], 1) / TEMPERATURE
        return F.cross_entropy(s, torch.arange(2))

    def co_sent(size):
        s = scores(pooled, tokens, q, d, size).diagonal() / TEMPERATURE
        label = torch.tensor([0.2, 0.9, 0.5])
        diff = s[None, :] - s[:, None]
        kept = diff[label[:, None] > label[None, :]]
        return torch.logsumexp(torch.cat([torch.zeros(1), kept]), 0)

    def triplet(size):
        right = scores(pooled, tokens, q, d, size).diagonal()
        wrong = scores(pooled, tokens, q, [4, 5, 3], size).diagonal()
        return F.relu(0.2 + wrong - right).mean()

    def distill(size):
        teacher = F.softmax(torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.5, 0.4], [-0.2, 0.0, 0.8]]) / 0.1, dim=-1)
        student = F.log_softmax(scores(pooled, tokens, q, d, size) / 0.1, dim=-1)
        return F.kl_div(student, teacher, reduction="batchmean")

    cases = dict(infoNce=info_nce, hardNegatives=hard, coSent=co_sent, triplet=triplet, distillScores=distill)
    return {name: over_views(loss) for name, loss in cases.items()}


def dora(golden, start):
    whole = build()
    whole.requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS, use_dora=True, use_rslora=True)
    whole = inject_adapter_in_model(config, whole)
    parts = {}
    for name, module in whole.named_modules():
        if hasattr(module, "lora_A"):
            key = name.replace("qwen.language_model.", "model.")
            weights = (module.lora_A["default"].weight, module.lora_B["default"].weight, module.lora_magnitude_vector["default"].weight)
            for part, weight in zip("AB", weights):
                weight.data.copy_(start[f"lora/{key}/{part}"])
            parts[key] = weights
    matrices = [w for p in parts.values() for w in p[:2]]
    magnitudes = [p[2] for p in parts.values()]
    groups = [dict(params=matrices), dict(params=magnitudes, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    out, step_losses, norms = {}, [], []
    for step in range(3):
        optimizer.zero_grad()
        total = sum(losses(*encode(whole, golden)).values())
        total.backward()
        if step == 0:
            for key in [k for k in parts if "layers.1." in k or "projector" in k]:
                for part, weight in zip("ABm", parts[key]):
                    out[f"grad/dora/{key}/{part}"] = weight.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(matrices + magnitudes, 1.0))
        step_losses.append(total.detach())
        optimizer.step()
    step_losses.append(sum(losses(*encode(whole, golden)).values()).detach())
    out["dora/loss"], out["dora/norm"] = torch.stack(step_losses), torch.stack(norms)
    return out


def main():
    torch.manual_seed(11)
    golden = load_file(GOLDEN / "golden.safetensors")
    out = {}

    whole = build()
    with torch.no_grad():  # the code under test stands on the same forward pass
        hidden, _ = encode(whole, golden)
    total = sum(losses(*encode(whole, golden)).values())
    total.backward()
    out["loss/weights"] = total.detach()
    named = dict(whole.named_parameters())
    for name in SOME_WEIGHTS:
        place = "qwen.language_model." + name[6:] if name.startswith("model.") else name
        place = "qwen." + place if place.startswith("visual.") else place
        out[f"grad/weights/{name}"] = named[place].grad.clone()

    whole = build()
    whole.requires_grad_(False)
    whole = inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS), whole)
    pairs = {}
    for name, module in whole.named_modules():
        if hasattr(module, "lora_A"):
            torch.nn.init.normal_(module.lora_B["default"].weight, std=0.1)
            key = name.replace("qwen.language_model.", "model.")
            pairs[key] = (module.lora_A["default"].weight, module.lora_B["default"].weight)
    trained = [w for pair in pairs.values() for w in pair]
    for key, (a, b) in pairs.items():
        out[f"lora/{key}/A"], out[f"lora/{key}/B"] = a.detach().clone(), b.detach().clone()

    for name, value in losses(*encode(whole, golden)).items():
        out[f"loss/{name}"] = value.detach()
    optimizer = torch.optim.AdamW(trained, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    step_losses, norms = [], []
    for step in range(3):
        optimizer.zero_grad()
        total = sum(losses(*encode(whole, golden)).values())
        total.backward()
        if step == 0:
            for key, (a, b) in pairs.items():
                out[f"grad/lora/{key}/A"], out[f"grad/lora/{key}/B"] = a.grad.clone(), b.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0))
        step_losses.append(total.detach())
        optimizer.step()
    step_losses.append(sum(losses(*encode(whole, golden)).values()).detach())
    out["steps/loss"], out["steps/norm"] = torch.stack(step_losses), torch.stack(norms)
    out.update(dora(golden, out))
    save_file({k: v.contiguous().float() for k, v in out.items()}, Path(__file__).with_suffix(".safetensors"))
    print({k: v.tolist() for k, v in out.items() if k.startswith(("loss", "steps"))}, hidden.shape, len(pairs))


main()
