from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

# From outputs to the loss of the batch and its derivative by them.
_BatchLoss: TypeAlias = Callable[[NDArray[Any]], tuple[float, NDArray[Any]]]
# From z, and whether dy/dz is wanted, to y and dy/dz or None.
_Activation: TypeAlias = Callable[[NDArray[Any], bool], tuple[NDArray[Any], NDArray[Any] | None]]

# total, first, count, ends, batch_rows, first_rows, batch_weights
_Shards: TypeAlias = tuple[
    int, int, int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]
]
# stopped, the error that did it, losses, gradients
_Exchange: TypeAlias = Callable[[bool, BaseException | None, memoryview, list[memoryview]], bool]

class _ActivationRow(TypedDict):
    initializer: str
    head_only: bool

class _LossRow(TypedDict):
    target: str
    heads: tuple[str, ...]
    parameter: str | None
    default: float
    low: float
    high: float
    lowest_target: float
    lowest_allowed: bool
    margin: bool
    outputs_per_target: int

class _OptimizerRow(TypedDict):
    state_count: int
    squares_state: int | None

class _Tables(TypedDict):
    activations: dict[str, _ActivationRow]
    losses: dict[str, _LossRow]
    optimizers: dict[str, _OptimizerRow]
    layer_kinds: list[str]

def shuffle(order: NDArray[np.int64], random: np.random.RandomState | np.random.Generator) -> None: ...
def draw_uniform(key: NDArray[np.uint32], position: int, bound: float, out: NDArray[np.float64]) -> int: ...
def changes_of(network: Network) -> int: ...
def has_finite_weights(network: Network) -> bool: ...
def powers(bases: ArrayLike, exponent: float) -> NDArray[np.float64]: ...
def tables() -> _Tables: ...
def built_instruction_sets() -> list[str]: ...
def supported_instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def set_instruction_set(name: str) -> None: ...
def compiler() -> str: ...
def has_openmp() -> bool: ...
def available_threads() -> int: ...
def set_exact_threads(exact: bool) -> None: ...
def after_fork_in_child() -> None: ...

@final
class Rows:
    def __init__(self, X: Any, n_columns: int = -1, name: str = "X") -> None: ...
    @property
    def n_rows(self) -> int: ...

@final
class Targets:
    def __init__(
        self,
        classes: NDArray[np.int64] | None,
        values: NDArray[Any] | None,
        sample_weight: NDArray[np.float64] | None,
    ) -> None: ...
    @property
    def n_rows(self) -> int: ...

@disjoint_base
class Network:
    def __init__(
        self,
        n_inputs: int,
        layers: list[tuple[int, int, float, bool, tuple[float, ...], _Activation | None, int]],
        loss: int,
        parameter: float,
        levels: tuple[float, ...],
        label_smoothing: float,
        dtype: np.dtype[Any],
    ) -> None: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def depth(self) -> int: ...
    @property
    def n_targets(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    def width(self, l: int) -> int: ...
    def _predict(self, X: Any, n_threads: int | None) -> NDArray[Any]: ...
    def _forward(self, X: Any, n_threads: int | None) -> NDArray[Any]: ...
    def _backward(self, loss_gradient: Any, n_threads: int | None) -> NDArray[Any]: ...
    def _evaluate(self, rows: Rows, targets: Targets, n_threads: int | None) -> float: ...
    def _evaluate_sums(
        self, rows: Rows, targets: Targets, ends: NDArray[np.int64], n_threads: int | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def _backpropagate(
        self, rows: Rows, targets: Targets, n_threads: int | None, custom: _BatchLoss | None
    ) -> tuple[
        float,
        list[NDArray[Any]],
        list[NDArray[Any]],
        list[NDArray[Any]],
        list[NDArray[Any]],
        list[NDArray[Any] | None],
        list[NDArray[Any]],
    ]: ...
    def _loss_and_gradient(
        self, rows: Rows, targets: Targets, n_threads: int | None, custom: _BatchLoss | None
    ) -> tuple[float, NDArray[Any]]: ...
    def _weights(self, l: int) -> NDArray[Any]: ...
    def _set_weights(self, l: int, W: NDArray[Any], first_row: int = 0) -> None: ...
    def _weight_gradient(self, l: int) -> NDArray[Any]: ...
    def _parameters(self) -> NDArray[Any]: ...
    def _set_parameters(self, parameters: NDArray[Any]) -> None: ...
    def _poison_padding(self) -> None: ...

@final
class Reading:
    def __new__(cls, network: Network) -> Reading: ...
    def __enter__(self) -> Reading: ...
    def __exit__(self, *error: object) -> None: ...

@final
class Trainer:
    def __init__(
        self, network: Network, optimizer: int, hyperparameters: dict[str, Any], seed: int
    ) -> None: ...
    @property
    def network(self) -> Network: ...
    @property
    def optimizer(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @steps.setter
    def steps(self, steps: int) -> None: ...
    def set_hyperparameters(self, hyperparameters: dict[str, Any]) -> None: ...
    def state(self, l: int, s: int) -> NDArray[Any]: ...
    def set_state(self, l: int, s: int, state: Any) -> None: ...
    def epoch(
        self,
        rows: Rows,
        targets: Targets,
        order: NDArray[np.int64] | None,
        learning_rates: NDArray[np.float64],
        batch_size: int,
        n_threads: int,
        deadline: float,
        custom: Callable[[NDArray[np.int64], NDArray[Any]], tuple[NDArray[np.float64], NDArray[Any]]] | None,
        factors: tuple[NDArray[np.float64] | None, ...] = ...,
        shards: _Shards | None = None,
        exchange: _Exchange | None = None,
        loss_before: float = 0.0,
        rows_before: int = 0,
        reached: Callable[[float, int, int, bool], None] | None = None,
    ) -> tuple[float, int, int, bool]: ...

@final
class Lbfgs:
    def __init__(self, network: Network) -> None: ...
    @property
    def network(self) -> Network: ...
    @property
    def loss(self) -> float: ...
    @property
    def loss_before(self) -> float: ...
    @property
    def iterations(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def end(self) -> str: ...
    def minimise(
        self,
        rows: Rows,
        targets: Targets,
        *,
        l2: float,
        max_iterations: int,
        max_evaluations: int,
        gradient_tolerance: float,
        reduction_tolerance: float,
        n_threads: int | None,
        deadline: float,
        custom: _BatchLoss | None,
        after_iteration: Callable[[int, float], bool] | None,
        continues: bool = False,
        shards: _Shards | None = None,
        exchange: _Exchange | None = None,
    ) -> None: ...
    def state(self) -> tuple[bool, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def set_state(
        self,
        begun: bool,
        steps: NDArray[np.float64],
        differences: NDArray[np.float64],
        curvatures: NDArray[np.float64],
    ) -> None: ...
