# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True, freethreading_compatible=True
# distutils: language=c++
"""Binding of the C++ core: checks the arguments, releases the GIL, calls. Computes nothing.

In this order: the core's tables; arrays that it reads in place; calls of the core, and what it calls back
meanwhile; network, trainer and L-BFGS; random numbers and powers; the build and the threads.

It is one module, since a second one would bring a second copy of the core, with threads and settings of its own.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBUF_WRITE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

from densegrad cimport _cpp as cpp

from threading import get_ident, local, main_thread
from time import monotonic

import numpy as np

from densegrad import _arrays, _validation

cdef object _empty = np.empty
cdef object _ndarray = np.ndarray
cdef object _float32 = np.dtype(np.float32)
cdef object _float64 = np.dtype(np.float64)
cdef object _int32 = np.dtype(np.int32)
cdef object _uint32 = np.dtype(np.uint32)
cdef object _int64 = np.dtype(np.int64)


# The core's tables.

# Python's names of the enumerators that it sees.
cdef dict INITIALIZERS = {
    <int>cpp.Initializer.glorot: "glorot", <int>cpp.Initializer.glorot_logistic: "glorot_logistic",
    <int>cpp.Initializer.he: "he"}
cdef dict TARGETS = {
    <int>cpp.TargetKind.values: "values", <int>cpp.TargetKind.probabilities: "probabilities",
    <int>cpp.TargetKind.classes: "classes"}
cdef dict LBFGS_ENDS = {
    <int>cpp.LbfgsEnd.gradient: "gradient", <int>cpp.LbfgsEnd.reduction: "reduction",
    <int>cpp.LbfgsEnd.iterations: "iterations", <int>cpp.LbfgsEnd.evaluations: "evaluations",
    <int>cpp.LbfgsEnd.line_search: "line_search", <int>cpp.LbfgsEnd.asked: "asked"}


def tables():
    """Return the rows of the tables of activations, losses and optimizers by their names, and the layer kinds."""
    cdef int i
    activations, losses, optimizers = {}, {}, {}
    for i in range(cpp.kActivationCount):
        activations[cpp.kActivations[i].name.decode()] = {
            "initializer": INITIALIZERS[<int>cpp.kActivations[i].initializer],
            "head_only": cpp.kActivations[i].head_only,
        }
    for i in range(cpp.kLossCount):
        losses[cpp.kLosses[i].name.decode()] = {
            "target": TARGETS[<int>cpp.kLosses[i].target],
            "heads": tuple([name for j, name in enumerate(activations)
                            if cpp.head_fits(cpp.kLosses[i].heads, <cpp.Activation><int>j)]),
            "parameter": None if cpp.kLosses[i].parameter == NULL else cpp.kLosses[i].parameter.decode(),
            "default": cpp.kLosses[i].parameter_default,
            "low": cpp.kLosses[i].parameter_low,
            "high": cpp.kLosses[i].parameter_high,
            "lowest_target": cpp.kLosses[i].lowest_target,
            "lowest_allowed": cpp.kLosses[i].lowest_allowed,
            "margin": cpp.kLosses[i].margin,
            "outputs_per_target": cpp.kLosses[i].outputs_per_target,
        }
    for i in range(cpp.kOptimizerCount):
        optimizers[cpp.kOptimizers[i].name.decode()] = {
            "state_count": cpp.kOptimizers[i].state_count,
            "squares_state": None if cpp.kOptimizers[i].squares_state < 0 else cpp.kOptimizers[i].squares_state,
        }
    layer_kinds = [cpp.kLayerKinds[i].name.decode() for i in range(cpp.kLayerKindCount)]
    return {"activations": activations, "losses": losses, "optimizers": optimizers, "layer_kinds": layer_kinds}


# Arrays that the core reads in place.

@cython.final
@cython.freelist(16)
cdef class Numbers:
    """The memory of an array of numbers in C order, which stays where it is while this object lives."""
    cdef Py_buffer buffer

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


cdef Numbers numbers_of(object array, str name, object dtype, int ndim, int flags=0):
    """Return the memory of an array, which must be C-contiguous and of this type; ndim -1: of any dimensions."""
    cdef Numbers numbers = Numbers.__new__(Numbers)
    cdef Py_buffer *buffer = &numbers.buffer
    cdef char kind
    PyObject_GetBuffer(array, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags)
    kind = buffer.format[0] if buffer.format != NULL and buffer.format[1] == 0 else b"?"
    if kind == b"q":
        kind = b"l"
    if (kind != <char>ord(dtype.char) or buffer.itemsize != dtype.itemsize
            or (ndim >= 0 and buffer.ndim != ndim)
            or (buffer.len > 0 and <size_t>buffer.buf % <size_t>buffer.itemsize != 0)):
        raise TypeError(f"{name} must be a C-contiguous array of {dtype}; got {_validation.outline(array)}")
    return numbers


cdef inline cpp.Scalar scalar_of(Py_ssize_t itemsize) noexcept:
    return cpp.Scalar.float32 if itemsize == 4 else cpp.Scalar.float64


cdef int copy_numbers(void *out, object array, str name, object dtype, Py_ssize_t count) except -1:
    """Copy an array of `count` numbers, of any shape."""
    cdef Numbers numbers = numbers_of(array, name, dtype, -1)
    cdef Py_buffer *buffer = &numbers.buffer
    if buffer.len != count * buffer.itemsize:
        raise ValueError(f"{name} must hold {count} numbers; got {buffer.len // buffer.itemsize}")
    memcpy(out, buffer.buf, buffer.len)
    return 0


cdef object memory_view(void *memory, Py_ssize_t size):
    return PyMemoryView_FromMemory(<char *>memory, size, PyBUF_WRITE)


cdef void *memory_of(object array) except NULL:
    """Return the memory of an array of our own making, which outlives the use of it."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS)
    cdef void *memory = buffer.buf
    PyBuffer_Release(&buffer)
    return memory


@cython.final
@cython.freelist(8)
cdef class Rows:
    """A matrix to be read in place: float32 or float64 with any strides, or CSR. Keeps the arrays alive.

    `X` may be a tuple of Rows, which are then the blocks of one matrix.

    Raises ValueError if `X` does not have `n_columns` columns (-1: any number), and TypeError if it does not
    hold real numbers.
    """
    cdef cpp.RowsView view
    cdef Py_buffer data
    cdef tuple parts  # of a sparse matrix or of blocks: what `view` reads
    cdef vector[cpp.RowsView] blocks
    cdef vector[int64_t] first_rows

    def __init__(self, X, int64_t n_columns=-1, str name not None="X"):
        if self.data.buf != NULL or self.parts is not None:
            raise RuntimeError("these rows have been initialised already")
        self.read(X, n_columns, name)

    def __dealloc__(self):
        PyBuffer_Release(&self.data)

    @property
    def n_rows(self):
        return self.view.n_rows

    cdef int check_some(self) except -1:
        if self.view.n_rows == 0:
            raise ValueError("X must have at least one row; got 0")
        return 0

    cdef int read(self, object X, int64_t n_columns, str name) except -1:
        if type(X) is tuple and X and type(X[0]) is Rows:
            self.read_blocks(X)
        else:
            self.read_matrix(X, name)
        if n_columns >= 0 and self.view.n_columns != n_columns:
            raise ValueError(f"{name} must have {n_columns} columns; got shape "
                             f"({self.view.n_rows}, {self.view.n_columns})")
        return 0

    cdef int read_matrix(self, object X, str name) except -1:
        if type(X) is not _ndarray:
            _arrays.check_unmasked(name, X)
        if not self.read_dense(X):
            X = _arrays.readable_rows(X, name)
            if hasattr(X, "indptr"):
                self.read_csr(X)
            elif not self.read_dense(X):
                raise TypeError(f"{name} must be an array of real numbers in two dimensions; got {type(X)}")
        return 0

    # Blocks of blocks are not read.
    cdef int read_blocks(self, tuple parts) except -1:
        cdef Rows part
        for part in parts:
            if part.view.blocks != NULL or part.view.n_columns != (<Rows>parts[0]).view.n_columns:
                raise ValueError("blocks must be matrices with as many columns as the first one")
            self.blocks.push_back(part.view)
            self.first_rows.push_back(self.view.n_rows)
            self.view.n_rows += part.view.n_rows
        self.parts = parts
        self.view.n_columns = part.view.n_columns
        self.view.blocks = self.blocks.data()
        self.view.first_rows = self.first_rows.data()
        self.view.n_blocks = <int64_t>self.blocks.size()
        return 0

    # Whether X can be read as it is.
    cdef bint read_dense(self, object X) except -1:
        cdef Py_ssize_t size
        if not PyObject_CheckBuffer(X):
            return False
        try:
            PyObject_GetBuffer(X, &self.data, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, ValueError):
            return False
        size = self.data.itemsize
        if (self.data.ndim != 2 or self.data.format == NULL or self.data.format[1] != 0
                or not (self.data.format[0] == b"f" or self.data.format[0] == b"d")
                or self.data.strides[0] % size != 0 or self.data.strides[1] % size != 0
                or <size_t>self.data.buf % <size_t>size != 0):
            PyBuffer_Release(&self.data)
            return False
        self.view.data = self.data.buf
        self.view.scalar = scalar_of(size)
        self.view.n_rows = self.data.shape[0]
        self.view.n_columns = self.data.shape[1]
        self.view.row_stride = self.data.strides[0] // size
        self.view.column_stride = self.data.strides[1] // size
        return True

    cdef int read_csr(self, object X) except -1:
        index = _int64 if X.indices.dtype.itemsize == 8 else _int32
        data = numbers_of(X.data, "data", X.data.dtype if X.data.dtype == _float32 else _float64, 1)
        indptr = numbers_of(X.indptr, "indptr", index, 1)
        indices = numbers_of(X.indices, "indices", index, 1)
        if (indptr.buffer.shape[0] != X.shape[0] + 1
                or indices.buffer.shape[0] != data.buffer.shape[0]):
            raise ValueError("indptr, indices and data of a sparse matrix must fit its shape")
        self.parts = (data, indptr, indices)
        self.view.data = data.buffer.buf
        self.view.n_stored = data.buffer.shape[0]
        self.view.scalar = scalar_of(data.buffer.itemsize)
        self.view.n_rows, self.view.n_columns = X.shape
        self.view.indptr = indptr.buffer.buf
        self.view.indices = indices.buffer.buf
        self.view.wide_indices = indices.buffer.itemsize == 8
        return 0


cdef inline Rows rows_of(object X, int64_t n_columns, str name):
    if type(X) is Rows:
        return <Rows>X
    cdef Rows rows = Rows.__new__(Rows)
    rows.read(X, n_columns, name)
    return rows


cdef inline Rows dense_rows_of(object X, int64_t n_columns, str name):
    cdef Rows rows = rows_of(X, n_columns, name)
    if rows.view.indptr != NULL or rows.view.blocks != NULL:
        raise TypeError(f"{name} must not be sparse; give an array, which its `toarray` returns")
    return rows


@cython.final
cdef class Targets:
    """The targets of y_(L): class numbers or values in C order, and weights of the rows, or None."""
    cdef cpp.Targets view
    cdef Numbers classes, values, weights
    cdef bint filled
    cdef readonly Py_ssize_t n_rows  # -1: nothing is here

    def __init__(self, classes, values, sample_weight):
        if self.filled:
            raise RuntimeError("these targets have been initialised already")
        self.filled = True
        self.n_rows = -1
        if classes is not None:
            self.classes = numbers_of(classes, "classes", _int64, 1)
            self.view.classes = <const int64_t *>self.classes.buffer.buf
            self.check_length(self.classes.buffer.shape[0])
        if values is not None:
            self.values = numbers_of(values, "values", _float32 if values.dtype == _float32 else _float64, 2)
            self.view.values = self.values.buffer.buf
            self.view.n_targets = self.values.buffer.shape[1]
            self.check_length(self.values.buffer.shape[0])
        if sample_weight is not None:
            self.weights = numbers_of(sample_weight, "sample_weight", _float64, 1)
            self.view.sample_weight = <const double *>self.weights.buffer.buf
            self.check_length(self.weights.buffer.shape[0])

    cdef int check_length(self, Py_ssize_t n_rows) except -1:
        if self.n_rows >= 0 and self.n_rows != n_rows:
            raise ValueError(f"classes, values and sample_weight must have one length; got {self.n_rows} and {n_rows}")
        self.n_rows = n_rows
        return 0

    # For rows that go through a network of some precision.
    cdef int check(self, Rows rows, object dtype) except -1:
        if self.n_rows >= 0 and self.n_rows != rows.view.n_rows:
            raise ValueError(f"targets must have {rows.view.n_rows} rows, as X has; got {self.n_rows}")
        if self.view.values != NULL and self.values.buffer.itemsize != dtype.itemsize:
            raise TypeError(f"the values of targets must be {dtype}, as the network is")
        return 0


# Calls of the core, and what it calls back meanwhile.

cdef extern from "call_python.hpp" namespace "densegrad" nogil:
    # A function that takes the GIL, and its arguments.
    cbool call_python(...) noexcept
    cbool interpreter_goes_down() noexcept
    double steady_seconds() noexcept


cdef int threads_of(object n_threads) except -1:
    return 0 if n_threads is None else _validation.threads(n_threads)


# The thread that signals are handled in: the others have no need of the GIL to be asked whether to stop.
cdef unsigned long main_thread_number = main_thread().ident


cdef class Network


cdef struct Question:
    double deadline  # by steady_seconds(); 0: none
    void *call
    unsigned long thread_number


@cython.final
@cython.freelist(8)
cdef class Call:
    """A call of the core under way: its arrays, the needs of its callbacks, and the errors they raised."""
    cdef Question question
    cdef list arrays
    cdef object custom_loss
    cdef object after_iteration
    cdef object exchange
    cdef object partials
    cdef object dtype
    cdef int64_t n_outputs
    cdef object error

    cdef cpp.StopRequest stop_request(self, double deadline=0):
        """`deadline` is a reading of time.monotonic, 0 for none."""
        cdef cpp.StopRequest request
        self.question.deadline = 0 if deadline == 0 else steady_seconds() + (deadline - monotonic())
        self.question.call = <void *>self
        self.question.thread_number = get_ident()
        request.asked = should_stop
        request.context = &self.question
        return request

    cdef cpp.BatchLoss batch_loss(self, Network network, object custom):
        cdef cpp.BatchLoss loss
        self.expect(network, custom)
        loss.function = NULL
        if custom is not None:
            loss.function = custom_batch_loss
        loss.context = <void *>self
        return loss

    cdef int expect(self, Network network, object custom) except -1:
        self.custom_loss = custom
        self.dtype = network.dtype
        self.n_outputs = network.width(network.depth)
        return 0

    cdef object outputs(self, const void *output, int64_t n_rows):
        outputs = _empty((n_rows, self.n_outputs), self.dtype)
        memcpy(memory_of(outputs), output, outputs.nbytes)
        return outputs

    cdef int finish(self) except -1:
        error = self.error
        if error is None and raised_by_activation.error is not None:
            error = raised_by_activation.error
            raised_by_activation.error = None
        if error is not None:
            raise error
        return 0

    cdef Py_buffer *read(self, object array, str name, object dtype, int ndim) except NULL:
        """Return the memory of an array, which stays there until this call is over."""
        cdef Numbers numbers = numbers_of(array, name, dtype, ndim)
        if self.arrays is None:
            self.arrays = []
        self.arrays.append(numbers)
        return &numbers.buffer

    cdef const double *read_steps(self, object array, str name, int64_t n_steps) except? NULL:
        """Return one number a step; NULL for None."""
        if array is None:
            return NULL
        cdef Py_buffer *buffer = self.read(array, name, _float64, 1)
        if buffer.shape[0] != n_steps:
            raise ValueError(f"{name} must have one number for each of {n_steps} steps; got {buffer.shape[0]}")
        return <const double *>buffer.buf

    cdef cpp.Shards shards(self, tuple parts, object exchange) except *:
        """Return the shards of a training: (total, first, count, ends, batch_rows, first_rows, batch_weights)."""
        cdef cpp.Shards shards
        shards.total, shards.first, shards.count = parts[:3]
        cdef Py_buffer *ends = self.read(parts[3], "ends", _int64, 2)
        cdef Py_buffer *batch_rows = self.read(parts[4], "batch_rows", _int64, 1)
        cdef Py_buffer *first_rows = self.read(parts[5], "first_rows", _int64, 1)
        cdef Py_buffer *batch_weights = self.read(parts[6], "batch_weights", _float64, 1)
        shards.n_steps = ends.shape[0]
        if (ends.shape[1] != shards.count or batch_rows.shape[0] != shards.n_steps
                or first_rows.shape[0] != shards.n_steps or batch_weights.shape[0] != shards.n_steps):
            raise ValueError("the arrays of shards must have one row for each step")
        shards.ends = <const int64_t *>ends.buf
        shards.batch_rows = <const int64_t *>batch_rows.buf
        shards.first_rows = <const int64_t *>first_rows.buf
        shards.batch_weights = <const double *>batch_weights.buf
        self.exchange = exchange
        shards.exchange = NULL
        if exchange is not None:
            shards.exchange = exchange_sums
        shards.context = <void *>self
        return shards


cdef cbool should_stop(void *context) noexcept nogil:
    return call_python(is_to_stop, context)


# Signals are for the main thread; the others need no GIL here.
cdef cbool is_to_stop(void *context) noexcept nogil:
    question = <Question *>context
    if question.thread_number == main_thread_number:
        return handle_signals(question)
    return interpreter_goes_down() or is_late(question)


cdef cbool is_late(Question *question) noexcept nogil:
    return question.deadline != 0 and steady_seconds() >= question.deadline


cdef cbool handle_signals(Question *question) noexcept with gil:
    try:
        PyErr_CheckSignals()
        return is_late(question)
    except BaseException as error:
        (<Call>question.call).error = error
        return True


cdef cbool custom_batch_loss(void *context, const void *output, int64_t n_rows, void *loss_gradient,
                             double *loss) noexcept nogil:
    return call_python(batch_loss_of_python, context, output, n_rows, loss_gradient, loss)


cdef cbool batch_loss_of_python(void *context, const void *output, int64_t n_rows, void *loss_gradient,
                                double *loss) noexcept with gil:
    cdef Call call = <Call>context
    try:
        loss[0], gradient = call.custom_loss(call.outputs(output, n_rows))
        copy_numbers(loss_gradient, gradient, "the gradient of a custom loss", call.dtype, n_rows * call.n_outputs)
        return True
    except BaseException as error:
        call.error = error
        return False


cdef cbool custom_row_losses(void *context, const void *output, const int64_t *row_numbers, int64_t n_rows,
                             void *loss_gradient, double *row_loss) noexcept nogil:
    return call_python(row_losses_of_python, context, output, row_numbers, n_rows, loss_gradient, row_loss)


cdef cbool row_losses_of_python(void *context, const void *output, const int64_t *row_numbers, int64_t n_rows,
                                void *loss_gradient, double *row_loss) noexcept with gil:
    cdef Call call = <Call>context
    try:
        rows = _empty(n_rows, _int64)
        memcpy(memory_of(rows), row_numbers, n_rows * sizeof(int64_t))
        losses, gradient = call.custom_loss(rows, call.outputs(output, n_rows))
        copy_numbers(row_loss, losses, "the losses of a custom loss", _float64, n_rows)
        copy_numbers(loss_gradient, gradient, "the gradient of a custom loss", call.dtype, n_rows * call.n_outputs)
        return True
    except BaseException as error:
        call.error = error
        return False


# A network knows its custom activations, but not which call is under way, and several threads may predict at
# once. So the error of an activation waits here until the call that it ended finishes, on the same thread.
class RaisedByActivation(local):
    error = None


cdef object raised_by_activation = RaisedByActivation()


@cython.final
cdef class CustomActivation:
    """A custom activation of a layer: `function` maps z, and whether dy/dz is wanted, to y and dy/dz or None."""
    cdef object function
    cdef object dtype
    cdef int64_t n_units


cdef cbool custom_activation(void *context, const void *z, int64_t n_rows, void *y, void *slope) noexcept nogil:
    return call_python(activation_of_python, context, z, n_rows, y, slope)


cdef cbool activation_of_python(void *context, const void *z, int64_t n_rows, void *y,
                                void *slope) noexcept with gil:
    cdef CustomActivation activation = <CustomActivation>context
    cdef int64_t count = n_rows * activation.n_units
    try:
        preactivation = _empty((n_rows, activation.n_units), activation.dtype)
        memcpy(memory_of(preactivation), z, preactivation.nbytes)
        outputs, slopes = activation.function(preactivation, slope != NULL)
        copy_numbers(y, outputs, "the outputs of a custom activation", activation.dtype, count)
        if slope != NULL:
            copy_numbers(slope, slopes, "the slopes of a custom activation", activation.dtype, count)
        return True
    except BaseException as error:
        raised_by_activation.error = error
        return False


cdef cbool exchange_sums(void *context, cbool stopped, double *losses, void *const *partials, int64_t count,
                         int64_t size) noexcept nogil:
    return call_python(exchange_of_python, context, stopped, losses, partials, count, size)


cdef cbool exchange_of_python(void *context, cbool stopped, double *losses, void *const *partials, int64_t count,
                              int64_t size) noexcept with gil:
    cdef Call call = <Call>context
    cdef int64_t i
    try:
        if call.partials is None:  # they stay where they are during an epoch
            call.partials = [memory_view(losses, count * sizeof(double)),
                             [memory_view(partials[i], size * call.dtype.itemsize) for i in range(count)]]
        if call.error is None:
            call.error, raised_by_activation.error = raised_by_activation.error, None
        return call.exchange(stopped, call.error, *call.partials)
    except BaseException as error:
        call.error = error
        return False


cdef cbool call_after_iteration(void *context, int64_t iterations, double loss) noexcept nogil:
    return call_python(after_iteration_of_python, context, iterations, loss)


cdef cbool after_iteration_of_python(void *context, int64_t iterations, double loss) noexcept with gil:
    cdef Call call = <Call>context
    try:
        return not call.after_iteration(iterations, loss)
    except BaseException as error:
        call.error = error
        return False


# Network, Trainer and Lbfgs.

@cython.final
cdef class Reading:
    """While it is entered, no other thread changes the network or its trainer: read-outs are of one moment.

    Entering waits for the end of a step or epoch that another thread has begun.
    """
    cdef Network network

    def __cinit__(self, Network network not None):
        self.network = network

    def __enter__(self):
        cdef cpp.CppNetwork *core = self.network.get()
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        with nogil:
            core.caller_lock().begin_read(stop)
        call.finish()
        return self

    def __exit__(self, *error):
        self.network.get().caller_lock().end_read()


cdef class Network:
    """A network of the core; `densegrad.Network` is made of it."""
    cdef unique_ptr[cpp.CppNetwork] core
    cdef readonly object dtype
    cdef readonly int depth
    cdef list custom_activations  # the core has pointers to them

    def __init__(self, n_inputs, layers not None, int loss, parameter, levels not None, label_smoothing, dtype):
        cdef cpp.NetworkSpec spec
        cdef cpp.LayerSpec layer
        if self.core.get() != NULL:
            raise RuntimeError("this network has been initialised already")
        spec.n_inputs = n_inputs
        self.dtype = _float32 if dtype == _float32 else _float64
        self.custom_activations = []
        for units, activation, dropout, trainable, rates, custom, kind in layers:
            layer.custom = self.custom_of(custom, units)
            layer.n_units = units
            layer.activation = <cpp.Activation><int>activation
            layer.dropout = dropout
            layer.trainable = trainable
            layer.rates.weights, layer.rates.bias, layer.rates.decay, layer.rates.epsilon = rates
            layer.kind = <cpp.LayerKind><int>kind
            spec.layers.push_back(layer)
        spec.loss.loss = <cpp.Loss>loss
        spec.loss.parameter = parameter
        for level in levels:
            spec.loss.levels.push_back(level)
        spec.loss.label_smoothing = label_smoothing
        spec.scalar = scalar_of(self.dtype.itemsize)
        self.core = cpp.make_network(spec)
        self.depth = self.core.get().depth()

    # `function`: as of CustomActivation, or None.
    cdef cpp.CppCustomActivation custom_of(self, object function, int64_t n_units):
        cdef cpp.CppCustomActivation custom
        cdef CustomActivation activation
        custom.function = NULL
        custom.context = NULL
        if function is not None:
            activation = CustomActivation.__new__(CustomActivation)
            activation.function, activation.dtype, activation.n_units = function, self.dtype, n_units
            self.custom_activations.append(activation)
            custom.function = custom_activation
            custom.context = <void *>activation
        return custom

    cdef cpp.CppNetwork *get(self) except NULL:
        if self.core.get() == NULL:
            raise RuntimeError("this network was never initialised")
        return self.core.get()

    cdef int check_layer(self, int l, int first) except -1:
        if self.get() != NULL and not first <= l <= self.depth:
            raise IndexError(f"layers are numbered {first} ... {self.depth}; got {l}")
        return 0

    def width(self, int l):
        """Return n_(l), the number of units of layer l = 0 ... L."""
        self.check_layer(l, 0)
        return self.get().width(l)

    @property
    def n_targets(self):
        """The number of values a row of the target has."""
        return self.get().n_targets()

    @property
    def n_parameters(self):
        """The number of weights, biases included."""
        return self.get().n_parameters()

    def _predict(self, X, n_threads):
        return self.outputs(X, n_threads, False)

    def _forward(self, X, n_threads):
        return self.outputs(X, n_threads, True)

    cdef object outputs(self, object X, object n_threads, bint cached):
        cdef cpp.CppNetwork *core = self.get()
        cdef Rows rows = rows_of(X, core.width(0), "X")
        cdef int threads = threads_of(n_threads)
        if cached:
            rows.check_some()
        outputs = _empty((rows.view.n_rows, core.width(self.depth)), self.dtype)
        cdef void *out = memory_of(outputs)
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        with nogil:
            if cached:
                core.forward(rows.view, out, threads, stop)
            else:
                core.predict(rows.view, out, threads, stop)
        call.finish()
        return outputs

    def _evaluate_sums(self, Rows rows not None, Targets targets not None, ends not None, n_threads):
        """Return sums of weighted losses and of weights, of the rows up to each of `ends`, int64."""
        cdef cpp.CppNetwork *core = self.get()
        cdef int threads = threads_of(n_threads)
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        targets.check(rows, self.dtype)
        cdef Py_buffer *read = call.read(ends, "ends", _int64, 1)
        cdef Py_ssize_t count = read.shape[0]
        sums, weights = _empty(count, _float64), _empty(count, _float64)
        cdef double *sums_out = <double *>memory_of(sums)
        cdef double *weights_out = <double *>memory_of(weights)
        with nogil:
            core.evaluate_sums(rows.view, targets.view, <const int64_t *>read.buf, count, sums_out, weights_out,
                               threads, stop)
        call.finish()
        return sums, weights

    def _evaluate(self, Rows rows not None, Targets targets not None, n_threads):
        cdef cpp.CppNetwork *core = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        targets.check(rows, self.dtype)
        with nogil:
            loss = core.evaluate(rows.view, targets.view, threads, stop)
        call.finish()
        return loss

    def _backward(self, loss_gradient, n_threads):
        cdef cpp.CppNetwork *core = self.get()
        cdef Rows rows = dense_rows_of(loss_gradient, core.width(self.depth), "loss_gradient")
        cdef int threads = threads_of(n_threads)
        input_gradient = _empty((rows.view.n_rows, core.width(0)), self.dtype)
        cdef void *out = memory_of(input_gradient)
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        with nogil:
            core.backward(rows.view, out, threads, stop)
        call.finish()
        return input_gradient

    def _backpropagate(self, Rows rows not None, Targets targets not None, n_threads, custom):
        """Return the loss and, by layer, the results of one forward and backward pass, all of that pass.

        `custom` maps outputs to (loss, loss gradient), for a custom loss. The lists hold outputs and loss
        gradients of layers 0 ... L, then deltas, weight gradients, local gradients and weights of layers 1 ... L;
        a local gradient whose Jacobian is not diagonal is None.
        """
        cdef cpp.CppNetwork *core = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        cdef cpp.BatchLoss batch_loss = call.batch_loss(self, custom)
        cdef vector[cpp.ReadOut] results
        targets.check(rows, self.dtype)
        rows.check_some()
        lists = [self.reading(results, quantity, rows.view.n_rows)
                 for quantity in (cpp.Quantity.output, cpp.Quantity.loss_gradient, cpp.Quantity.delta,
                                  cpp.Quantity.weight_gradient, cpp.Quantity.local_gradient, cpp.Quantity.weights)]
        with nogil:
            loss = core.backpropagate(rows.view, targets.view, threads, results, stop, batch_loss)
        call.finish()
        return (loss, *lists)

    # Arrays for a quantity, layer by layer, which are noted down to be read out.
    cdef list reading(self, vector[cpp.ReadOut] &results, cpp.Quantity quantity, int64_t n_rows):
        cdef bint from_input = quantity == cpp.Quantity.output or quantity == cpp.Quantity.loss_gradient
        cdef bint like_weights = quantity == cpp.Quantity.weights or quantity == cpp.Quantity.weight_gradient
        cdef int l
        arrays = []
        for l in range(0 if from_input else 1, self.depth + 1):
            array = None
            if quantity != cpp.Quantity.local_gradient or self.get().jacobian(l) == cpp.Jacobian.diagonal:
                array = self.like_weights(l) if like_weights else _empty((n_rows, self.width(l)), self.dtype)
                results.push_back(cpp.ReadOut(quantity, l, memory_of(array)))
            arrays.append(array)
        return arrays

    def _loss_and_gradient(self, Rows rows not None, Targets targets not None, n_threads, custom):
        """Return the loss and its derivative by the parameters; `custom` as for `_backpropagate`."""
        cdef cpp.CppNetwork *core = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        cdef cpp.BatchLoss batch_loss = call.batch_loss(self, custom)
        targets.check(rows, self.dtype)
        gradient = _empty(core.n_parameters(), self.dtype)
        cdef void *out = memory_of(gradient)
        with nogil:
            loss = core.loss_and_gradient(rows.view, targets.view, threads, out, stop, batch_loss)
        call.finish()
        return loss, gradient

    cdef object like_weights(self, int l):
        self.check_layer(l, 1)
        return _empty((self.get().weight_rows(l), self.get().width(l)), self.dtype)

    cdef object of_weights(self, cpp.Quantity quantity, int l):
        array = self.like_weights(l)
        with Reading(self):
            self.get().get(quantity, l, memory_of(array))
        return array

    def _weights(self, int l):
        """Return a copy of W_(l)."""
        return self.of_weights(cpp.Quantity.weights, l)

    def _weight_gradient(self, int l):
        """Return a copy of dLoss/dW_(l) of the last backward pass."""
        return self.of_weights(cpp.Quantity.weight_gradient, l)

    def _set_weights(self, int l, W, int64_t first_row=0):
        """Set W_(l), or the rows of it from `first_row` on that `W` holds."""
        self.check_layer(l, 1)
        cdef Rows rows = dense_rows_of(W, self.get().width(l), "W")
        cdef cpp.CppNetwork *core = self.get()
        with nogil:
            core.set_weights(l, rows.view, first_row)

    def _parameters(self):
        """Return all weights in one vector: W_(1), ..., W_(L), each in C order."""
        parameters = _empty(self.n_parameters, self.dtype)
        with Reading(self):
            self.get().get_parameters(memory_of(parameters))
        return parameters

    def _set_parameters(self, parameters not None):
        """`parameters`: one dimension, C order, float32 or float64."""
        cdef cpp.CppNetwork *core = self.get()
        dtype = _float32 if parameters.dtype == _float32 else _float64
        cdef Numbers numbers = numbers_of(parameters, "parameters", dtype, 1)
        cdef cpp.Scalar scalar = scalar_of(dtype.itemsize)
        with nogil:
            core.set_parameters(numbers.buffer.buf, scalar, numbers.buffer.shape[0])

    def _poison_padding(self):
        """Fill the lanes beyond the matrices' edges with NaN: no result may change. For tests."""
        cdef cpp.CppNetwork *core = self.get()
        with nogil:
            core.poison_padding()


def changes_of(Network network not None):
    """Return how many calls have changed a network so far, if only its cache."""
    return network.get().caller_lock().changes()


def has_finite_weights(Network network not None):
    """Tell whether no weight of a network is NaN or infinite."""
    with Reading(network):
        return network.get().has_finite_weights()


@cython.final
cdef class Trainer:
    """A trainer of the core; `densegrad.Trainer` is made of it.

    `optimizer` is the number of the optimizer's row, `hyperparameters` holds every field of the core's
    OptimizerSpec and Regularisation.
    """
    cdef unique_ptr[cpp.CppTrainer] core
    cdef readonly Network network
    cdef readonly int optimizer

    def __init__(self, Network network not None, int optimizer, dict hyperparameters not None, uint64_t seed):
        if self.core.get() != NULL:
            raise RuntimeError("this trainer has been initialised already")
        cdef cpp.OptimizerSpec spec = {**hyperparameters, "optimizer": optimizer}
        cdef cpp.Regularisation penalties = hyperparameters
        self.core = network.get().make_trainer(spec, penalties, seed)
        self.network = network
        self.optimizer = optimizer

    def __dealloc__(self):
        # Before the network, to which it keeps a reference.
        self.core.reset()

    cdef cpp.CppTrainer *get(self) except NULL:
        if self.core.get() == NULL:
            raise RuntimeError("this trainer was never initialised")
        return self.core.get()

    def set_hyperparameters(self, dict hyperparameters not None):
        """Change the hyperparameters; the optimizer's state is kept."""
        cdef cpp.CppTrainer *core = self.get()
        cdef cpp.OptimizerSpec spec = {**hyperparameters, "optimizer": self.optimizer}
        cdef cpp.Regularisation penalties = hyperparameters
        with nogil:
            core.set_hyperparameters(spec, penalties)

    @property
    def steps(self):
        """The number of updates made so far."""
        self.get()
        with Reading(self.network):
            return self.get().steps()

    @steps.setter
    def steps(self, int64_t steps):
        cdef cpp.CppTrainer *core = self.get()
        with nogil:
            core.set_steps(steps)

    def state(self, int l, int s):
        """Return a copy of the optimizer's state s for W_(l)."""
        self.get()
        state = self.network.like_weights(l)
        with Reading(self.network):
            self.get().get_state(l, s, memory_of(state))
        return state

    def set_state(self, int l, int s, state):
        """Replace the optimizer's state s for W_(l)."""
        cdef cpp.CppTrainer *core = self.get()
        self.network.check_layer(l, 1)
        cdef Rows rows = dense_rows_of(state, self.network.width(l), "state")
        cdef int64_t n_rows = self.network.get().weight_rows(l)
        if rows.view.n_rows != n_rows:
            raise ValueError(f"state must have {n_rows} rows; got {rows.view.n_rows}")
        with nogil:
            core.set_state(l, s, rows.view)

    def epoch(self, Rows rows not None, Targets targets not None, order, learning_rates not None,
              int64_t batch_size, int n_threads, double deadline, custom, factors=(None, None, None), shards=None,
              exchange=None, double loss_before=0.0, int64_t rows_before=0, reached=None):
        """Run an epoch, or a part of one.

        Return the sum over its rows of the loss of their batch, the number of these rows, the number of the
        steps, and whether it was stopped before its end. Sum and rows go on from `loss_before` and `rows_before`.
        `reached`, if it is not None, is called with these four, also if an error ended the epoch. An epoch that was
        refused before its first step does not call it.

        `order` is int64, or None; `learning_rates` are float64, one a step. `deadline` is a reading of
        time.monotonic, 0 for none. `custom` maps row numbers and outputs to the losses of the rows and their
        derivatives by the outputs. `factors` are those of the weight decay, of dropout and of label smoothing:
        float64, one a step, or None.

        `shards` is (total, first, count, ends, batch_rows, first_rows, batch_weights), the fields of the core's
        Shards, and takes the place of `batch_size`. `exchange` is called before each update, with whether this
        process has stopped, the error that did it or None, the bytes of the losses of its parts of the tree, and
        a list of the bytes of their gradients. It leaves the sums of the whole tree in the first of each, and
        returns False to end the epoch before the update.
        """
        cdef cpp.EpochSpec spec
        cdef cpp.EpochResult result
        cdef cpp.CppTrainer *core = self.get()
        cdef Call call = Call()
        call.expect(self.network, custom)
        targets.check(rows, self.network.dtype)
        spec.rows = rows.view
        spec.targets = targets.view
        spec.order = NULL
        spec.n_order = rows.view.n_rows
        cdef Py_buffer *numbers
        if order is not None:
            numbers = call.read(order, "order", _int64, 1)
            spec.order = <const int64_t *>numbers.buf
            spec.n_order = numbers.shape[0]
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        cdef int64_t n_steps = (spec.n_order - 1) // batch_size + 1
        if shards is not None:
            spec.shards = call.shards(shards, exchange)
            n_steps = spec.shards.n_steps
        decay, dropout, smoothing = factors
        spec.learning_rates = call.read_steps(learning_rates, "learning_rates", n_steps)
        spec.decay_factors = call.read_steps(decay, "the factors of the weight decay", n_steps)
        spec.dropout_factors = call.read_steps(dropout, "the factors of dropout", n_steps)
        spec.smoothing_factors = call.read_steps(smoothing, "the factors of label smoothing", n_steps)
        spec.loss_before = loss_before
        spec.rows_before = rows_before
        spec.batch_size = batch_size
        spec.n_threads = n_threads
        spec.stop = call.stop_request(deadline)
        spec.custom_loss = NULL
        if custom is not None:
            spec.custom_loss = custom_row_losses
        spec.context = <void *>call
        with nogil:
            result = core.epoch(spec)
        if reached is not None:
            reached(result.loss_sum, result.n_rows, result.n_steps, result.stopped)
        call.finish()
        return result.loss_sum, result.n_rows, result.n_steps, result.stopped


@cython.final
cdef class Lbfgs:
    """L-BFGS of the core with its memory, for a network of float64.

    After a call of `minimise`, also one that was interrupted, `loss`, `iterations`, `evaluations` and `end` tell
    how far it came; `loss_before` is the loss where the last iteration began. `end` is "gradient", "reduction",
    "iterations", "evaluations", "line_search" or "asked".
    """
    cdef unique_ptr[cpp.CppLbfgs] core
    cdef readonly Network network
    cdef readonly double loss, loss_before
    cdef readonly int64_t iterations, evaluations
    cdef readonly str end

    def __init__(self, Network network not None):
        if self.core.get() != NULL:
            raise RuntimeError("this minimiser has been initialised already")
        self.core = network.get().make_lbfgs()
        self.loss = self.loss_before = float("inf")
        self.network = network

    def __dealloc__(self):
        # Before the network, to which it keeps a reference.
        self.core.reset()

    cdef cpp.CppLbfgs *get(self) except NULL:
        if self.core.get() == NULL:
            raise RuntimeError("this minimiser was never initialised")
        return self.core.get()

    def minimise(self, Rows rows not None, Targets targets not None, *, double l2, int64_t max_iterations,
                 int64_t max_evaluations, double gradient_tolerance, double reduction_tolerance, n_threads,
                 double deadline, custom, after_iteration, cbool continues=False, shards=None, exchange=None):
        """Minimise the loss of the rows, from the network's weights on.

        `deadline` is a reading of time.monotonic, 0 for none. `custom` is as for `Network._backpropagate`.
        `after_iteration` gets the number of iterations and the loss, and returns True to end. It may be None.
        `continues`: rows, targets and `l2` are as in the last call, so its loss and gradient are still good.
        `shards` and `exchange` are as for `Trainer.epoch`, of one step with all rows.
        """
        cdef cpp.LbfgsSpec spec
        cdef cpp.LbfgsResult result
        cdef cpp.CppLbfgs *core = self.get()
        cdef Call call = Call()
        targets.check(rows, self.network.dtype)
        spec.rows = rows.view
        spec.targets = targets.view
        spec.l2 = l2
        spec.max_iterations = max_iterations
        spec.max_evaluations = max_evaluations
        spec.gradient_tolerance = gradient_tolerance
        spec.reduction_tolerance = reduction_tolerance
        spec.n_threads = threads_of(n_threads)
        spec.stop = call.stop_request(deadline)
        spec.custom = call.batch_loss(self.network, custom)
        spec.after_iteration = NULL
        if after_iteration is not None:
            call.after_iteration = after_iteration
            spec.after_iteration = call_after_iteration
        spec.context = <void *>call
        spec.continues = continues
        if shards is not None:
            spec.shards = call.shards(shards, exchange)
        with nogil:
            result = core.minimise(spec)
        self.loss = result.loss
        self.loss_before = result.loss_before
        self.iterations = result.iterations
        self.evaluations = result.evaluations
        self.end = LBFGS_ENDS[<int>result.end]
        call.finish()

    def state(self):
        """Return the state that `set_state` takes."""
        cdef int pairs
        cdef int64_t n = self.network.n_parameters
        with Reading(self.network):
            pairs = self.get().pairs()
            steps, differences = _empty((pairs, n), _float64), _empty((pairs, n), _float64)
            curvatures = _empty(pairs, _float64)
            self.get().get_state(<double *>memory_of(steps), <double *>memory_of(differences),
                                 <double *>memory_of(curvatures))
            return self.get().begun(), steps, differences, curvatures

    def set_state(self, cbool begun, steps not None, differences not None, curvatures not None):
        """Go on from the state of another one.

        `begun` tells whether the other had begun. `steps` are its last steps and `differences` those of the
        gradient along them, (pairs, n_parameters). `curvatures` are the products of the two, (pairs,).
        """
        cdef int64_t n = self.network.n_parameters
        cdef cpp.CppLbfgs *core = self.get()
        cdef Py_ssize_t pairs = numbers_of(curvatures, "curvatures", _float64, 1).buffer.shape[0]
        copies = [_empty((pairs, n), _float64), _empty((pairs, n), _float64), _empty(pairs, _float64)]
        for copy, array, name in zip(copies, (steps, differences, curvatures), ("steps", "differences", "curvatures")):
            copy_numbers(memory_of(copy), array, name, _float64, copy.size)
        cdef double *s = <double *>memory_of(copies[0])
        cdef double *y = <double *>memory_of(copies[1])
        cdef double *c = <double *>memory_of(copies[2])
        with nogil:
            core.set_state(begun, <int>pairs, s, y, c)


# Random numbers and powers.

def shuffle(order not None, random not None):
    """Shuffle row numbers, int64 in C order, in place as `random.shuffle` does, draw for draw."""
    if type(random) is not np.random.RandomState:  # a Generator, or somebody's own shuffle
        random.shuffle(order)
        return
    cdef Numbers numbers = numbers_of(order, "order", _int64, 1, PyBUF_WRITABLE)
    generator = random._bit_generator
    bits = <cpp.BitGenerator *>PyCapsule_GetPointer(generator.capsule, "BitGenerator")
    with generator.lock:
        cpp.shuffle(<int64_t *>numbers.buffer.buf, numbers.buffer.shape[0], bits[0])


def draw_uniform(key not None, int64_t position, double bound, out not None):
    """Draw from ± bound into `out`, float64 in C order, as `random(out.shape) * (2 * bound) - bound` does.

    `key` and `position` are those of the state of a numpy.random.MT19937. The key is written to, and the position
    after the draws is returned.
    """
    cdef Numbers words = numbers_of(key, "key", _uint32, 1, PyBUF_WRITABLE)
    cdef Numbers numbers = numbers_of(out, "out", _float64, -1, PyBUF_WRITABLE)
    if words.buffer.shape[0] != cpp.kMersenneTwisterWords or not 0 <= position <= cpp.kMersenneTwisterWords:
        raise ValueError(f"key must have {cpp.kMersenneTwisterWords} words, of which position have been used; got"
                         f" {words.buffer.shape[0]} and {position}")
    return cpp.draw_uniform(<uint32_t *>words.buffer.buf, position, bound, <double *>numbers.buffer.buf,
                            numbers.buffer.len // numbers.buffer.itemsize)


def powers(bases not None, double exponent):
    """Return each base, at least 1, to the power of `exponent`, at least 0: the same bits on every CPU."""
    cdef Py_ssize_t i, count
    result = np.array(bases, np.float64, order="C", ndmin=1)
    count = result.size
    cdef double *numbers = <double *>memory_of(result)
    for i in range(count):
        numbers[i] = cpp.power(numbers[i], exponent)
    return result


# The build, and the threads of this process.

def built_instruction_sets():
    """Return the names of those that this build has, in order of preference."""
    return [name.decode() for name in cpp.built_instruction_sets()]


def supported_instruction_sets():
    """Return the names of those that this machine can run as well."""
    return [name.decode() for name in cpp.supported_instruction_sets()]


def instruction_set():
    """Return the name of the one in use for networks made from now on."""
    return cpp.instruction_set().decode()


def set_instruction_set(str name not None):
    """Choose the kernels of the networks made from now on; "" stands for the best ones this machine can run."""
    cpp.set_instruction_set(name.encode())


def compiler():
    """Return the name and version of the compiler."""
    return cpp.compiler().decode()


def has_openmp():
    """Return whether this build can train on several threads."""
    return cpp.has_openmp()


def available_threads():
    """Return the number of threads that this process may use."""
    return cpp.available_threads()


def set_exact_threads(bint exact):
    """For tests: use as many threads as are asked for, however small the work."""
    cpp.set_exact_threads(exact)


def after_fork_in_child():
    """Train on one thread from now on: the team does not survive a fork."""
    global main_thread_number
    main_thread_number = get_ident()
    cpp.after_fork_in_child()
