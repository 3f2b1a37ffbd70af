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
        How the loss is minimised. 'lbfgs' is L-BFGS on the loss of all rows at once, always in float64. All
        others make one update for each mini-batch.
    alpha : float, default=0.0001
        L2 penalty: adds alpha / 2 · Σ w², divided by the sum of the batch's sample weights, to the loss.
        Biases are left out.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        For solver='sgd'. 'constant' keeps the rate. 'invscaling' is ``learning_rate_init / (t + 1) **
        power_t`` after t samples. 'adaptive' divides the rate by 5 if n_iter_no_change consecutive epochs do
        not improve by tol. `schedule` offers more.
    learning_rate_init : float, default=0.001
        Initial learning rate.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Maximum number of epochs of a fit, or of iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new random order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the choice of validation rows, the row orders and the dropout masks.
    tol : float, default=1e-4
        An epoch counts as without improvement if it does not improve the loss, or the validation score, by
        more than this. 'lbfgs' ends if no component of the projected gradient exceeds it.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch. A regressor then also warns of a target far from unit scale.
    warm_start : bool, default=False
        Whether another call of fit continues the last one: its weights, optimizer state, step count and row
        order. Ten epochs plus ten equal twenty to the last bit.
    momentum : float, default=0.9
        Momentum of solver='sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum.
    early_stopping : bool, default=False
        Whether the score of validation rows decides when to stop, instead of the training loss.
    validation_fraction : float, default=0.1
        Share of the rows that early stopping sets aside; stratified for two classes only, as in
        scikit-learn.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the moments in 'adam', 'adamw', 'nadam' and 'lion'; beta_2 also in 'rmsprop'.
    epsilon : float, default=1e-8
        Added to the root of the second moment.
    n_iter_no_change : int, default=10
        The fit ends after this many consecutive epochs without improvement.
    max_fun : int, default=15000
        Maximum number of evaluations of the loss by 'lbfgs'."""

_MORE_PARAMETERS = """\
n_threads : int or None, default=None
        Maximum number of threads; small steps use fewer. None: as many as the process may use. It changes no
        bit of the results."""

_REGULARISATION = """\
dropout : float or list of float, default=0.0
        Share of the hidden units that each training step sets to zero, in [0, 1). A list has one for each
        hidden layer.
    l1 : float, default=0.0
        L1 penalty: l1 · Σ \\|w\\|, divided like the L2 penalty.
    weight_decay : float or None, default=None
        Decoupled weight decay: each update also subtracts learning rate · weight_decay · w. None is 0.01 for
        'adamw' and 0 for all others.
    max_norm : float or None, default=None
        Maximum norm of the weights into one unit. Larger ones are scaled down after each update.
    clip_norm : float or None, default=None
        Maximum norm of the gradient over all weights, before penalties are added. Larger ones are scaled
        down to it.
    schedule : str, schedule, callable or None, default=None
        Learning rate of each update, instead of `learning_rate`, for all solvers but 'lbfgs'. It is
        'constant', 'invscaling', 'adaptive', 'step', 'cosine', 'coslog', 'flat_cos', 'one_cycle', 'warm_up',
        'plateau', an object of `densegrad.schedules`, or a callable (step, n_steps) → learning rate. `step`
        counts updates from the first fit on, and `n_steps` is the total on that count. In partial_fit the
        steps continue from call to call, and the total is max_iter epochs of the call's size.
    scoring : str, callable or None, default=None
        How validation rows are scored: a scikit-learn scorer, or 'loss' for minus the loss. None is
        {default_score}. A score of NaN is an error. Without early_stopping and X_val there are no validation
        rows.
    restore_best : bool, default=True
        Whether early stopping ends with the best weights instead of the last ones.
    max_time : float or None, default=None
        Seconds after which fit ends, also in the middle of an epoch.
    callbacks : list of callable or None, default=None
        Functions that fit calls as ``f(epoch, logs)`` after each epoch. `epoch` counts from 0. `logs` has
        'loss', 'learning_rate' and 'seconds' of the training. With validation rows it also has
        'validation_loss' and 'score'. A callback ends the fit if it returns True. One with an attribute
        `every_steps` and a method ``after_step(step)`` is also called every so many updates, as
        :class:`densegrad.display.Diagnostics` may be. ``set_callbacks`` sets
        scikit-learn's own callbacks, if its version has them.
    progress : bool, default=False
        Whether fit shows a progress bar."""

_ATTRIBUTES = """\
loss_ : float
        Loss of the last epoch, penalties included.
    best_loss_ : float or None
        Lowest loss of all epochs; None with early_stopping. Not for 'lbfgs'.
    loss_curve_ : list of float
        Loss of each epoch; partial_fit keeps the last 10,000. Not for 'lbfgs'.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss of the validation rows after each epoch; None without such rows.
    best_validation_score_ : float or None
        Highest of the scores.
    t_ : int
        Number of training rows seen so far, over all epochs.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, as they are in `network_`. The arrays are
        read-only. To change what predict uses, assign a new list, or a new array to an element.
    network_ : Network
        The fitted network, which predict and further training use. Its backward pass can be read, and it can
        be saved or trained by a Trainer.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns, if X had names that are all strings.
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
