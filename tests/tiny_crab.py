"""A tiny random network of the Crab family in a model folder, for tests that look into it."""

from __future__ import annotations

from pathlib import Path

import torch

from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig
from crab_core.weights.folder import Header, write_folder

TOKENIZER = Path(__file__).parent / "parity" / "data" / "tokenizer"
DECODER = {
    **{"width": 16, "feature_width": 20, "state_width": 24, "queries": 3, "heads": 2, "ffn": 8, "layers": 1},
    **{"classes": 71, "middle_px": 8, "out_px": 8},
}
QFORMER = {"layers": 1, "hidden": 16, "heads": 2, "ffn": 16, "out_width": 24}


def write_tiny(folder: Path, heads: int = 3, capabilities: tuple[str, ...] = ()) -> Path:
    """A model folder with random weights and an I-LoRA of that many heads; 0 leaves the adapter out.

    `capabilities` are those of its mask decoders, `avs` and `avss`.
    """
    torch.manual_seed(1)
    document = {
        "visual": {"kind": "conv", "options": {"widths": [4, 4, 8, 12], "image_px": 32}},
        "audio": {"kind": "conv", "options": {"widths": [4, 4, 8, 8], "width": 12}},
        "vl": {**QFORMER, "queries": 3, "encoder_width": 12},
        "al": {**QFORMER, "queries": 2, "encoder_width": 12},
        "llm": {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "vocab_size": 417,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
        },
        "ilora": {"heads": heads, "rank": 2, "alpha": 4.0} if heads else None,
        "media": {"frame_px": 32},
    }
    if capabilities:
        document["mask"] = {"layers": [0, 0], "capabilities": list(capabilities), "decoder": DECODER}
    model = CrabModel(CrabConfig.from_dict(document)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ilora_B" in name or name.startswith("llm."):
                parameter.normal_(std=0.3)
        model.llm.get_input_embeddings().weight[3:259] = 0  # random bytes are no text
    files = {path.name: path.read_bytes() for path in TOKENIZER.iterdir()}
    header = Header(name="tiny", family="crab", config=model.config.to_dict(), licence="Apache-2.0")
    write_folder(folder, header, model.tensors(), files)
    return folder
