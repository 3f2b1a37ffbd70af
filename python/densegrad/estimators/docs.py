"""The parts of the two estimators' docstrings that are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_PARAMETERS = """\
hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer. ``()`` is a linear model.
    activation : str or list of str, default='relu'
        Activation of the hidden layers, or one for each: 'identity', 'relu', 'leaky_relu', 'tanh',
        'logistic', 'softplus', 'elu', 'selu', 'silu', 'gelu' or 'mish'.
    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'nadam', 'rmsprop', 'adagrad', 'lion'}, default='adam'
        How the loss is minimised. 'lbfgs' is L-BFGS on the loss of all rows at once, always in float64; the
        others step along the gradient of one batch after another.
    alpha : float, default=0.0001
        L2 penalty: alpha / 2 · Σ w², divided by the sum of the sample weights of the batch, is added to the
        loss. Biases are not penalised.
    batch_size : int or 'auto', default='auto'
        Rows of a batch; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        For solver='sgd': the rate stays; or is ``learning_rate_init / (t + 1) ** power_t`` after t samples;
        or is divided by 5 whenever n_iter_no_change epochs have not improved by tol. See `schedule` for
        more.
    learning_rate_init : float, default=0.001
        Learning rate, at first.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Most epochs of a fit; most iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the rows set aside for validation, the orders of the rows, and
        dropout.
    tol : float, default=1e-4
        An epoch that does not improve the loss, or the validation score, by this much counts as without
        improvement. For 'lbfgs' the largest projected gradient at which the iterations end.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether another call of fit goes on where the last one ended: weights, state of the optimizer,
        number of the step, order of the rows. Ten epochs and ten more are twenty, to the last bit.
    momentum : float, default=0.9
        Momentum of solver='sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether it is Nesterov's.
    early_stopping : bool, default=False
        Whether the score of validation rows, in place of the training loss, decides when to stop.
    validation_fraction : float, default=0.1
        Part of the rows that early stopping sets aside; stratified for two classes, as in scikit-learn.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the moments in 'adam', 'adamw', 'nadam' and 'lion'; beta_2 also in 'rmsprop'.
    epsilon : float, default=1e-8
        Added to the root of the second moment.
    n_iter_no_change : int, default=10
        Epochs in a row without improvement that are allowed.
    max_fun : int, default=15000
        Most evaluations of the loss by 'lbfgs'."""

_MORE_PARAMETERS = """\
n_threads : int or None, default=None
        Largest number of threads; a step of little work uses fewer. None: as many as the process may use.
        Results are the same bits for any number."""

_REGULARISATION = """\
dropout : float or list of float, default=0.0
        Share of the units of the hidden layers, or of each, that a training step leaves out, in [0, 1).
    l1 : float, default=0.0
        L1 penalty: l1 · Σ \\|w\\|, divided as the L2 penalty is.
    weight_decay : float or None, default=None
        Decoupled decay: a step also subtracts learning rate · weight_decay · w. None is 0.01 for 'adamw'
        and 0 for all others.
    max_norm : float or None, default=None
        Longest that the vector of weights into one unit may become.
    clip_norm : float or None, default=None
        Longest that the gradient of a batch's loss without its penalties, by all weights together, may be;
        longer ones are scaled down.
    schedule : str, schedule, callable or None, default=None
        Learning rate of each step, for every stochastic solver, in place of `learning_rate`: 'constant',
        'invscaling', 'adaptive', 'step', 'cosine', 'one_cycle', 'warm_up', 'plateau', an object of
        `densegrad.schedules`, or a callable (step, last) → learning rate, with the numbers of the step and of
        the one after the last, counted from the first fit on. In partial_fit steps go on from call to call,
        and last is max_iter epochs of the size of the call.
    scoring : str, callable or None, default=None
        What validation rows are scored by: a scikit-learn scorer, or 'loss' for minus the loss. None is
        {default_score}. A score of NaN is an error. Without early_stopping or X_val there are
        no such rows, and nothing is scored.
    restore_best : bool, default=True
        Whether early stopping ends with the weights that scored best, rather than the last ones.
    max_time : float or None, default=None
        Seconds after which fit ends, also in the middle of an epoch.
    callbacks : list of callable or None, default=None
        Each is called after every epoch of fit as ``f(epoch, logs)``, epoch from 0, logs with 'loss',
        'learning_rate', 'seconds' (of its training) and, with validation rows, 'validation_loss' and
        'score'. True ends the training. scikit-learn's own callbacks are set by ``set_callbacks``, where
        scikit-learn has them.
    progress : bool, default=False
        Whether fit shows a progress bar."""

_ATTRIBUTES = """\
loss_ : float
        Loss of the last epoch, penalties included.
    best_loss_ : float or None
        Lowest of all epochs; None with early_stopping. Not for 'lbfgs'.
    loss_curve_ : list of float
        Loss of each epoch; partial_fit keeps the last 10,000. Not for 'lbfgs'.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss of the validation rows after each epoch; None without such rows.
    best_validation_score_ : float or None
        Highest of the scores.
    t_ : int
        Training rows visited so far.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, as they are in `network_`. The arrays are
        read-only: assign a new list, or a new array to an element of it, to change what predict uses.
    network_ : Network
        The fitted network, which predicts and in which training goes on: to look at its backward pass, to
        save it, or to train it with a Trainer.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Their names, where X had names that are all strings.
    n_iter_ : int
        Epochs, or iterations of 'lbfgs', of the last call.
    n_layers_ : int
        Layers, input and head included.
    n_outputs_ : int
        Units of the head.
    out_activation_ : str
        Activation of the head."""

Class = TypeVar("Class", bound=type[Any])


def documented(default_score: str) -> Callable[[Class], Class]:
    """Return a class decorator that puts the shared parts into the docstring."""

    def fill(cls: Class) -> Class:
        text = cls.__doc__ or ""
        for key, part in (
            ("<parameters>", _PARAMETERS),
            ("<threads>", _MORE_PARAMETERS),
            ("<regularisation>", _REGULARISATION.replace("{default_score}", default_score)),
            ("<attributes>", _ATTRIBUTES),
        ):
            text = text.replace(key, part)
        cls.__doc__ = text
        return cls

    return fill
