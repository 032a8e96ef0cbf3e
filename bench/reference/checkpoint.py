"""Reads one decoder block of a checkpoint in the published layout, without any package but torch."""

import json
import struct
from pathlib import Path

import torch

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def read_block(folder, task, layer=0):
    """Weights of a decoder layer with an adapter's A and B, in float32, and the geometry that decoder_block needs."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())["text_config"]
    g = {
        "hidden": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "kvHeads": config["num_key_value_heads"],
        "theta": config["rope_theta"],
    }
    p = {}
    for file in sorted(folder.glob("model*.safetensors")):
        for name, value in tensors(file, f"model.layers.{layer}."):
            key = name.replace("self_attn.", "").replace("mlp.", "")
            p[key.removesuffix(".weight") if "layernorm" in key else key] = value
    lora = json.loads((folder / "adapters/adapter_config.json").read_text())
    prefix = f"base_model.model.model.language_model.layers.{layer}."
    for name, value in tensors(folder / "adapters/adapter_model.safetensors", prefix):
        if f".{task}." not in name:
            continue
        module, rest = name.split(".lora_")
        scale = lora["lora_alpha"] / lora["r"] if rest.startswith("B") else 1.0
        p[f"{module.split('.')[-1]}.{rest[0]}"] = value * scale
    return p, g


def tensors(path, prefix):
    """(name without prefix, float32 tensor) of every tensor whose name begins with the prefix."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if not name.startswith(prefix):
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            raw = torch.frombuffer(bytearray(file.read(end - begin)), dtype=DTYPES[entry["dtype"]])
            yield name.removeprefix(prefix), raw.reshape(entry["shape"]).float()
