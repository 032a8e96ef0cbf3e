"""
Shows that PEFT loads what saveAdapter writes. saved/<name>/ are the adapters of saved-adapters.ts, as adapter-files.test.ts
has them written; this loads each on a base of random maps and keeps base, inputs and what PEFT computes in
peft-loads.safetensors, which the test compares with. Run with peft 0.21.0, torch 2.13.0, safetensors:

    python peft-loads.py

Tensors: `weight|bias/<map>`, `x/<map>` [5, in], `y/<adapter>/<map>` [5, out]; maps have the names of this project.
"""
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
MAPS = {  # (in, out), or the shape of a convolution whose kernel is its stride
    "visual.patch_embed.proj": (6, 3, 1, 2, 2),
    "visual.blocks.0.attn.qkv": (8, 12),
    "model.layers.0.self_attn.q_proj": (12, 10),
    "model.layers.0.self_attn.o_proj": (10, 12),
    "model.layers.1.mlp.up_proj": (12, 14),
    "multi_vector_projector": (12, 4),
}


def published_name(name):
    if name.startswith("visual."):
        return "model." + name
    return name.replace("model.layers", "model.language_model.layers")


def base():
    torch.manual_seed(11)
    root = torch.nn.Module()
    for name, sizes in MAPS.items():
        if len(sizes) == 2:
            layer = torch.nn.Linear(*sizes)
        else:
            layer = torch.nn.Conv3d(sizes[1], sizes[0], sizes[2:], stride=sizes[2:], bias=False)
        *parents, leaf = published_name(name).split(".")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, torch.nn.Module())
            node = getattr(node, parent)
        node.add_module(leaf, layer)
    return root


def main():
    torch.manual_seed(5)
    x = {n: torch.randn(5, s[0] if len(s) == 2 else s[1] * s[2] * s[3] * s[4]) for n, s in MAPS.items()}
    out = {f"x/{n}": v for n, v in x.items()}
    for name, parameter in base().named_parameters():
        path, kind = name.rsplit(".", 1)
        own = next(n for n in MAPS if published_name(n) == path)
        out[f"{kind}/{own}"] = parameter.detach().flatten(1).clone() if kind == "weight" else parameter.detach().clone()
    for folder in sorted((HERE / "saved").iterdir()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base(), folder, adapter_name="mine").eval()
        assert not [w for w in caught if "adapter keys" in str(w.message)], [str(w.message) for w in caught]
        for key, value in load_file(folder / "adapter_model.safetensors").items():  # nothing stayed at its init
            path = key.replace(".weight", "").replace(".bias", "")
            held = [p for n, p in model.named_parameters() if n.startswith(path + ".") and p.shape == value.shape]
            assert any(torch.equal(p, value) for p in held), key
        for name, sizes in MAPS.items():
            layer = model.base_model.model.get_submodule(published_name(name))
            given = x[name] if len(sizes) == 2 else x[name].reshape(5, *sizes[1:])
            out[f"y/{folder.name}/{name}"] = layer(given).detach().reshape(5, -1).clone()
    save_file(out, HERE / "peft-loads.safetensors")


main()
