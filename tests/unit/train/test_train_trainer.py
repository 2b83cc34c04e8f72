"""What importing the trainer brings along."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_trainer_says_nothing_and_leaves_the_quantiser_alone() -> None:
    code = "import sys, crab_core.train.trainer; print('transformers' in sys.modules, 'bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("True False\n", "")
