"""`crab models import crab-plus-7b` with the tiny release: nothing lost, nothing silent, a real clip answered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_plus import RANDOM, arguments, write_plus, write_release


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("pristine") / "tiny")


@pytest.fixture
def release(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


def test_every_tensor_is_in_the_folder(crab, pristine, tmp_path):
    from safetensors.torch import load_file

    said = crab(*arguments(pristine, tmp_path / "model"), "-v")
    assert (said.code, said.out) == (0, f"{tmp_path / 'model'}\n")
    assert "130 adapter tensors: 3 heads of rank 8" in said.err
    header = json.loads((tmp_path / "model" / "crab.json").read_text())
    assert header["family"] == "crab-plus" and header["profile"] == "plus"
    assert header["config"]["ilora"] | {"heads": 3, "rank": 8, "alpha": 16.0} == header["config"]["ilora"]
    kept = load_file(tmp_path / "model" / "adapter.safetensors")
    published = torch.load(pristine / "finetune.bin", weights_only=True)
    assert len(kept) == 26 * 3
    assert sum(one.numel() for one in kept.values()) == sum(one.numel() for one in published.values())
    base = load_file(tmp_path / "model" / "thinker-01.safetensors")
    before = load_file(pristine / "base" / "model.safetensors")
    assert base.keys() == before.keys() and all(torch.equal(base[name], before[name]) for name in base)


def test_the_full_checkpoint_gives_the_same_network_without_its_voice(crab, pristine, tmp_path):
    whole = write_release(tmp_path / "whole", whole=True)
    for root, out in ((pristine, "one"), (whole, "other")):
        assert crab(*arguments(root, tmp_path / out), "-q").code == 0
    files = ("thinker-01.safetensors", "adapter.safetensors", "tokenizer.json")
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "other" / f).read_bytes() for f in files)
    left = json.loads((tmp_path / "other" / "import.json").read_text())["left_out"]
    assert left == ["talker.model.norm.weight", "token2wav.bias"]


def rewrite(root: Path, change) -> None:
    tensors = torch.load(root / "finetune.bin", weights_only=True)
    change(tensors)
    torch.save(tensors, root / "finetune.bin")


LAYER = "base_model.model.visual.blocks.0.mlp.up_proj"


def without_tower(tensors: dict[str, torch.Tensor]) -> None:
    for name in [one for one in tensors if "audio_tower" in one]:
        del tensors[name]


def without_head(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[f"{LAYER}.lora_B2.weight"]


def with_another(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.visual.blocks.0.attn.q.lora_A.weight"] = torch.zeros(8, 32)


@pytest.mark.parametrize(
    ("damage", "told", "code"),
    [
        pytest.param(lambda r: (r / "finetune.bin").unlink(), "cannot read", 4, id="adapter-missing"),
        pytest.param(lambda r: rewrite(r, without_tower), "lacks 'audio_tower.layers.0", 4, id="adapter-partial"),
        pytest.param(lambda r: rewrite(r, without_head), "up_proj.ilora_B", 4, id="adapter-lacks-a-head"),
        pytest.param(lambda r: rewrite(r, with_another), "has unknown 'visual.blocks.0.attn.q", 4, id="adapter-more"),
        pytest.param(
            lambda r: torch.save({"model.norm.weight": torch.zeros(2)}, r / "finetune.bin"),
            "has no I-LoRA tensors",
            4,
            id="no-adapter",
        ),
        pytest.param(lambda r: (r / "base" / "config.json").write_text("{}"), "cannot be the --base", 4, id="config"),
        pytest.param(lambda r: (r / "base" / "model.safetensors").unlink(), "has no weights", 4, id="base-missing"),
    ],
)
def test_bad_files_are_told_and_leave_nothing(crab, release, tmp_path, damage, told, code):
    damage(release)
    said = crab(*arguments(release, tmp_path / "model"))
    assert (said.code, told in said.err) == (code, True), said.err
    assert "Traceback" not in said.err and len(said.err.splitlines()) <= 4
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["crab-plus-7b", "--finetune", "f"], "cannot be made without --base", id="no-base"),
        pytest.param(["crab-plus-7b", "--base", "b", "--finetune", "f", "--clip", "c"], "takes no --clip", id="clip"),
        pytest.param(["crab-7b", "--base", "b"], "takes no --base", id="base-of-crab"),
        pytest.param(["crab-7b", "--finetune", "f"], "without --llm, --clip, --beats", id="crab"),
    ],
)
def test_files_of_another_model_and_lacking_ones_are_told(crab, words, told):
    said = crab("models", "import", *words)
    assert (said.code, told in said.err) == (2, True), said.err


def test_other_heads_and_ranks_are_read_from_the_tensors(crab, release, tmp_path):
    def reshape(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            if ".lora_B2." in name:
                del tensors[name]
            elif ".lora_route." in name:
                tensors[name] = tensors[name][:2].clone()
            elif ".lora_A." in name:
                tensors[name] = tensors[name][:5].clone()
            else:
                tensors[name] = tensors[name][:, :5].clone()

    rewrite(release, reshape)
    assert crab(*arguments(release, tmp_path / "model"), "-q").code == 0
    ilora = json.loads((tmp_path / "model" / "crab.json").read_text())["config"]["ilora"]
    assert (ilora["heads"], ilora["rank"], ilora["alpha"]) == (2, 5, 10.0)
    assert crab(*arguments(release, tmp_path / "model"), "-q", "--alpha", "3").code == 0
    assert json.loads((tmp_path / "model" / "crab.json").read_text())["config"]["ilora"]["alpha"] == 3.0


@pytest.mark.parametrize("media", ["published", "native"])
def test_a_real_clip_is_answered_and_the_weights_are_said_to_be_random(crab, repo, tmp_path, media):
    folder = write_plus(tmp_path / "model", media=media)
    clip = next(iter(sorted((repo / "examples" / "clips").glob("*.mp4"))))
    said = crab("infer", clip, "What is heard first?", "--model", folder, "--max-new-tokens", "6", "--json")
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert (result["model"], result["audio"]) == ("tiny-plus", "used")
    assert RANDOM in result["notes"]
    said = crab("infer", clip, "What is heard first?", "--model", folder, "--max-new-tokens", "6")
    assert RANDOM in said.err


QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_qwen_tokenizer(folder: Path, thinker: dict[str, int]) -> None:
    """vocab.json and merges.txt as Qwen publishes them, with the marks as added tokens."""
    from crab_core.families.plus_text import SPECIAL
    from crab_core.families.plus_tokens import IDS, _byte_letters

    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: at for at, letter in enumerate(_byte_letters())}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    marks = {next(thinker[key] for key in IDS[mark] if key in thinker): mark for mark in SPECIAL}
    names = {number: marks.get(number, f"<|free_{number}|>") for number in range(256, 272)}
    added = {str(number): {"content": name, "special": True} for number, name in names.items()}
    document = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**document, "pad_token": "<|endoftext|>"}))


def test_a_published_tokenizer_makes_the_published_chat(crab, release, tmp_path):
    from crab_core.engine.session import load
    from crab_core.registry import TASKS
    from crab_core.tasks.wording import PLUS

    config = json.loads((release / "base" / "config.json").read_text())
    write_qwen_tokenizer(tmp_path / "qwen", config)
    said = crab(*arguments(release, tmp_path / "model"), "-q", "--tokenizer", tmp_path / "qwen")
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "model" / "crab.json").read_text())["note"] == ""
    chat = load(tmp_path / "model", device="cpu").network.chat
    prompt = TASKS["avqa"].load().wording("Qui sonne en premier, le violon\u00a0?", PLUS)
    parts = [{"type": part.kind, "text": part.text} for part in prompt.parts]
    messages = [{"role": "system", "content": chat.system}, {"role": "user", "content": parts}]
    text = chat.tokenizer.apply_chat_template(
        messages, chat_template=QWEN_CHAT, tokenize=False, add_generation_prompt=True
    )
    assert chat.prompt_ids(prompt) == chat.tokenizer(text, add_special_tokens=False).input_ids
    assert chat.decode(chat.target_ids("le violon\u00a0?")) == "le violon\u00a0?"


def test_a_tokenizer_of_another_network_is_told(crab, release, tmp_path):
    config = json.loads((release / "base" / "config.json").read_text())
    swapped = {**config, "image_token_index": config["video_token_index"], "video_token_index": 266}
    write_qwen_tokenizer(tmp_path / "qwen", swapped)
    said = crab(*arguments(release, tmp_path / "model"), "--tokenizer", tmp_path / "qwen")
    assert said.code == 4 and "has '<|IMAGE|>' as 267, the network as 266" in said.err, said.err
