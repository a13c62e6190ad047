"""Hand-written rules of S2FFT."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "s2fft"
CASES: list[Case] = []
case = collector(CASES)


@case
def flm_to_ftm():
    import s2fft

    flm = normal(0, 3, 5) + 1j * normal(1, 3, 5)
    return lambda x: s2fft.inverse_jax(x, 3), (flm,)


@case
def flm_to_ftm__spin():
    import s2fft

    flm = normal(0, 3, 5) + 1j * normal(1, 3, 5)
    return lambda x: s2fft.inverse_jax(x, 3, spin=1, sampling="dh"), (flm,)


@case
def ftm_to_flm():
    import s2fft

    f = normal(0, 3, 5) + 1j * normal(1, 3, 5)
    return lambda x: s2fft.forward_jax(x, 3), (f,)


@case
def ftm_to_flm__reality():
    import s2fft

    return lambda x: s2fft.forward_jax(x, 3, reality=True), (normal(0, 3, 5),)
