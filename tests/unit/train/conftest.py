"""A training run small enough for a test: every stage, a few steps, a narrow network."""

from pathlib import Path

import pytest

TINY = """
name: tiny
vocabulary: 1000
note: a test
network:
  visual: {kind: conv, options: {widths: [4, 6, 8, 12], image_px: 112}}
  audio: {kind: conv, options: {widths: [4, 6, 8, 12], width: 12}}
  vl: {queries: 6, layers: 1, hidden: 8, heads: 2, ffn: 12, encoder_width: 12, out_width: 16, dropout: 0.0}
  al: {queries: 2, layers: 1, hidden: 8, heads: 2, ffn: 12, encoder_width: 12, out_width: 16, dropout: 0.0}
  llm:
    hidden_size: 16
    num_hidden_layers: 1
    num_attention_heads: 2
    num_key_value_heads: 2
    intermediate_size: 24
    max_position_embeddings: 512
    tie_word_embeddings: true
  time_tags: 10
  media: {seconds: 10, frame_px: 112, box_px: 100}
  mask:
    layers: [0, 0]
    capabilities: [avs]
    decoder: {width: 16, feature_width: 20, state_width: 16, queries: 3, heads: 2, ffn: 8, layers: 1, classes: 1,
              middle_px: 28, out_px: 28}
data: {clips: 6, short_share: 0.4, processes: 1}
stages:
  - {name: visual, kind: visual, steps: 4, batch: 4, warmup: 1, train: [visual_encoder, vl_projector, tags]}
  - {name: audio, kind: audio, steps: 4, batch: 4, warmup: 1, train: [audio_encoder, al_projector, tags]}
  - {name: words, kind: language, steps: 4, until: 2, batch: 2, samples: 2, reading: 0.5, train: [llm]}
  - {name: places, kind: visual, places: true, steps: 2, batch: 4, train: [vl_projector]}
  - name: joint
    kind: language
    steps: 6
    batch: 2
    samples: 3
    warmup: 1
    save_every: 2
    optimizer: muon
    tasks: {avqa: 1.0, arig: 1.0, s4: 1.0, ref-avs: 2.0}
    train: [vl_projector, al_projector, tags, llm, ilora, masks]
    templates: {where: 2.0}
    stills: 1
    match_heads: true
    ilora: {heads: 2, rank: 2, alpha: 4.0, dropout: 0.0}
"""


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    from crab_core.train.loop import run

    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_config, out=out)
    return out
