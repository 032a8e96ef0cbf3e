"""
Writes parts/<name>/, adapters as PEFT's save_pretrained leaves them that change more than linear maps (norms, the token
table, biases of the base), and peft-parts.safetensors: the base, inputs, and what PEFT computes with each of them, beside the
weights and merged. peft-parts.test.ts compares. Run with peft 0.21.0, torch 2.13.0, safetensors:

    python peft-parts.py

Tensors: `base/<name>`, `x/<part>`, `y/<form>/<part>`, `merged/<form>/<part>`, and `both/<a>+<b>/<part>` with two adapters
active; parts have the names of this project. `y` of the table is of the ids in x.
"""
import shutil
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

HERE = Path(__file__).parent
IDS = [3, 0, 19, 3, 7]
PARTS = {  # rows and width of a table, width of a norm, or in, out and bias of a linear map
    "visual.blocks.0.norm1": (8,),
    "visual.merger.ln_q": (8,),
    "visual.merger.mlp.0": (8, 12, True),
    "model.embed_tokens": (20, 12),
    "model.layers.0.input_layernorm": (12,),
    "model.layers.0.self_attn.q_proj": (12, 10, True),
    "model.layers.0.self_attn.o_proj": (10, 12, False),
    "model.norm": (12,),
    "multi_vector_projector": (12, 4, True),
}
TABLE = "model.embed_tokens"
FORMS = {
    "norms": dict(target_modules=["q_proj"], modules_to_save=["norm", "input_layernorm", "ln_q", "norm1"]),
    "table": dict(target_modules=["q_proj", "o_proj"], modules_to_save=["embed_tokens", "norm"]),
    "bias-all": dict(target_modules=["q_proj", "o_proj"], bias="all"),
    "bias-all-saved": dict(target_modules=["q_proj"], bias="all", lora_bias=True, modules_to_save=["multi_vector_projector"]),
    "bias-lora-only": dict(target_modules=["q_proj", "o_proj", "mlp.0"], bias="lora_only", use_rslora=True),
    "bias-dora": dict(target_modules=["q_proj"], bias="all", use_dora=True),
    "embedding": dict(target_modules=["embed_tokens", "o_proj"], rank_pattern={"embed_tokens": 4}, alpha_pattern={"embed_tokens": 3}),
    "embedding-table": dict(target_modules=["embed_tokens"]),
    "embedding-dora": dict(target_modules=["embed_tokens", "q_proj"], use_dora=True),
}
WITH_TABLE = ("embedding-table", "embedding-dora")  # the table itself is in the file, too


class RmsNorm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(1 + 0.3 * torch.randn(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Root(torch.nn.Module):
    """As a transformers model answers, so that PEFT can save the table on which a LoRA sits."""

    def get_input_embeddings(self):
        return self.model.language_model.embed_tokens

    def get_output_embeddings(self):
        return None


def published_name(name):
    if name.startswith("visual."):
        return "model." + name
    return name.replace("model.", "model.language_model.", 1)


def base():
    torch.manual_seed(21)
    root = Root()
    for name, sizes in PARTS.items():
        if len(sizes) == 1:
            layer = RmsNorm(*sizes)
        elif len(sizes) == 2:
            layer = torch.nn.Embedding(*sizes)
        else:
            layer = torch.nn.Linear(sizes[0], sizes[1], bias=sizes[2])
        *parents, leaf = published_name(name).split(".")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, torch.nn.Module())
            node = getattr(node, parent)
        node.add_module(leaf, layer)
    return root


def inputs():
    torch.manual_seed(6)
    return {n: torch.tensor(IDS) if n == TABLE else torch.randn(5, s[0]) for n, s in PARTS.items()}


def run(root):
    """What every part makes of its input. -> [5, out] each"""
    return {n: root.get_submodule(published_name(n))(x).detach().clone() for n, x in inputs().items()}


def made(name, seed):
    torch.manual_seed(seed)
    model = get_peft_model(base(), LoraConfig(**{"r": 2, "lora_alpha": 3, **FORMS[name]})).eval()
    for key, parameter in model.named_parameters():
        if "lora_B" in key or "lora_embedding" in key:
            torch.nn.init.normal_(parameter, std=0.4)
        elif "lora_magnitude_vector" in key:
            parameter.data *= 0.5 + torch.rand_like(parameter)
        elif "modules_to_save" in key or (key.endswith("bias") and parameter.requires_grad):
            torch.nn.init.normal_(parameter)
        elif name in WITH_TABLE and key.endswith("embed_tokens.base_layer.weight"):
            parameter.data += 0.5 * torch.randn_like(parameter)  # a table that is not the base's: it must be read
    return model


def main():
    warnings.simplefilter("ignore")
    out = {f"x/{n}": x.float() for n, x in inputs().items()}
    root = base()
    for name in PARTS:
        for kind, value in root.get_submodule(published_name(name)).named_parameters():
            out[f"base/{name}.{kind}"] = value.detach().clone()
    shutil.rmtree(HERE / "parts", ignore_errors=True)
    for seed, name in enumerate(FORMS):
        model = made(name, 200 + seed)
        model.save_pretrained(HERE / "parts" / name, save_embedding_layers=name in WITH_TABLE)
        (HERE / "parts" / name / "README.md").unlink()
        # What a file gives to a fresh base, not what the model had that was saved.
        model = PeftModel.from_pretrained(base(), HERE / "parts" / name, adapter_name=name).eval()
        for part, y in run(model.base_model.model).items():
            out[f"y/{name}/{part}"] = y
        for part, y in run(model.merge_and_unload()).items():
            out[f"merged/{name}/{part}"] = y
    a, b = "bias-all", "embedding"
    model = PeftModel.from_pretrained(base(), HERE / "parts" / a, adapter_name=a)
    model.load_adapter(HERE / "parts" / b, adapter_name=b)
    model.base_model.set_adapter([a, b])
    for part, y in run(model.eval().base_model.model).items():
        out[f"both/{a}+{b}/{part}"] = y
    save_file({key: value.contiguous() for key, value in out.items()}, HERE / "peft-parts.safetensors")


main()
