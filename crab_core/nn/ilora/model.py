"""The peft tuner: puts I-LoRA beside the linear layers of a model."""

from __future__ import annotations

from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora._peft import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, BaseTuner, BaseTunerLayer
from crab_core.nn.ilora.config import ILoraConfig
from crab_core.nn.ilora.layer import ILoraLayer


class ILoraModel(BaseTuner):
    """A model whose targeted linear layers carry I-LoRA adapters; made by `get_peft_model` from an `ILoraConfig`."""

    prefix: str = "ilora_"
    tuner_layer_cls = ILoraLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _create_and_replace(  # the one method that BaseTuner leaves to a tuner
        self,
        peft_config: ILoraConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: object,
    ) -> None:
        if isinstance(target, ILoraLayer):
            target.add_adapter(adapter_name, peft_config)
            return
        base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        # the 4-bit and 8-bit layers of bitsandbytes are nn.Linear too: it need not be imported to know them
        if not isinstance(base, nn.Linear):
            raise UsageError(
                f"I-LoRA cannot adapt '{current_key}', a {type(base).__name__}",
                hint="Only linear layers can be targets: leave it out of target_modules or add it to exclude_modules.",
            )
        layer = ILoraLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)
