"""Declarations of the C++ API, cpp/include/densegrad."""

from libc.stdint cimport int64_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "densegrad/activations.hpp" namespace "densegrad" nogil:
    cdef enum class Activation(int):
        identity
    cdef enum class LocalGradient(int):
        one
        output
        buffer
        jacobian
    cdef enum class Initializer(int):
        glorot
        glorot_logistic
        he
    cdef struct ActivationRow:
        const char *name
        LocalGradient local_gradient
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
        double parameter_default, parameter_low, parameter_high
    const LossRow *kLosses
    int kLossCount

cdef extern from "densegrad/optimizers.hpp" namespace "densegrad" nogil:
    cdef enum class Optimizer(int):
        sgd
    cdef struct OptimizerRow:
        const char *name
        int state_count
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
    cdef struct StopRequest:
        cbool (*asked)(void *) noexcept
        void *context

cdef extern from "densegrad/network.hpp" namespace "densegrad" nogil:
    cdef struct LayerSpec:
        int64_t n_units
        Activation activation
        double dropout
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
    cdef struct TargetsData "densegrad::Targets":
        const int64_t *classes
        const void *values
        int64_t n_targets
        const double *sample_weight
    cdef cppclass Engine "densegrad::Network":
        int depth()
        int64_t width(int l)
        int64_t n_targets()
        void get_weights(int l, void *out) except +
        void set_weights(int l, const RowsView &weights) except +
        void get_weight_gradient(int l, void *out) except +
        void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) except +
        double evaluate(const RowsView &rows, const TargetsData &targets, int n_threads,
                        StopRequest stop) except +
        void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) except +
        void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                      StopRequest stop) except +
        double backpropagate(const RowsView &rows, const TargetsData &targets, int n_threads,
                             StopRequest stop) except +
        double loss_and_gradient(const RowsView &rows, const TargetsData &targets, int n_threads,
                                 StopRequest stop) except +
        int64_t cached_rows()
        void get_output(int l, void *out) except +
        void get_local_gradient(int l, void *out) except +
        void get_loss_gradient(int l, void *out) except +
        void get_delta(int l, void *out) except +
        void poison_padding() except +
    unique_ptr[Engine] make_network(const NetworkSpec &spec) except +

cdef extern from "densegrad/trainer.hpp" namespace "densegrad" nogil:
    cdef struct OptimizerSpec:
        Optimizer optimizer
        double momentum
        cbool nesterov
        double beta_1, beta_2, epsilon, l2, l1, weight_decay, max_norm, clip_norm
    cdef struct EpochSpec:
        RowsView rows
        TargetsData targets
        const int64_t *order
        int64_t n_order, batch_size
        const double *learning_rates
        int n_threads
        StopRequest stop
        cbool (*custom_loss)(void *, const void *, const int64_t *, int64_t, void *, double *) noexcept
        void *context
    cdef struct EpochResult:
        double loss
        int64_t n_steps
        cbool stopped
    cdef cppclass EngineTrainer "densegrad::Trainer":
        EpochResult epoch(const EpochSpec &spec) except +
        void set_optimizer(const OptimizerSpec &spec) except +
        int64_t steps()
        void set_steps(int64_t steps) except +
        void get_state(int l, int s, void *out) except +
        void set_state(int l, int s, const RowsView &state) except +
    unique_ptr[EngineTrainer] make_trainer(Engine &network, const OptimizerSpec &spec, uint64_t seed) except +

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
