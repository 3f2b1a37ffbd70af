"""Declarations of the C++ API, cpp/include/densegrad."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "densegrad/activations.hpp" namespace "densegrad" nogil:
    cdef enum class Jacobian(int):
        diagonal
    cdef enum class Activation(int):
        identity
    cdef enum class Initializer(int):
        glorot
        glorot_logistic
        he
    cdef struct ActivationRow:
        const char *name
        Initializer initializer
        cbool head_only
    const ActivationRow *kActivations
    int kActivationCount

cdef extern from "densegrad/losses.hpp" namespace "densegrad" nogil:
    cdef enum class Loss(int):
        squared_error
    cdef enum class TargetKind(int):
        values
        probabilities
        classes
    cdef enum class Heads(int):
        any
    bint head_fits(Heads heads, Activation head)
    cdef struct LossRow:
        const char *name
        TargetKind target
        Heads heads
        const char *parameter
        double parameter_default, parameter_low, parameter_high, lowest_target
        cbool lowest_allowed, margin
        int outputs_per_target
    const LossRow *kLosses
    int kLossCount

cdef extern from "densegrad/optimizers.hpp" namespace "densegrad" nogil:
    cdef enum class Optimizer(int):
        sgd
    cdef struct OptimizerRow:
        const char *name
        int state_count, squares_state
    const OptimizerRow *kOptimizers
    int kOptimizerCount

cdef extern from "densegrad/data.hpp" namespace "densegrad" nogil:
    cdef enum class Scalar(int):
        float32
        float64
    cdef struct RowsView:
        const void *data
        Scalar scalar
        int64_t n_rows, n_columns, row_stride, column_stride
        const void *indptr
        const void *indices
        cbool wide_indices
        int64_t n_stored
        const RowsView *blocks
        const int64_t *first_rows
        int64_t n_blocks
    cdef struct Targets:
        const int64_t *classes
        const void *values
        int64_t n_targets
        const double *sample_weight
    cdef struct StopRequest:
        cbool (*asked)(void *) noexcept
        void *context

cdef extern from "densegrad/caller_lock.hpp" namespace "densegrad" nogil:
    cdef cppclass CallerLock:
        cbool begin_read(StopRequest stop) except +
        void end_read()
        int64_t changes()

cdef extern from "densegrad/layers.hpp" namespace "densegrad" nogil:
    cdef enum class LayerKind(int):
        dense
    cdef struct LayerKindRow:
        const char *name
    const LayerKindRow *kLayerKinds
    int kLayerKindCount

cdef extern from "densegrad/network.hpp" namespace "densegrad" nogil:
    cdef struct CppCustomActivation "densegrad::CustomActivation":
        cbool (*function)(void *, const void *, int64_t, void *, void *) noexcept
        void *context
    cdef struct LayerRates:
        double weights, bias, decay, epsilon
    cdef struct LayerSpec:
        int64_t n_units
        Activation activation
        double dropout
        cbool trainable
        LayerRates rates
        CppCustomActivation custom
        LayerKind kind
    cdef struct LossSpec:
        Loss loss
        double parameter
        vector[double] levels
        double label_smoothing
    cdef cppclass NetworkSpec:
        int64_t n_inputs
        vector[LayerSpec] layers
        LossSpec loss
        Scalar scalar
    cdef enum class Quantity(int):
        weights
        weight_gradient
        output
        local_gradient
        loss_gradient
        delta
    cdef struct ReadOut:
        Quantity quantity
        int l
        void *out
    cdef struct BatchLoss:
        cbool (*function)(void *, const void *, int64_t, void *, double *) noexcept
        void *context
    cdef cppclass CppNetwork "densegrad::Network":
        int depth()
        int64_t width(int l)
        int64_t weight_rows(int l)
        int64_t n_targets()
        int64_t n_parameters()
        Jacobian jacobian(int l)
        CallerLock &caller_lock()
        void get(Quantity quantity, int l, void *out) except +
        void set_weights(int l, const RowsView &weights, int64_t first_row) except +
        void get_parameters(void *out) except +
        void set_parameters(const void *numbers, Scalar scalar, int64_t count) except +
        void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) except +
        double evaluate(const RowsView &rows, const Targets &targets, int n_threads, StopRequest stop) except +
        void evaluate_sums(const RowsView &rows, const Targets &targets, const int64_t *ends, int64_t count,
                           double *sums, double *weights, int n_threads, StopRequest stop) except +
        void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) except +
        void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                      StopRequest stop) except +
        double backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                             const vector[ReadOut] &results, StopRequest stop, BatchLoss custom) except +
        double loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads, void *gradient,
                                 StopRequest stop, BatchLoss custom) except +
        unique_ptr[CppTrainer] make_trainer(const OptimizerSpec &optimizer, const Regularisation &regularisation,
                                            uint64_t seed) except +
        unique_ptr[CppLbfgs] make_lbfgs() except +
        cbool has_finite_weights() except +
        void poison_padding() except +
    unique_ptr[CppNetwork] make_network(const NetworkSpec &spec) except +

cdef extern from "densegrad/shards.hpp" namespace "densegrad" nogil:
    cdef struct Shards:
        int64_t total, first, count
        const int64_t *ends
        const int64_t *batch_rows
        const int64_t *first_rows
        const double *batch_weights
        int64_t n_steps
        cbool (*exchange)(void *, cbool, double *, void *const *, int64_t, int64_t) noexcept
        void *context

cdef extern from "densegrad/trainer.hpp" namespace "densegrad" nogil:
    cdef struct OptimizerSpec:
        Optimizer optimizer
        double momentum
        cbool nesterov
        double beta_1, beta_2, epsilon
    cdef struct Regularisation:
        double l2, l1, weight_decay, max_norm, clip_norm
    cdef struct EpochSpec:
        RowsView rows
        Targets targets
        const int64_t *order
        int64_t n_order, batch_size
        const double *learning_rates
        double loss_before
        int64_t rows_before
        const double *decay_factors
        const double *dropout_factors
        const double *smoothing_factors
        int n_threads
        StopRequest stop
        cbool (*custom_loss)(void *, const void *, const int64_t *, int64_t, void *, double *) noexcept
        void *context
        Shards shards
    cdef struct EpochResult:
        double loss_sum
        int64_t n_rows, n_steps
        cbool stopped
    cdef cppclass CppTrainer "densegrad::Trainer":
        EpochResult epoch(const EpochSpec &spec) except +
        void set_hyperparameters(const OptimizerSpec &optimizer, const Regularisation &regularisation) except +
        int64_t steps() except +
        void set_steps(int64_t steps) except +
        void get_state(int l, int s, void *out) except +
        void set_state(int l, int s, const RowsView &state) except +

cdef extern from "densegrad/lbfgs.hpp" namespace "densegrad" nogil:
    cdef enum class LbfgsEnd(int):
        gradient
        reduction
        iterations
        evaluations
        line_search
        asked
    cdef struct LbfgsSpec:
        RowsView rows
        Targets targets
        double l2
        int64_t max_iterations, max_evaluations
        double gradient_tolerance, reduction_tolerance
        int n_threads
        StopRequest stop
        BatchLoss custom
        cbool (*after_iteration)(void *, int64_t, double) noexcept
        void *context
        cbool continues
        Shards shards
    cdef struct LbfgsResult:
        double loss, loss_before
        int64_t iterations, evaluations
        LbfgsEnd end
    cdef cppclass CppLbfgs "densegrad::Lbfgs":
        LbfgsResult minimise(const LbfgsSpec &spec) except +
        int pairs() except +
        cbool begun() except +
        void get_state(double *steps, double *differences, double *curvatures) except +
        void set_state(cbool begun, int pairs, const double *steps, const double *differences,
                       const double *curvatures) except +

cdef extern from "densegrad/config.hpp" namespace "densegrad" nogil:
    vector[string] built_instruction_sets() except +
    vector[string] supported_instruction_sets() except +
    string instruction_set() except +
    void set_instruction_set(const string &name) except +
    string compiler() except +
    cbool has_openmp() except +
    int available_threads() except +
    void set_exact_threads(cbool exact) except +
    void after_fork_in_child() except +

cdef extern from "densegrad/shuffle.hpp" namespace "densegrad" nogil:
    cdef struct BitGenerator:
        pass
    void shuffle(int64_t *numbers, int64_t count, BitGenerator &bits)

cdef extern from "densegrad/mersenne_twister.hpp" namespace "densegrad" nogil:
    const int64_t kMersenneTwisterWords
    int64_t draw_uniform(uint32_t *key, int64_t position, double bound, double *out, int64_t count)

cdef extern from "densegrad/power.hpp" namespace "densegrad" nogil:
    double power(double base, double exponent)
