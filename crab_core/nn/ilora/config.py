"""What an I-LoRA adapter is made of; peft writes it to `adapter_config.json` and reads it back."""

from __future__ import annotations

from dataclasses import dataclass, field

from crab_core.errors import UsageError
from crab_core.nn.ilora._peft import PeftConfig, method_type

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a Llama block that the published models adapt."""


@dataclass
class ILoraConfig(PeftConfig):
    """Sizes, scale and places of an I-LoRA adapter.

    The update is scaled by `alpha / rank`. `target_modules` are name endings, or one regular expression for the whole
    name. `per_head_dropout` draws one dropout mask a head, as the published training does; otherwise all heads share
    one mask, and one product with A serves all of them. `init_weights=False` makes B random too (for tests).

    Raises UsageError if a size is below 1 or the dropout is not in [0, 1).
    """

    rank: int = field(default=8, metadata={"help": "rows of the shared A and columns of each head's B"})
    heads: int = field(default=3, metadata={"help": "number of B matrices"})
    alpha: float = field(default=16.0, metadata={"help": "the update is scaled by alpha / rank"})
    dropout: float = field(default=0.0, metadata={"help": "probability of dropping an input of A in training"})
    per_head_dropout: bool = field(default=False, metadata={"help": "one dropout mask a head"})
    target_modules: set[str] | list[str] | str | None = field(default_factory=lambda: set(TARGETS))
    exclude_modules: set[str] | list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    init_weights: bool = field(default=True, metadata={"help": "B = 0: the adapter starts as the identity"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = method_type()
        # JSON has no sets, and peft compares targets as sets
        if isinstance(self.target_modules, list | tuple):
            self.target_modules = set(self.target_modules)
        if isinstance(self.exclude_modules, list | tuple):
            self.exclude_modules = set(self.exclude_modules)
        for name, size in (("rank", self.rank), ("heads", self.heads)):
            if size < 1:
                raise UsageError(f"an I-LoRA adapter cannot have {name} '{size}'", hint=f"Give {name} of at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError(f"'{self.dropout}' is no dropout", hint="Give a probability of at least 0 and below 1.")
