"""
Shows that PEFT loads what saveAdapter writes. saved/<name>/ are the adapters of saved-adapters.ts, as adapter-files.test.ts
has them written; this loads each on a base of random maps and keeps base, inputs and what PEFT computes in
peft-loads.safetensors, which the test compares with. Run with peft 0.21.0, torch 2.13.0, safetensors:

    python peft-loads.py

Tensors: `weight|bias/<map>`, `x/<map>` [5, in], `y/<adapter>/<map>` [5, out]; maps have the names of this project.
"""
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from base_maps import MAPS, base, inputs, published_name, run  # noqa: E402


def main():
    out = {f"x/{n}": v for n, v in inputs().items()}
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
        for name, y in run(model.base_model.model).items():
            out[f"y/{folder.name}/{name}"] = y
    save_file(out, HERE / "peft-loads.safetensors")


main()
