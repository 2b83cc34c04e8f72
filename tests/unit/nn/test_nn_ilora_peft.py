"""Through peft and transformers: saving, several adapters, checkpointing, the Trainer, 4-bit, start-up."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel, PeftType, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from crab_core.errors import UsageError
from crab_core.nn.ilora import ILoraConfig, ILoraLayer, capture, heads, inject, layers, routers, shape_of

IDS = torch.arange(24).view(2, 12) % 96


def llama() -> LlamaForCausalLM:
    """The same tiny Llama each time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
            pad_token_id=0,
        )
    ).eval()


def config(**changes) -> ILoraConfig:
    return ILoraConfig(
        **{"rank": 4, "heads": 3, "alpha": 8, "init_weights": False, "task_type": "CAUSAL_LM", **changes}
    )


def adapted(**changes) -> PeftModel:
    """A tiny Llama with an adapter that is not the identity."""
    return get_peft_model(llama(), config(**changes)).eval()


@torch.inference_mode()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder that peft wrote, the bare model beside it, and the logits that it must give."""
    folder = tmp_path_factory.mktemp("adapter")
    model = adapted()
    wanted = logits(model)
    llama().save_pretrained(folder / "base")
    model.peft_config["default"].base_model_name_or_path = str(folder / "base")
    model.save_pretrained(folder / "adapter")
    return folder, wanted


def test_the_method_is_a_real_member_of_peft():
    assert PeftType("ILORA") is PeftType.ILORA
    assert "ILORA" in list(PeftType)
    status = adapted().get_model_status()
    assert status.peft_types == {"default": "ILORA"}
    assert status.active_adapters == ["default"]


def test_config_tells_heads_and_rank_and_tensors_do_too(saved):
    folder, _ = saved
    from safetensors.torch import load_file

    written = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (written["peft_type"], written["heads"], written["rank"], written["alpha"]) == ("ILORA", 3, 4, 8)
    read = PeftConfig.from_pretrained(folder / "adapter")
    assert isinstance(read, ILoraConfig)
    assert read.target_modules == config().target_modules
    assert shape_of(load_file(folder / "adapter" / "adapter_model.safetensors")) == (3, 4)


def auto(folder):
    return AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")


def wrapped(folder):
    return PeftModel.from_pretrained(llama(), folder / "adapter")


def sparing(folder):
    return PeftModel.from_pretrained(llama(), folder / "adapter", low_cpu_mem_usage=True)


def by_transformers(folder):
    model = llama()
    model.load_adapter(str(folder / "adapter"))
    return model


@pytest.mark.parametrize("load", [auto, wrapped, sparing, by_transformers], ids=lambda load: load.__name__)
def test_saved_adapter_is_read_back(saved, load):
    folder, wanted = saved
    assert torch.equal(logits(load(folder).eval()), wanted)


def test_several_adapters_side_by_side(saved):
    folder, wanted = saved
    bare = logits(llama())
    model = adapted(heads=5, rank=2)
    first = logits(model)
    model.load_adapter(folder / "adapter", "second")
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), wanted)
    with model.disable_adapter():
        assert torch.equal(logits(model), bare)
    model.base_model.set_adapter(["default", "second"])
    both = model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(1, 3, 32)
    torch.testing.assert_close(
        both(x),
        both.base_layer(x) + 4 * both.mixture(x, "default") + 2 * both.mixture(x, "second"),
        atol=1e-5,
        rtol=1e-5,
    )
    model.set_adapter("default")
    model.delete_adapter("second")
    assert torch.equal(logits(model), first)
    assert not any("second" in key for key in model.state_dict())


def test_masks_belong_to_the_adapter_that_was_active():
    model = adapted()
    whole = logits(model)
    model.add_adapter("five", config(heads=5))
    model.set_adapter("five")
    with heads(model, keep=4):
        model.set_adapter("default")
        assert torch.equal(logits(model), whole)
    with pytest.raises(UsageError, match="'4'"), heads(model, keep=4):
        pass
    model.delete_adapter("five")


def test_merge_is_refused_and_unload_gives_the_bare_model():
    model = adapted()
    with pytest.raises(UsageError, match="cannot be merged"):
        model.merge_and_unload()
    assert torch.equal(logits(model.unload()), logits(llama()))


def test_names_are_those_of_the_bare_model():
    names = set(routers(adapted()))
    assert "model.layers.1.mlp.down_proj" in names
    bare = llama()
    inject(bare, heads=3, rank=4, alpha=8)
    assert set(routers(bare)) == names
    assert len(names) == 2 * 7


def test_capture_through_generate_sees_prompt_and_each_token():
    model = adapted()
    with capture(model) as routes:
        model.generate(input_ids=IDS[:, :4], attention_mask=torch.ones(2, 4), max_new_tokens=3, do_sample=False)
    seen = routes["model.layers.0.self_attn.q_proj"]
    assert [tuple(route.shape) for route in seen] == [(2, 4, 3), (2, 1, 3), (2, 1, 3)]


def test_cache_does_not_change_the_answer():
    asked = {"input_ids": IDS[:, :4], "attention_mask": torch.ones(2, 4), "max_new_tokens": 6, "do_sample": False}
    model = adapted()
    assert torch.equal(model.generate(**asked), model.generate(**asked, use_cache=False))


@pytest.mark.parametrize("reentrant", [False, True], ids=["not-reentrant", "reentrant"])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant):
    model = adapted().train()
    model.enable_input_require_grads()

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    plain = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    for one, other in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert len(plain) == 2 * 7 * 3


def test_bfloat16_base_gets_float32_adapters_from_peft():
    model = get_peft_model(llama().to(torch.bfloat16), config())
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    model(input_ids=IDS, labels=IDS).loss.backward()


def test_deep_copies_are_apart():
    model = adapted()
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), logits(model))
    with heads(twin, keep=0), torch.no_grad():
        assert not layers(model)[0].head_masks
        assert not torch.equal(logits(twin), logits(model))


@pytest.mark.filterwarnings("ignore:Could not find a config file")  # peft below 0.21, of a base without a folder
def test_other_parts_can_be_saved_beside_it(tmp_path):
    model = adapted(modules_to_save=["norm"], layers_to_transform=[1], target_modules=["q_proj", "v_proj"])
    assert [n for n, m in model.named_modules() if isinstance(m, ILoraLayer)] == [
        f"base_model.model.model.layers.1.self_attn.{name}" for name in ("q_proj", "v_proj")
    ]
    with torch.no_grad():
        model.base_model.model.model.norm.weight.add_(0.1)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(llama(), tmp_path).eval()
    assert torch.equal(logits(again), logits(model))


@pytest.mark.filterwarnings("ignore:Could not find a config file")  # peft below 0.21, of a base without a folder
def test_trainer_trains_saves_and_resumes(tmp_path):
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": IDS[0], "labels": IDS[0]}] * 8

    def trainer(steps: int) -> Trainer:
        model = get_peft_model(llama(), config(init_weights=True, dropout=0.1, per_head_dropout=True))
        settings = TrainingArguments(
            output_dir=tmp_path,
            max_steps=steps,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            save_steps=2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        return Trainer(model=model, args=settings, train_dataset=rows)

    whole = trainer(3)
    whole.train()
    assert not torch.equal(logits(whole.model.eval()), logits(llama()))
    head_b = layers(whole.model)[0].ilora_B["default"].weight.split(4, dim=1)
    assert not torch.allclose(head_b[0], head_b[1])
    resumed = trainer(3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    torch.testing.assert_close(logits(resumed.model.eval()), logits(whole.model), atol=1e-5, rtol=1e-4)


def test_compiled_graph_is_whole():
    """The graph is traced and run without the slow code generation; a head mask makes it trace again."""
    layer = ILoraLayer(torch.nn.Linear(8, 6), "default", config())
    x = torch.randn(2, 5, 8)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    with heads(layer, keep=1):
        torch.testing.assert_close(compiled(x), layer(x))
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).sum().backward()


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_base(bits):
    bnb = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    dense = torch.nn.Linear(64, 32)
    if bits == 4:
        quantised = bnb.nn.Linear4bit(64, 32, compute_dtype=torch.float32, quant_type="nf4")
    else:
        quantised = bnb.nn.Linear8bitLt(64, 32, has_fp16_weights=False)
    quantised.load_state_dict(dense.state_dict())
    host = torch.nn.ModuleDict({"q_proj": quantised.to("cpu")})
    x = torch.randn(2, 5, 64, requires_grad=True)
    bare = host["q_proj"](x)
    inject(host, heads=3, rank=4, alpha=8)
    layer = host["q_proj"]
    torch.testing.assert_close(layer(x), bare)
    torch.nn.init.normal_(layer.ilora_B["default"].weight)
    y = layer(x)
    torch.testing.assert_close(y, bare + 2 * layer.mixture(x, "default").to(bare.dtype))
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters() if p.requires_grad)
    assert x.grad is not None


PROBE = """
import sys
from crab_core.nn.ilora import inject
import torch
host = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(8, 6)})
inject(host, heads=3, rank=2, alpha=4)
host["q_proj"](torch.randn(1, 2, 8))
assert "bitsandbytes" not in sys.modules, "importing I-LoRA brought bitsandbytes in"
from peft.import_utils import is_bnb_available
import importlib.util
assert is_bnb_available() == (importlib.util.find_spec("bitsandbytes") is not None), "peft must find it when asked"
"""


def test_import_and_use_without_bitsandbytes():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
