"""
Writes forms/<name>/, adapters as PEFT's save_pretrained leaves them, and peft-forms.safetensors, what PEFT computes with
them, beside the weights and merged; peft-forms.test.ts compares. The base and the inputs are those of peft-loads.py. Run
with peft 0.21.0, torch 2.13.0, safetensors:

    python peft-forms.py

Tensors: `y/<form>/<map>` [5, out], `merged/<form>/<map>.weight|bias`, and `both/<a>+<b>/<map>` with two adapters active, in
this order; maps have the names of this project.
"""
import shutil
import sys
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from base_maps import MAPS, base, published_name, run  # noqa: E402

ATTENTION = ["q_proj", "o_proj"]
FORMS = {
    "dora": dict(use_dora=True, lora_alpha=3, target_modules=["q_proj", "o_proj", "up_proj", "qkv", "multi_vector_projector"]),
    "dora-rslora": dict(use_dora=True, use_rslora=True, lora_alpha=2, target_modules=ATTENTION),
    "dora-convolution": dict(use_dora=True, lora_alpha=1, target_modules=["patch_embed.proj"]),
    "bias": dict(lora_bias=True, lora_alpha=3, target_modules=["q_proj", "qkv"]),
    "tower": dict(lora_alpha=4, target_modules=r".*visual.*(proj|qkv)"),
    "patterns": dict(
        lora_alpha=4,
        use_rslora=True,
        target_modules=["q_proj", "o_proj", "up_proj", "qkv"],
        rank_pattern={"q_proj": 3, r"visual\.blocks\.\d+\.attn\.qkv": 1, "^model.language_model.layers.1.mlp.up_proj": 2},
        alpha_pattern={"layers.0.self_attn.o_proj": 7, r"visual\..*": 0.5},
    ),
    "saved": dict(lora_alpha=2, target_modules=ATTENTION, modules_to_save=["multi_vector_projector", "qkv"]),
    "plain": dict(lora_alpha=2, target_modules=ATTENTION),
}


def made(name, seed):
    torch.manual_seed(seed)
    model = get_peft_model(base(), LoraConfig(r=2, **FORMS[name])).eval()
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.4)
        elif "lora_magnitude_vector" in key:
            parameter.data *= 0.5 + torch.rand_like(parameter)
        elif "modules_to_save" in key:
            torch.nn.init.normal_(parameter)
    return model


def main():
    warnings.simplefilter("ignore")
    out = {}
    shutil.rmtree(HERE / "forms", ignore_errors=True)
    for seed, name in enumerate(FORMS):
        model = made(name, 100 + seed)
        model.save_pretrained(HERE / "forms" / name)
        (HERE / "forms" / name / "README.md").unlink()
        for map_name, y in run(model.base_model.model).items():
            out[f"y/{name}/{map_name}"] = y
        merged = model.merge_and_unload()
        for map_name in MAPS:
            layer = merged.get_submodule(published_name(map_name))
            out[f"merged/{name}/{map_name}.weight"] = layer.weight.detach().flatten(1).clone()
            if layer.bias is not None:
                out[f"merged/{name}/{map_name}.bias"] = layer.bias.detach().clone()
    for a, b in (("plain", "dora"), ("dora", "dora-rslora")):
        model = PeftModel.from_pretrained(base(), HERE / "forms" / a, adapter_name=a)
        model.load_adapter(HERE / "forms" / b, adapter_name=b)
        model.base_model.set_adapter([a, b])
        for map_name, y in run(model.eval().base_model.model).items():
            out[f"both/{a}+{b}/{map_name}"] = y
    save_file(out, HERE / "peft-forms.safetensors")


main()
