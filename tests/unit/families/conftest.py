"""A tiny random network of the Crab family in a model folder, with every part that the embedded one has."""

from pathlib import Path

import pytest
import torch

from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig
from crab_core.weights.folder import Header, write_folder

TOKENIZER = Path(__file__).parents[2] / "parity" / "data" / "tokenizer"
QFORMER = {"layers": 1, "hidden": 32, "heads": 2, "ffn": 48, "out_width": 48}


def tiny_document(**changes):
    return {
        "visual": {"kind": "conv", "options": {"widths": [8, 8, 16, 24], "image_px": 32}},
        "audio": {"kind": "conv", "options": {"widths": [8, 8, 16, 16], "width": 20}},
        "vl": {**QFORMER, "queries": 3, "encoder_width": 24},
        "al": {**QFORMER, "queries": 2, "encoder_width": 20},
        "llm": {
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "vocab_size": 417,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
        },
        "ilora": {"heads": 3, "rank": 4, "alpha": 8.0},
        "time_tags": 10,
        "media": {"frame_px": 32},
        **changes,
    }


@pytest.fixture(scope="session")
def tiny_model() -> CrabModel:
    torch.manual_seed(0)
    model = CrabModel(CrabConfig.from_dict(tiny_document())).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ilora_B" in name or name.startswith("llm."):
                parameter.normal_(std=0.3)  # so that answers depend on what is seen and heard
        model.llm.get_input_embeddings().weight[3:259] = 0  # random bytes are no text
    return model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, tiny_model) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    header = Header(name="tiny", family="crab", config=tiny_model.config.to_dict(), licence="Apache-2.0")
    files = {path.name: path.read_bytes() for path in TOKENIZER.iterdir()}
    write_folder(folder, header, tiny_model.tensors(), files)
    return folder
