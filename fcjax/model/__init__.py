"""A network as one value: parameters and how they are applied; and the folder that keeps it."""

from .folder import (
    Contents as Contents,
    DamagedModelError as DamagedModelError,
    DamageError as DamageError,
    is_of_model as is_of_model,
    prepare as prepare,
)
from .model import Model as Model
from .saving import load as load, save as save
from .tensors import as_parameters as as_parameters
