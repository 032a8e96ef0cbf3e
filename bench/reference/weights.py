"""Random weights of a geometry, in memory. The same geometries as bench/make-checkpoint/geometries.ts."""

import torch

TOWER = {"depth": 32, "hidden": 1280, "mlp": 3420, "heads": 16, "fullatt": [7, 15, 23, 31]}
LARGE = {"vision": TOWER, "rank": 32, "theta": 1e6, "vocab": 151936}
GEOMETRIES = {
    "published": {**LARGE, "hidden": 2048, "layers": 36, "heads": 16, "kvHeads": 2, "mlp": 11008},
    "qwen2.5-vl-7b": {
        **LARGE, "hidden": 3584, "layers": 28, "heads": 28, "kvHeads": 4, "mlp": 18944, "vocab": 152064,
    },
    "small": {
        **LARGE, "hidden": 128, "layers": 4, "heads": 4, "kvHeads": 2, "mlp": 384, "vocab": 320, "rank": 4,
        "vision": {"depth": 4, "hidden": 64, "mlp": 128, "heads": 4, "fullatt": [1, 3]},
    },
}  # fmt: skip

_drawn = {}


def matrix(outputs, inputs, part=1.0):
    """A matrix that keeps the variance of its input. Drawn once a shape, then copied: each layer has memory of its own."""
    key = (outputs, inputs, part)
    if key not in _drawn:
        _drawn[key] = torch.randn(outputs, inputs) * (part / inputs**0.5)
        return _drawn[key]
    return _drawn[key].clone()


def decoder_layer(g):
    D, F = g["hidden"], g["mlp"]
    kv = D // g["heads"] * g["kvHeads"]
    p = {"input_layernorm": torch.ones(D), "post_attention_layernorm": torch.ones(D)}
    maps = {
        "q_proj": (D, D), "k_proj": (kv, D), "v_proj": (kv, D), "o_proj": (D, D),
        "gate_proj": (F, D), "up_proj": (F, D), "down_proj": (D, F),
    }  # fmt: skip
    for name, (outputs, inputs) in maps.items():
        p[f"{name}.weight"] = matrix(outputs, inputs)
        p[f"{name}.A"] = matrix(g["rank"], inputs)
        p[f"{name}.B"] = matrix(outputs, g["rank"], 0.2)
        if name in ("q_proj", "k_proj", "v_proj"):
            p[f"{name}.bias"] = torch.zeros(outputs)
    return p


def vision_layer(v):
    C, F = v["hidden"], v["mlp"]
    p = {"norm1": torch.ones(C), "norm2": torch.ones(C)}
    maps = {
        "qkv": (3 * C, C), "proj": (C, C), "gate_proj": (F, C), "up_proj": (F, C), "down_proj": (C, F),
    }  # fmt: skip
    for name, (outputs, inputs) in maps.items():
        p[f"{name}.weight"] = matrix(outputs, inputs)
        p[f"{name}.bias"] = torch.zeros(outputs)
    return p


def merger_weights(g):
    C4 = 4 * g["vision"]["hidden"]
    return {
        "ln_q": torch.ones(C4 // 4),
        "0.weight": matrix(C4, C4),
        "0.bias": torch.zeros(C4),
        "2.weight": matrix(g["hidden"], C4),
        "2.bias": torch.zeros(g["hidden"]),
    }
