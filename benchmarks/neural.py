"""Neural networks: attention, compression, adapters, representations."""

from . import neural_attention as attention
from . import neural_compression as compression
from . import neural_lora as lora
from . import neural_representation as representation

TASKS = {
    **attention.TASKS,
    **compression.TASKS,
    **lora.TASKS,
    **representation.TASKS,
}
