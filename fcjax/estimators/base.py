"""What the classifier and the regressor share: parameters, fitting and prediction."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
import optax
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arguments import as_integer, brief
from ..model.folder import Contents
from ._sklearn import Integral, Interval, Options, Real, StrOptions, sample_weights
from .epochs import Data, Plan
from .fitting import (
    Orders,
    Report,
    Settings,
    Training,
    batch_sizes,
    first_state,
    message_of,
    on_device,
    rounded_up,
    stored_state,
    train,
)
from .lbfgs import minimize
from .network import NAMES, OTHER_NAMES, Batch, Network, pack, unpack
from .prediction import forward
from .saving import from_contents, to_contents
from .solvers import Adam, Sgd, Solver, optax_solver
from .start import start_weights
from .stopping import Patience

_STOCHASTIC = ("sgd", "adam")


class Examples(NamedTuple):
    """Rows, encoded targets, and one weight per row or None."""

    X: np.ndarray
    Y: np.ndarray
    w: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Examples":
        """Return some rows."""
        return Examples(self.X[rows], self.Y[rows], None if self.w is None else self.w[rows])

    @property
    def batch(self) -> Batch:
        """The examples with weights, all 1 unless they are given."""
        return Batch(
            self.X, self.Y, np.ones(len(self.X), self.X.dtype) if self.w is None else self.w
        )


class BaseMLP(BaseEstimator, ABC):
    """A fully connected network behind the interface of scikit-learn."""

    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    loss: str
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: Any
    max_fun: int
    dropout: float
    optimizer: Any
    compute_dtype: str | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(NAMES)), list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "optimizer": [None, callable, optax.GradientTransformation],
        "compute_dtype": [None, StrOptions({"bfloat16", "float16", "float32"})],
    }

    # --- what a classifier and a regressor do differently ----------------------------------------

    @abstractmethod
    def _encode(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, np.ndarray]:
        """Return checked X in a dtype, or one of several, and the targets as the loss takes them.

        Training that goes on keeps the dtype of the parameters.
        """

    @abstractmethod
    def _loss(self) -> tuple[str, str]:
        """Return the name of the loss, and that of the activation of the outputs."""

    @abstractmethod
    def _outputs(self, Y: np.ndarray) -> int:
        """Return the number of outputs for encoded targets."""

    @abstractmethod
    def _strata(self, Y: np.ndarray, fraction: float) -> np.ndarray | None:
        """Return the classes by which to stratify the split of early stopping."""

    def _weights(self, y: Any, weights: Any) -> Any:
        """Return sample weights, or None."""
        del y
        return weights

    # --- fitting ----------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        hidden = self._hidden_sizes()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        dtypes = (np.float64, np.float32) if first else self.coefs_[0].dtype
        X, Y = self._encode(X, y, incremental, first, dtypes)
        w = None if sample_weight is None else sample_weights(sample_weight, X)
        w = self._weights(y, w)
        X = X.toarray() if hasattr(X, "toarray") else X
        examples = Examples(X, Y, None if w is None else np.asarray(w, X.dtype))
        random = check_random_state(self.random_state)
        network = self._network((X.shape[1], *hidden, self._outputs(Y)))
        if first:
            self._start(network, random, X.dtype)
        else:
            self._check_same(network)
        if self._is_stochastic():
            self._train(network, examples, random, incremental)
        else:
            self._minimize(network, examples)
        if not all(np.isfinite(V).all() for V in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )

    def _is_stochastic(self) -> bool:
        return self.optimizer is not None or self.solver in _STOCHASTIC

    def _hidden_sizes(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(as_integer(size) is None for size in sizes):
            raise TypeError(f"hidden_layer_sizes must be integers, got {brief(sizes)}")
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return tuple(int(size) for size in sizes)

    def _activations(self, hidden: int) -> tuple[str, ...]:
        """Return fcjax's name of the activation of each layer, with one for drawing the last."""
        given = self.activation
        names: Sequence[Any] = [given] * (hidden or 1) if isinstance(given, str) else list(given)
        unknown = [name for name in names if not (isinstance(name, str) and name in NAMES)]
        if unknown:
            raise ValueError(
                f"activation must name activations of {sorted(NAMES)}, got {unknown[0]!r}"
            )
        if len(names) != (hidden or 1):
            raise ValueError(
                f"activation must be one name, or one for each of the {hidden} hidden layers, "
                f"got {len(names)}"
            )
        plain = [OTHER_NAMES.get(name, name) for name in names]
        return (*plain[:hidden], plain[-1])

    def _network(self, sizes: tuple[int, ...]) -> Network:
        return Network(
            sizes=sizes,
            activations=self._activations(len(sizes) - 2)[:-1],
            loss=self._loss()[0],
            delta=float(getattr(self, "huber_delta", 1.0)),
            dropout=float(self.dropout),
            compute_dtype=self.compute_dtype,
        )

    def _start(self, network: Network, random: np.random.RandomState, dtype: np.dtype) -> None:
        """Draw the weights, and forget what an earlier fit reached."""
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = network.sizes[-1]
        self.n_layers_ = len(network.sizes)
        self.out_activation_ = self._loss()[1]
        names = self._activations(len(network.sizes) - 2)
        self.coefs_, self.intercepts_ = start_weights(random, network.sizes, names, dtype)
        self._no_improvement_count, self._steps = 0, 0
        self._solver_state: list[np.ndarray] | None = None
        if self._is_stochastic():
            self._begin_curves()

    def _begin_curves(self) -> None:
        self.loss_curve_: list[float] = []
        self._forget_best()

    def _check_same(self, network: Network) -> None:
        """Raise unless the parameters of the earlier fit are those of this network."""
        sizes = [len(self.coefs_[0]), *(len(b) for b in self.intercepts_)]
        if [*network.sizes[1:-1]] != sizes[1:-1]:
            raise ValueError(
                "hidden_layer_sizes must stay as in the earlier fit, from which training goes on, "
                f"{tuple(sizes[1:-1])}, got {network.sizes[1:-1]}"
            )
        if network.sizes[-1] != sizes[-1]:
            raise ValueError(
                "y must have as many outputs as in the earlier fit, from which training goes on, "
                f"{sizes[-1]}, got {network.sizes[-1]}"
            )
        if self._loss()[1] != self.out_activation_:
            raise ValueError(
                f"loss={self.loss!r} must not follow an earlier fit whose outputs had the "
                f"activation {self.out_activation_!r}; fit with warm_start=False first"
            )

    def _forget_best(self) -> None:
        validated = self.early_stopping
        self.validation_scores_: Any = [] if validated else None
        self.validation_loss_curve_: Any = [] if validated else None
        self.best_validation_score_ = -np.inf if validated else None
        self.best_loss_ = None if validated else np.inf

    def _minimize(self, network: Network, examples: Examples) -> None:
        if self.dropout:
            raise ValueError(
                "dropout needs a stochastic solver, 'sgd' or 'adam', because lbfgs needs a loss "
                f"that is not random, got dropout={self.dropout}"
            )
        found = minimize(
            network,
            pack(self.coefs_, self.intercepts_),
            _wide(examples.batch),
            alpha=float(self.alpha),
            tol=self.tol,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            verbose=bool(self.verbose),
        )
        self.n_iter_, self.loss_ = found.iterations, found.loss
        self._keep(network, found.vector.astype(examples.X.dtype))

    def _keep(self, network: Network, vector: Any) -> None:
        coefs, intercepts = unpack(network, np.array(vector))
        self.coefs_, self.intercepts_ = [*map(np.array, coefs)], [*map(np.array, intercepts)]

    def _train(
        self, network: Network, examples: Examples, random: np.random.RandomState, incremental: bool
    ) -> None:
        examples, held_out = self._split(examples, random)
        if not hasattr(self, "loss_curve_"):
            self._begin_curves()  # the earlier fit was by lbfgs, which has none
        if held_out is not None and self.validation_scores_ is None:
            self._forget_best()  # the earlier fit had no validation
        if held_out is not None:
            self.best_validation_score_ = -np.inf  # what other rows had chosen is not its rival
        rows = len(examples.X)
        batch_size, padded = batch_sizes(rows, self._batch_size(rows))
        plan = self._plan(network, batch_size, examples, held_out)
        settings = self._settings(random, incremental)
        with jax.enable_x64(examples.X.dtype == np.float64):
            data = Data(
                on_device(examples.batch, padded),
                np.asarray(rows, np.int32),
                None
                if held_out is None
                else on_device(held_out.batch, rounded_up(len(held_out.X))),
            )
            training = Training(self._first_state(plan, incremental))
            orders = Orders(random, rows, padded, bool(self.shuffle))
            training = train(plan, training, data, settings, orders, self._reporter(plan, settings))
            self._store(network, training, rows, validated=plan.validated)
        self._warn(training, incremental)

    def _split(
        self, examples: Examples, random: np.random.RandomState
    ) -> tuple[Examples, Examples | None]:
        if not self.early_stopping:
            return examples, None
        rows: Any = train_test_split(
            np.arange(len(examples.X)),
            random_state=random,
            test_size=self.validation_fraction,
            stratify=self._strata(examples.Y, self.validation_fraction),
        )
        train_rows, validation_rows = rows
        if len(validation_rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return examples.take(train_rows), examples.take(validation_rows)

    def _batch_size(self, rows: int) -> int:
        if isinstance(self.batch_size, str):
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped",
                stacklevel=6,
            )
        return min(int(self.batch_size), rows)

    def _plan(
        self, network: Network, batch_size: int, examples: Examples, held_out: Examples | None
    ) -> Plan:
        solver: Solver
        if self.optimizer is not None:
            solver = optax_solver(self.optimizer, network)
        else:
            solver = Adam() if self.solver == "adam" else Sgd(bool(self.nesterovs_momentum))
        return Plan(
            network=network,
            solver=solver,
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            weighted=examples.w is not None,
            validated=held_out is not None,
            schedule=self.learning_rate if isinstance(solver, Sgd) else "constant",
        )

    def _settings(self, random: np.random.RandomState, incremental: bool) -> Settings:
        key = None
        if self.dropout:
            # calls of partial_fit with equal random states draw other masks
            seed = random.randint(2**31 - 1)
            key = jax.random.fold_in(jax.random.key(seed), self.t_ % 2**31)
        names = ("momentum", "beta_1", "beta_2", "epsilon")
        return Settings(
            alpha=self.alpha,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            max_iter=1 if incremental else int(self.max_iter),
            learning_rate_init=self.learning_rate_init,
            power_t=self.power_t,
            numbers={name: getattr(self, name) for name in names},
            seen=self.t_,
            key=key,
        )

    def _first_state(self, plan: Plan, incremental: bool) -> Any:
        vector = pack(self.coefs_, self.intercepts_)
        stored = self._solver_state if incremental else None
        rate = self.learning_rate_init if stored is None else self._rate
        number = vector.dtype.type
        best, sign = (self.best_validation_score_, -1) if plan.validated else (self.best_loss_, 1)
        best = np.inf if best is None else sign * best  # None if the earlier fit had validation
        patience = Patience(number(best), np.int32(self._no_improvement_count), number(rate))
        return first_state(plan, vector, stored, patience, self._steps)

    def _reporter(self, plan: Plan, settings: Settings) -> Any:
        def report(epoch: Report) -> None:
            if self.verbose:
                print(*message_of(epoch, plan, settings), sep="\n")

        return report

    def _store(self, network: Network, training: Training, rows: int, *, validated: bool) -> None:
        state = training.state
        self.n_iter_ = training.epochs
        self.t_ += training.epochs * rows
        self.loss_curve_ += training.losses
        if training.losses:
            self.loss_ = training.losses[-1]
        if validated:
            self.validation_scores_ += training.scores
            self.validation_loss_curve_ += training.validation_losses
            self.best_validation_score_ = -float(state.patience.best)
        else:
            self.best_loss_ = float(state.patience.best)
        self._keep(network, state.best if validated else state.vector)
        self._no_improvement_count, self._rate = int(state.patience.bad), float(state.patience.rate)
        self._steps = int(state.step)
        self._solver_state = stored_state(state.solver)

    def _warn(self, training: Training, incremental: bool) -> None:
        if training.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        elif training.epochs == self.max_iter and not (training.stopped or incremental):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _check_solver(self) -> bool:
        if not self._is_stochastic():
            raise AttributeError(
                "partial_fit is only available for stochastic"
                f" optimizers. {self.solver} is not stochastic."
            )
        return True

    # --- prediction -------------------------------------------------------------------------------

    def _forward(self, X: Any) -> np.ndarray:
        """Return the outputs for some rows, shape (rows, outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        names = self._activations(self.n_layers_ - 2)[:-1]
        output = OTHER_NAMES.get(self.out_activation_, self.out_activation_)
        return forward(X, self.coefs_, self.intercepts_, names, output)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # --- saving -----------------------------------------------------------------------------------

    def to_contents(self) -> Contents:
        """Return what a folder holds of the estimator."""
        return to_contents(self)

    @classmethod
    def from_contents(cls, contents: Contents) -> Any:
        """Return the estimator that a folder holds."""
        return from_contents(cls, contents)


def _wide(batch: Batch) -> Batch:
    """Return examples whose numbers are in float64; SciPy's parameters are."""
    return Batch(
        *(V.astype(np.float64) if np.issubdtype(V.dtype, np.floating) else V for V in batch)
    )


def keep_parameters(estimator: Any, given: Mapping[str, Any]) -> None:
    """Store the arguments of a constructor as they are, as `clone` asks."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
