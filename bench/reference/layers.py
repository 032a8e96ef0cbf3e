"""The blocks as functions of plain dictionaries of tensors, in the order that data travels.

Letters: B texts, T tokens, D width, N query heads, K key/value heads, H head size, P patches, C vision width.
"""

import torch
from torch.nn import functional
from torch.nn.functional import gelu, linear, scaled_dot_product_attention, silu


def rms_norm(x, weight, eps=1e-6):
    return functional.rms_norm(x, weight.shape, weight, eps)  # one kernel on CUDA


def rotary_tables(positions, head_size, theta):
    """cos and sin of every position.   -> [T, H]"""
    inverse = 1.0 / theta ** (torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
    angles = positions[:, None].float() * inverse  # [T, H/2]
    angles = torch.cat([angles, angles], -1)  #      [T, H]
    return angles.cos(), angles.sin()


def rope(x, cos, sin):
    """x: [..., T, H]"""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def lora_linear(p, name, x):
    """x W' + b + (x A') B', the scale already in B."""
    y = linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
    return y + linear(linear(x, p[f"{name}.A"]), p[f"{name}.B"])


def decoder_block(p, x, cos, sin, g):
    """Pre-norm block: causal grouped-query attention, then SwiGLU.   x: [B, T, D] -> [B, T, D]"""
    B, T, D = x.shape
    N, K = g["heads"], g["kvHeads"]

    def heads(name, n):
        return lora_linear(p, name, normed).view(B, T, n, D // N).transpose(1, 2)  # [B, n, T, H]

    normed = rms_norm(x, p["input_layernorm"])
    q = rope(heads("q_proj", N), cos, sin)
    k = rope(heads("k_proj", K), cos, sin)
    v = heads("v_proj", K)
    mixed = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)  # [B, N, T, H]
    x = x + lora_linear(p, "o_proj", mixed.transpose(1, 2).reshape(B, T, D))
    normed = rms_norm(x, p["post_attention_layernorm"])
    inner = silu(lora_linear(p, "gate_proj", normed)) * lora_linear(p, "up_proj", normed)
    return x + lora_linear(p, "down_proj", inner)


def vision_block(p, x, cos, sin, heads, windows):
    """Attention inside windows, given as runs (count, length) of equal ones, then SwiGLU.   x: [P, C] -> [P, C]"""
    P, C = x.shape
    qkv = linear(rms_norm(x, p["norm1"]), p["qkv.weight"], p["qkv.bias"]).view(P, 3, heads, C // heads)
    q, k, v = qkv.unbind(1)  # [P, N, H]
    q, k = (rope(t.transpose(0, 1), cos, sin).transpose(0, 1) for t in (q, k))
    parts, at = [], 0
    for count, length in windows:
        q1, k1, v1 = (t[at : at + count * length].view(count, length, heads, -1).transpose(1, 2) for t in (q, k, v))
        mixed = scaled_dot_product_attention(q1, k1, v1)  # [count, N, length, H]
        parts.append(mixed.transpose(1, 2).reshape(count * length, C))
        at += count * length
    x = x + linear(torch.cat(parts), p["proj.weight"], p["proj.bias"])
    normed = rms_norm(x, p["norm2"])
    inner = silu(linear(normed, p["gate_proj.weight"], p["gate_proj.bias"])) * linear(
        normed, p["up_proj.weight"], p["up_proj.bias"]
    )
    return x + linear(inner, p["down_proj.weight"], p["down_proj.bias"])


def merger(p, x):
    """2 x 2 patches to one token.   x: [P, C] -> [P/4, D]"""
    wide = rms_norm(x, p["ln_q"]).view(-1, 4 * x.shape[1])
    return linear(gelu(linear(wide, p["0.weight"], p["0.bias"])), p["2.weight"], p["2.bias"])
