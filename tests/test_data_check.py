"""The errors of `fit` for data that it cannot train on, and data that it accepts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fcjax

pytestmark = pytest.mark.usefixtures("unchecked")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
LABELS = RNG.integers(0, 4, 40)
PARAMS = fcjax.init(jax.random.key(0), (3, 4))
COLUMN = fcjax.init(jax.random.key(0), (3, 1))
BITS = (X[:, :1] > 0).astype(np.float32)


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def fit(loss, data, params=PARAMS, **changes):
    arguments = {"optimizer": optax.sgd(0.1), "epochs": 1}
    if not isinstance(data, list):
        arguments["batch_size"] = 8
    return fcjax.fit(params, data, loss=loss, **(arguments | changes))


def refused(*args, kind=ValueError, **kwargs):
    seen = []
    with pytest.raises(kind) as caught:
        fit(*args, callbacks=seen.append, **kwargs)
    assert type(caught.value) is kind, "raised before training, not by it"
    assert not seen
    return str(caught.value)


def entropy(params, batch):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, batch[0]), batch[1])


def entropy_with_dropout(params, batch, key):
    x = batch[0] if key is None else fcjax.dropout(batch[0], 0.5, key)
    return entropy(params, (x, batch[1]))


def fused(params, batch):
    return fcjax.dense_softmax_cross_entropy(batch[0], *params[0], batch[1])


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (entropy, "softmax_cross_entropy"),
        (jax.jit(entropy), "softmax_cross_entropy"),
        (entropy_with_dropout, "softmax_cross_entropy"),
        (fused, "dense_softmax_cross_entropy"),
    ],
)
@pytest.mark.parametrize("label", [4, -1])
@pytest.mark.parametrize("of", [np.asarray, jnp.asarray])
def test_a_label_outside_the_classes_is_named_by_its_row(loss, name, label, of):
    data = (X, of(changed(LABELS, 29, label)))
    want = f"data[1] must hold classes from 0 to 3 for {name}, got {label} in row 29"
    assert refused(loss, data) == want


def test_held_out_data_and_lists_of_batches_are_checked_too():
    bad = (X, changed(LABELS, 31, 9))
    want = "must hold classes from 0 to 3 for softmax_cross_entropy, got 9 in row"
    assert f"validation_data[1] {want} 31" in refused(entropy, (X, LABELS), validation_data=bad)
    batches = [tuple(a[i : i + 8] for a in bad) for i in range(0, 40, 8)]
    assert f"data[3][1] {want} 7" in refused(entropy, batches)


def test_labels_of_a_dict_are_named_by_their_key():
    def loss(params, batch):
        return entropy(params, (batch["x"], batch["class"]))

    text = refused(loss, {"x": X, "class": changed(LABELS, 0, 7)})
    assert text.startswith("data['class'] must hold classes from 0 to 3")


@pytest.mark.parametrize("name", ["binary_cross_entropy", "sigmoid_binary_cross_entropy"])
@pytest.mark.parametrize("target", [-1, 2, 1.5])
def test_a_binary_target_outside_its_range_is_named_by_row_and_column(name, target):
    def loss(params, batch):
        sigmoid = name == "binary_cross_entropy"
        output = fcjax.mlp(params, batch[0], output_activation="sigmoid" if sigmoid else "identity")
        return getattr(fcjax, name)(output, batch[1])

    text = refused(loss, (X, changed(BITS, (17, 0), target)), params=COLUMN)
    assert text == f"data[1] must hold numbers from 0 to 1 for {name}, got {target:.1f} " + (
        "in row 17, column 0"
    )


def test_a_hinge_target_is_one_of_two_numbers():
    def loss(params, batch):
        return fcjax.hinge(fcjax.mlp(params, batch[0]), batch[1])

    text = refused(loss, (X, BITS), params=COLUMN)
    assert text.startswith("data[1] must hold -1 or 1 for hinge, got 0.0 in row ")
    assert fit(loss, (X, 2 * BITS - 1), params=COLUMN).history["loss"]


def with_options(**options):
    return lambda p, b: fcjax.softmax_cross_entropy(fcjax.mlp(p, b[0]), b[1], **options)


def masked_bits(params, batch):
    weights = (batch[1][:, 0] >= 0).astype(jnp.float32)
    logits = fcjax.mlp(params, batch[0])
    return fcjax.sigmoid_binary_cross_entropy(logits, batch[1], weights=weights)


def masked_single_bits(params, batch):
    losses = fcjax.sigmoid_binary_cross_entropy(
        fcjax.mlp(params, batch[0])[:, 0], batch[1][:, 0], reduction="none"
    )
    return jnp.mean(jnp.where(batch[1][:, 0] < 0, 0, losses))


def shifted(params, batch):
    return entropy(params, (batch[0], batch[1] - 1))


def masked_numbers(params, batch):
    known = jnp.isfinite(batch[1])
    target = jnp.where(known, batch[1], 0)
    error = jnp.where(known, fcjax.mlp(params, batch[0]) - target, 0)
    return jnp.sum(error**2) / jnp.sum(known)


SPREAD = RNG.dirichlet(np.ones(4), 40).astype(np.float32)
UNKNOWN = changed(BITS, slice(3, 9), -1)


@pytest.mark.parametrize(
    ("loss", "target", "params"),
    [
        pytest.param(
            with_options(ignore_index=-100), changed(LABELS, 5, -100), PARAMS, id="ignored"
        ),
        pytest.param(with_options(ignore_index=2), LABELS, PARAMS, id="ignored class"),
        pytest.param(with_options(label_smoothing=0.1), SPREAD, PARAMS, id="distributions"),
        pytest.param(with_options(label_smoothing=0.1), LABELS, PARAMS, id="smoothed labels"),
        pytest.param(with_options(), LABELS.astype(np.uint8), PARAMS, id="uint8"),
        pytest.param(shifted, LABELS + 1, PARAMS, id="labels from 1 on"),
        pytest.param(masked_bits, UNKNOWN, COLUMN, id="weights"),
        pytest.param(masked_single_bits, UNKNOWN, COLUMN, id="masked losses"),
        pytest.param(masked_numbers, changed(BITS, slice(3, 30), np.nan), COLUMN, id="masked NaN"),
    ],
)
def test_what_is_legal_passes(loss, target, params):
    for data in ((X, target), [(X, target)]):
        assert np.isfinite(fit(loss, data, params, validation_data=(X, target)).history["loss"][0])


def test_an_ignored_label_does_not_hide_a_wrong_one():
    labels = changed(changed(LABELS, 5, -100), 6, -99)
    text = refused(with_options(ignore_index=-100), (X, labels))
    assert "classes from 0 to 3 or ignore_index, -100, for" in text
    assert text.endswith("got -99 in row 6")


def squares(params, batch):
    return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("as_list", [False, True])
def test_numbers_that_are_not_finite_are_named_by_row_and_column(value, as_list):
    bad = (changed(X, (33, 2), value), BITS)
    data = [tuple(a[i : i + 8] for a in bad) for i in range(0, 40, 8)] if as_list else bad
    place, row = ("data[4][0]", 1) if as_list else ("data[0]", 33)
    text = refused(squares, data, COLUMN)
    assert text == (
        f"{place} must hold finite numbers where the loss does not mask them, got {value} "
        f"in row {row}, column 2"
    )
    text = refused(squares, (X, changed(BITS, (38, 0), value)), COLUMN)
    assert text.startswith("data[1] must hold finite numbers")
    assert text.endswith("in row 38, column 0")


def test_an_infinite_number_that_spoils_only_the_gradient_is_refused():
    def loss(params, batch):
        output = fcjax.mlp(params, batch[0], output_activation="tanh")
        return fcjax.half_squared_error(output, batch[1])

    assert "got inf in row 20, column 1" in refused(
        loss, (changed(X, (20, 1), np.inf), BITS), COLUMN
    )


def test_a_loss_that_is_nan_for_its_own_reasons_is_left_to_the_training():
    data = (X, changed(BITS, (1, 0), np.nan))
    with pytest.raises(fcjax.NonFiniteLossError):
        fit(lambda p, b: jnp.log(-1 - jnp.sum(p[0].w ** 2)), data, COLUMN)


@pytest.mark.parametrize("where", ["data", "validation_data"])
@pytest.mark.parametrize(
    "words", [np.array(["cat", "dog"] * 20), np.array(["cat", 1] * 20, object)]
)
def test_strings_are_refused(where, words):
    data = {"data": (X, LABELS)} | {where: (X, words)}
    text = refused(entropy, data.pop("data"), kind=TypeError, **data)
    assert text.startswith(f"{where}[1] must hold numbers, got {words.dtype}[40], such as str")


def test_a_generator_is_not_checked():
    def batches():
        yield X, changed(LABELS, 0, 9)

    with pytest.raises(fcjax.NonFiniteLossError):
        fit(entropy, batches(), batch_size=None)


def test_no_mask_of_the_size_of_the_data_is_made_where_all_is_well(monkeypatch):
    big = np.zeros((200_000, 3), np.float32)
    scanned = []
    monkeypatch.setattr(np, "isfinite", lambda a, f=np.isfinite: scanned.append(np.size(a)) or f(a))
    fit(entropy, (big, np.zeros(200_000, int)), batch_size=50_000)
    assert max(scanned) < 50
