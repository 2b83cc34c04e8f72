"""The one door to peft: imported without bitsandbytes, with a method name of our own.

peft 0.19 to 0.21 import bitsandbytes, if it is installed, for one helper that only dequantises; that alone takes
longer than all the rest of peft (0.95 of 1.1 s). Everything of peft that we use is imported from here.
"""

from __future__ import annotations

import importlib
import sys

METHOD = "ilora"

_QUANTISER = "bitsandbytes"


def _import_peft() -> None:
    """Import peft; bitsandbytes is told to be absent meanwhile, unless it is there already.

    A None in `sys.modules` is Python's own way to say so. peft caches what it found out: the cache is emptied, so that
    its 4-bit layers work as ever once bitsandbytes is asked for.
    """
    if "peft" in sys.modules or _QUANTISER in sys.modules:
        importlib.import_module("peft")
        return
    sys.modules[_QUANTISER] = None  # type: ignore[assignment]
    try:
        importlib.import_module("peft")
    finally:
        del sys.modules[_QUANTISER]
    found = importlib.import_module("peft.import_utils")
    for probe in (found.is_bnb_available, found.is_bnb_4bit_available):
        probe.cache_clear()


_import_peft()

from peft import PeftConfig, PeftType, inject_adapter_in_model  # noqa: E402
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING  # noqa: E402
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer  # noqa: E402
from peft.utils import (  # noqa: E402
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    register_peft_method,
)


def method_type() -> PeftType:
    """The member of peft's enum that names our method, added on the first call.

    `register_peft_method` refuses names that the enum lacks and the enum offers no way to add one: the four private
    tables of Python's `enum` are filled here. A plain string in peft's own tables would work too, but then
    `get_model_status` has no type to tell.
    """
    key = METHOD.upper()
    if key in PeftType.__members__:
        return PeftType[key]
    member = str.__new__(PeftType, key)
    member._name_ = key
    member._value_ = key
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType.__members__)
    PeftType._member_names_.append(key)
    PeftType._member_map_[key] = member
    PeftType._value2member_map_[key] = member
    type.__setattr__(PeftType, key, member)  # the enum's own __setattr__ refuses
    return member


def register(config_class: type, model_class: type) -> None:
    """Make peft know our method, once a process."""
    if method_type() not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=METHOD, config_cls=config_class, model_cls=model_class)


__all__ = [
    "METHOD",
    "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING",
    "BaseTuner",
    "BaseTunerLayer",
    "PeftConfig",
    "inject_adapter_in_model",
    "method_type",
    "register",
]
