"""The tiny release as files: what its publishers would offer, written into a folder from the goldens in data/."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

DATA = Path(__file__).parent / "parity" / "data"
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 2048,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 400,
}
CLIP = {
    "model_type": "clip_vision_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 32,
    "image_size": 224,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 24,
    "patch_size": 14,
}
BERT = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "layer_norm_eps": 1e-12}


def write_release(folder: Path) -> Path:
    """llama/, clip/, beats.pt, bert.json, finetune.bin, avs.bin and positions.safetensors."""
    for name, config, source in (("llama", LLAMA, "llama_tiny"), ("clip", CLIP, "clip_tiny")):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        save_file(load_file(DATA / f"{source}.safetensors"), folder / name / "model.safetensors")
    for path in sorted((DATA / "tokenizer").iterdir()):
        (folder / "llama" / path.name).write_bytes(path.read_bytes())
    (folder / "beats.pt").write_bytes((DATA / "beats.pt").read_bytes())
    (folder / "bert.json").write_text(json.dumps(BERT))
    torch.save(load_file(DATA / "finetune_weights.safetensors"), folder / "finetune.bin")
    masks = load_file(DATA / "avs_finetune_masks.safetensors")
    positions = {key: masks.pop(key) for key in list(masks) if key.endswith("gaussian_matrix")}
    torch.save(masks | load_file(DATA / "avs_finetune_tokens.safetensors"), folder / "avs.bin")
    save_file(positions, folder / "positions.safetensors")
    return folder


def arguments(root: Path, out: Path) -> list[str]:
    """What `crab` is told to import it."""
    words = ["models", "import", "crab-7b", "-o", str(out), "--positions", str(root / "positions.safetensors")]
    files = {"llm": "llama", "clip": "clip", "beats": "beats.pt", "finetune": "finetune.bin", "avs": "avs.bin"}
    for option, name in {**files, "bert-config": "bert.json"}.items():
        words += [f"--{option}", str(root / name)]
    return words
