"""`text2digit train` under accelerate's FSDP on CPU processes, which accelerate's launcher offers for GPUs alone.

Only what accelerate takes for the kind of the run is changed here: the model is divided, and the gradients travel, by
accelerate's and torch's own code.
"""

import os
import sys

os.environ.update(ACCELERATE_USE_CPU="true", ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")
os.environ.update(FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP")

from accelerate import state
from accelerate.utils import DistributedType

original = state.AcceleratorState.__init__


def with_fsdp(self, *args, fsdp_plugin=None, **kwargs):
    original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin


if __name__ == "__main__":
    state.AcceleratorState.__init__ = with_fsdp
    from text2digit.train_text2digit import main

    sys.exit(main())
