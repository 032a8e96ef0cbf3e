"""
Writes peft-combinations.safetensors, the reference values of combine-adapters.test.ts: small random LoRAs over three linear
maps, and what PEFT's LoraModel.add_weighted_adapter makes of them. Run with peft 0.21.0, torch 2.13.0, safetensors:

    python peft-combinations.py

Tensors: `source/<adapter>/<module>/A|B`, `case/<index>/<module>/A|B` (as PEFT has them, A [r, in], B [out, r]), and
`case/<index>/<module>/keep/<n>`, the masks that dare drew, in the order drawn. Metadata `index`: scales and cases as JSON.
"""
import json
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

SIZES = {"self_attn.q_proj": (12, 10), "self_attn.v_proj": (12, 6), "mlp.up_proj": (10, 14)}
ADAPTERS = {
    "one": dict(r=4, lora_alpha=8),
    "two": dict(r=4, lora_alpha=6, use_rslora=True),
    "three": dict(r=4, lora_alpha=2, target_modules=["q_proj", "up_proj"]),
    "narrow": dict(r=2, lora_alpha=5),
}
FACTORS = ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"]
DELTAS = ["svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd"]


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, (n_in, n_out) in SIZES.items():
            parent, leaf = name.split(".")
            if not hasattr(self, parent):
                self.add_module(parent, torch.nn.Module())
            getattr(self, parent).add_module(leaf, torch.nn.Linear(n_in, n_out))


def cases():
    pair, all_three = ["one", "two"], ["one", "two", "three"]
    for kind in FACTORS + DELTAS:
        for density in ([None] if kind in ("linear", "svd") else [0.4, 1.0]):
            for sign in ["total", "frequency"] if "ties" in kind else ["total"]:
                for names, weights in ((pair, [0.7, 0.5]), (all_three, [1.0, -0.6, 0.4])):
                    yield dict(type=kind, adapters=names, weights=weights, density=density, majoritySign=sign)
    yield dict(type="cat", adapters=all_three, weights=[0.7, -1.5, 0.25])
    yield dict(type="cat", adapters=["narrow", "one"], weights=[0.7, -1.5])
    yield dict(type="svd", adapters=["narrow", "one"], weights=[0.7, -1.5])
    yield dict(type="svd", adapters=["narrow", "one"], weights=[0.7, -1.5], svdRank=6)
    yield dict(type="svd", adapters=all_three, weights=[0.7, 0.5, -1.0], svdRank=3)
    yield dict(type="svd", adapters=all_three, weights=[0.7, 0.5, -1.0], svdRank=3, svdClamp=0.9)
    yield dict(type="ties_svd", adapters=["narrow", "one"], weights=[0.7, 1.5], density=0.3, svdRank=5)
    yield dict(type="ties", adapters=["two"], weights=[-0.8], density=0.2)
    yield dict(type="svd", adapters=["two"], weights=[2.0], svdRank=1)


def main():
    torch.manual_seed(4)
    warnings.simplefilter("ignore")
    drawn = []
    bernoulli = torch.bernoulli
    torch.bernoulli = lambda p: drawn.append(bernoulli(p)) or drawn[-1]
    tensors, scales = {}, {}
    everywhere = [name.split(".")[1] for name in SIZES]
    configs = {n: LoraConfig(**{"target_modules": everywhere, **c}) for n, c in ADAPTERS.items()}
    model = get_peft_model(Block(), configs["one"], adapter_name="one")
    for name, config in configs.items():
        if name != "one":
            model.add_adapter(name, config)
    modules = {name: model.base_model.model.get_submodule(name) for name in SIZES}
    for name in ADAPTERS:
        for path, module in modules.items():
            if name not in module.lora_A:
                continue
            a, b = module.lora_A[name].weight, module.lora_B[name].weight
            torch.nn.init.normal_(a, std=0.5)
            torch.nn.init.normal_(b, std=0.5)
            tensors[f"source/{name}/{path}/A"] = a.detach().clone()
            tensors[f"source/{name}/{path}/B"] = b.detach().clone()
            scales[f"{name}/{path}"] = module.scaling[name]
    listed = []
    for index, case in enumerate(cases()):
        drawn.clear()
        model.base_model.add_weighted_adapter(
            case["adapters"],
            case["weights"],
            "mixed",
            combination_type=case["type"],
            density=case.get("density"),
            majority_sign_method=case.get("majoritySign", "total"),
            svd_rank=case.get("svdRank"),
            svd_clamp=case.get("svdClamp"),
        )
        masks = list(drawn)
        for path, module in modules.items():
            a, b = module.lora_A["mixed"].weight, module.lora_B["mixed"].weight
            tensors[f"case/{index}/{path}/A"] = a.detach().clone().contiguous()
            tensors[f"case/{index}/{path}/B"] = b.detach().clone().contiguous()
            # drawn module by module: for factors all A, then all B; for deltas one each
            if masks:
                own = sum(n in module.lora_A for n in case["adapters"])
                for n in range(own if case["type"].endswith("_svd") else 2 * own):
                    tensors[f"case/{index}/{path}/keep/{n}"] = masks.pop(0).to(torch.uint8)
        config = model.peft_config["mixed"]
        assert config.lora_alpha == config.r and not masks
        listed.append({**case, "rank": config.r})
        model.delete_adapter("mixed")
    index = json.dumps({"sizes": SIZES, "scales": scales, "cases": listed})
    save_file(tensors, Path(__file__).with_suffix(".safetensors"), metadata={"index": index})


main()
