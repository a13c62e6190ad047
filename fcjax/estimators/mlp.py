"""`MLPClassifier` and `MLPRegressor`: those of scikit-learn, and what their users ask for."""

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from ._sklearn import (
    Interval,
    Real,
    StrOptions,
    check_first_call,
    class_weights,
    only_if,
    validated,
)
from .base import BaseMLP, keep_parameters


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A fully connected network that predicts classes: scikit-learn's, trained by fcjax's rules.

    It has the parameters, defaults, attributes and methods of
    `sklearn.neural_network.MLPClassifier`, so changing the import is enough. For the same
    `random_state` it starts from the same weights and visits the rows in the same order, so that
    it computes the same up to rounding. Input in float64 is trained in float64, float32 in float32;
    `partial_fit` and `warm_start` keep the dtype of the first fit.

    Where probabilities saturate, as for features that are not scaled, the losses differ: ours is
    exact, and scikit-learn's is that of probabilities between eps and 1 − eps, though its gradient
    is not. So `loss_`, `loss_curve_`, the epoch in which `tol` stops, and lbfgs differ there.

    The split of `early_stopping` is stratified for several classes too, as scikit-learn documents
    it, if each class can be on both sides. With `warm_start`, each fit keeps the best of its own
    epochs, and not the weights of an earlier fit whose score on other rows was higher. Batches
    whose `sample_weight` is all 0 are left out.
    A sparse X is made dense for training.

    Args:
        hidden_layer_sizes: number of units of each hidden layer.
        activation: of the hidden layers: "relu", "tanh", "logistic", "identity", or another
            activation of fcjax by name, except `glu`; or a list of one for each hidden layer.
        solver: "adam", "sgd" or "lbfgs".
        alpha: strength of the penalty `½ α ‖W‖²`, divided by the number of rows of a batch.
        batch_size: rows of a batch; "auto" is 200, or all rows where there are fewer.
        learning_rate: "constant", "invscaling" or "adaptive", for sgd.
        learning_rate_init: the learning rate, at first.
        power_t: the exponent of "invscaling".
        max_iter: number of epochs, or of iterations of lbfgs, at most.
        shuffle: whether each epoch visits the rows in another order.
        random_state: an integer, a `RandomState`, or None.
        tol: improvement of the loss, or of the validation score, that counts as one.
        verbose: whether to print the loss of each epoch.
        warm_start: whether `fit` goes on from what an earlier call reached, with the same
            `hidden_layer_sizes`, features and outputs.
        momentum, nesterovs_momentum: of sgd.
        early_stopping: whether to hold out validation rows, stop when their score no longer
            improves, and keep the best weights.
        validation_fraction: fraction of the rows to hold out.
        beta_1, beta_2, epsilon: of adam.
        n_iter_no_change: number of epochs in a row without improvement that are allowed.
        max_fun: number of evaluations of the loss by lbfgs, at most.
        class_weight: weights of the classes, a dict, or "balanced" for weights inversely
            proportional to how often they occur. They multiply `sample_weight`.
        dropout: probability of zeroing each value of a hidden layer during training.
        optimizer: an optimizer of Optax, which replaces `solver`, or a function without arguments
            that returns one. Optax's optimizers cannot be pickled; pass for example
            `functools.partial(optax.adamw, 1e-3)` to pickle the estimator.
        compute_dtype: dtype of the operands of matrix products in training, e.g. "bfloat16".

    Attributes:
        classes_: the labels.
        coefs_, intercepts_: weights and biases of the layers.
        n_iter_, t_: epochs of the last fit, and rows seen in all.
        loss_, loss_curve_, best_loss_: the mean loss of the last epoch, of each, and the lowest.
        validation_scores_, best_validation_score_: accuracy on the validation rows.
        validation_loss_curve_: their mean loss after each epoch, without penalty.
        n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as in
            scikit-learn.

    Source: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((20,), solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict(X[:3]), model.score(X, y) > 0.95
    (array([0, 0, 0]), True)
    """

    loss = "log_loss"
    class_weight: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 0.001,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15000,
        class_weight: Any = None,
        dropout: Any = 0.0,
        optimizer: Any = None,
        compute_dtype: Any = None,
    ):
        keep_parameters(self, locals())

    @validated
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPClassifier":
        """Train the network.

        Args:
            X: features, dense or sparse, `(rows, features)`.
            y: labels `(rows,)`, or 0 and 1 for each label `(rows, labels)`.
            sample_weight: one weight per row.

        Raises:
            ValueError: an argument or a parameter is not valid, or the weights become infinite.

        >>> X = [[0.0], [1.0], [2.0], [3.0]]
        >>> MLPClassifier(solver="lbfgs", random_state=0).fit(X, list("aabb")).predict([[0.5]])
        array(['a'], dtype='<U1')
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @only_if(lambda estimator: estimator._check_solver())
    @validated
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> "MLPClassifier":
        """Train for one epoch on some rows, and keep the optimizer's state for the next call.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            sample_weight: as in `fit`.
            classes: all labels that may come; only the first call needs them.

        Raises:
            ValueError: `classes` is missing, or y has a label that is not one of them.

        >>> X, y = np.eye(3), [0, 1, 2]
        >>> model = MLPClassifier(random_state=0).partial_fit(X, y, classes=[0, 1, 2])
        >>> model.partial_fit(X[:2], y[:2]).t_
        5
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows, which partial_fit does not see; pass a "
                "dict, e.g. of sklearn.utils.class_weight.compute_class_weight"
            )
        if check_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _encode(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=dtype,
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_labels(unique_labels(y))
        found: Any = self._label_binarizer.transform(y)
        Y = np.asarray(found.toarray() if issparse(found) else found)
        if self._label_binarizer.y_type_ == "multiclass":
            return X, np.argmax(Y, axis=1).astype(np.int32)
        return X, Y.astype(X.dtype)

    def _check_labels(self, labels: np.ndarray) -> None:
        if self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same "
                "classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {labels}"
            )
        if len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {labels}."
            )

    def _loss(self) -> tuple[str, str]:
        if self._label_binarizer.y_type_ == "multiclass":
            return "softmax", "softmax"
        return "sigmoid", "logistic"

    def _outputs(self, Y: np.ndarray) -> int:
        return len(self.classes_) if Y.ndim == 1 else Y.shape[1]

    def _strata(self, Y: np.ndarray, fraction: float) -> np.ndarray | None:
        if Y.ndim == 2:
            return Y.astype(bool) if Y.shape[1] == 1 else None
        counts = np.bincount(Y)
        counts = counts[counts > 0]
        held_out = fraction * len(Y)
        enough = counts.min() > 1 and len(counts) <= min(held_out, len(Y) - held_out)
        return Y if enough else None

    def _weights(self, y: Any, weights: Any) -> Any:
        if self.class_weight is None:
            return weights
        of_class = class_weights(self.class_weight, y)
        return of_class if weights is None else of_class * weights

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, or of each label, `(rows, classes)`.

        Args:
            X: features, dense or sparse.

        >>> X = [[0.0], [1.0], [2.0], [3.0]]
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, list("aabb"))
        >>> model.predict_proba([[0.0], [3.0]]).round(2)
        array([[1., 0.],
               [0., 1.]])
        """
        P = self._forward(X)
        return np.hstack([1 - P, P]) if self.n_outputs_ == 1 else P

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`.

        Args:
            X: features, dense or sparse.

        >>> X = [[0.0], [1.0], [2.0], [3.0]]
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, list("aabb"))
        >>> np.exp(model.predict_log_proba([[0.0], [3.0]])).round(2)
        array([[1., 0.],
               [0., 1.]])
        """
        return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row, or 0 and 1 for each label.

        Args:
            X: features, dense or sparse.

        >>> X, y = [[0.0], [1.0], [2.0]], [[0, 0], [0, 1], [1, 1]]
        >>> MLPClassifier(solver="lbfgs", random_state=0).fit(X, y).predict([[0.0], [2.0]])
        array([[0, 0],
               [1, 1]])
        """
        P = self._forward(X)
        labels: Any = self._label_binarizer.inverse_transform(
            P.ravel() if self.n_outputs_ == 1 else P
        )
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, BaseMLP):
    """A fully connected network that predicts numbers: scikit-learn's, trained by fcjax's rules.

    It has the parameters, defaults, attributes and methods of
    `sklearn.neural_network.MLPRegressor`, so changing the import is enough; see `MLPClassifier`
    for what is the same. The loss of several outputs is their sum, of which the gradients are;
    scikit-learn up to 1.9 reports the mean. "poisson" raises for negative targets.

    Args:
        loss: "squared_error" (half of it), "poisson" (half the deviance; the outputs are
            exponentials), "absolute_error" or "huber".
        hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate,
            learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, warm_start,
            momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2,
            epsilon, n_iter_no_change, max_fun: as in `MLPClassifier`.
        dropout, optimizer, compute_dtype: as in `MLPClassifier`.
        huber_delta: the error beyond which the Huber loss is linear, in the unit of y.

    Attributes:
        coefs_, intercepts_: weights and biases of the layers.
        loss_, loss_curve_, best_loss_: the mean loss of the last epoch, of each, and the lowest.
        validation_scores_, best_validation_score_: R² on the validation rows.
        validation_loss_curve_: their mean loss after each epoch, without penalty.
        n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as
            in `MLPClassifier`.

    Source: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35
    (1964), for its loss.

    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0)
    >>> bool(model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99)
    True
    """

    huber_delta: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"})],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 0.001,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15000,
        dropout: Any = 0.0,
        optimizer: Any = None,
        compute_dtype: Any = None,
        huber_delta: Any = 1.0,
    ):
        keep_parameters(self, locals())

    @validated
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Train the network.

        Args:
            X: features, dense or sparse, `(rows, features)`.
            y: targets, `(rows,)` or `(rows, outputs)`.
            sample_weight: one weight per row.

        Raises:
            ValueError: an argument or a parameter is not valid, or the weights become infinite.

        >>> X = np.arange(8.0)[:, None]
        >>> model = MLPRegressor("huber", (), solver="lbfgs", random_state=0)
        >>> model.fit(X, 2 * X[:, 0]).coefs_[0].round(2)
        array([[2.]])
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @only_if(lambda estimator: estimator._check_solver())
    @validated
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Train for one epoch on some rows, and keep the optimizer's state for the next call.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            sample_weight: as in `fit`.

        >>> X = np.arange(8.0)[:, None]
        >>> model = MLPRegressor(random_state=0).partial_fit(X, X[:, 0])
        >>> first = model.loss_
        >>> model.partial_fit(X, X[:, 0]).loss_ < first
        True
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _encode(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, np.ndarray]:
        del incremental
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=dtype,
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and np.min(y) < 0:
            raise ValueError(
                f"y must be at least 0 with loss='poisson', got {np.min(y)} among its values"
            )
        return X, np.asarray(y.reshape(len(y), -1), X.dtype)

    def _loss(self) -> tuple[str, str]:
        return self.loss, "exp" if self.loss == "poisson" else "identity"

    def _outputs(self, Y: np.ndarray) -> int:
        return Y.shape[1]

    def _strata(self, Y: np.ndarray, fraction: float) -> np.ndarray | None:
        del Y, fraction

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, `(rows,)` or `(rows, outputs)`.

        Args:
            X: features, dense or sparse.

        >>> X = np.arange(8.0)[:, None]
        >>> model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", random_state=0)
        >>> model.fit(X, 2 * X[:, 0]).predict([[10.0]]).round(2)
        array([20.])
        """
        P = self._forward(X)
        return P.ravel() if P.shape[1] == 1 else P
