"""The corners of the model that saved-adapters.ts names, as random PyTorch maps, and inputs for them."""
import torch

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


def inputs():
    torch.manual_seed(5)
    return {n: torch.randn(5, s[0] if len(s) == 2 else s[1] * s[2] * s[3] * s[4]) for n, s in MAPS.items()}


def run(root):
    """What every map makes of its input. -> [5, out] each"""
    out = {}
    for name, x in inputs().items():
        sizes = MAPS[name]
        given = x if len(sizes) == 2 else x.reshape(5, *sizes[1:])
        out[name] = root.get_submodule(published_name(name))(given).detach().reshape(5, -1).clone()
    return out
