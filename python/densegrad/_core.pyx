# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
# distutils: language=c++
"""Binding of the C++ core: declares it, checks shapes, releases the GIL, calls. Nothing is computed here."""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.atomic cimport atomic
from libcpp.memory cimport unique_ptr

from densegrad cimport _engine as cpp

from time import monotonic

import numpy as np

from densegrad import _validation


cdef object _empty = np.empty
cdef object _ndarray = np.ndarray
cdef object _RandomState = np.random.RandomState
cdef object _float32 = np.dtype(np.float32)
cdef object _float64 = np.dtype(np.float64)


# --- the order of an epoch ------------------------------------------------------------------------------------

def shuffle(order, random):
    """Shuffle row numbers, int64 in C order, in place as `random.shuffle` does, draw for draw."""
    if type(random) is not _RandomState:  # a Generator, or somebody's own shuffle
        random.shuffle(order)
        return
    cdef Py_buffer numbers
    generator = random._bit_generator
    bits = <cpp.BitGenerator *>PyCapsule_GetPointer(generator.capsule, "BitGenerator")
    PyObject_GetBuffer(order, &numbers, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    try:
        with generator.lock:
            cpp.shuffle(<int64_t *>numbers.buf, numbers.shape[0], bits[0])
    finally:
        PyBuffer_Release(&numbers)


# --- the tables and the build ---------------------------------------------------------------------------------

def tables():
    """Return the rows of the tables of activations, losses and optimizers, by their names."""
    cdef int i
    initializers = {<int>cpp.Initializer.glorot: "glorot", <int>cpp.Initializer.glorot_logistic: "glorot_logistic",
                    <int>cpp.Initializer.he: "he"}
    targets = {<int>cpp.TargetKind.values: "values", <int>cpp.TargetKind.probabilities: "probabilities",
               <int>cpp.TargetKind.classes: "classes"}
    activations, losses, optimizers = {}, {}, {}
    for i in range(cpp.kActivationCount):
        activations[cpp.kActivations[i].name.decode()] = {
            "initializer": initializers[<int>cpp.kActivations[i].initializer],
            "head_only": cpp.kActivations[i].head_only,
        }
    for i in range(cpp.kLossCount):
        losses[cpp.kLosses[i].name.decode()] = {
            "target": targets[<int>cpp.kLosses[i].target],
            "heads": tuple([name for j, name in enumerate(activations)
                            if cpp.head_fits(cpp.kLosses[i].heads, <cpp.Activation><int>j)]),
            "parameter": None if cpp.kLosses[i].parameter == NULL else cpp.kLosses[i].parameter.decode(),
            "default": cpp.kLosses[i].parameter_default,
            "low": cpp.kLosses[i].parameter_low,
            "high": cpp.kLosses[i].parameter_high,
        }
    for i in range(cpp.kOptimizerCount):
        optimizers[cpp.kOptimizers[i].name.decode()] = {"state_count": cpp.kOptimizers[i].state_count}
    return {"activations": activations, "losses": losses, "optimizers": optimizers}


def built_instruction_sets():
    """Return the names of those that this build has, in order of preference."""
    return [name.decode() for name in cpp.built_instruction_sets()]


def supported_instruction_sets():
    """Return the names of those that this machine can run as well."""
    return [name.decode() for name in cpp.supported_instruction_sets()]


def instruction_set():
    """Return the name of the one in use for networks made from now on."""
    return cpp.instruction_set().decode()


def set_instruction_set(str name):
    """Choose the kernels of the networks made from now on; "" stands for the best ones this machine can run."""
    cpp.set_instruction_set(name.encode())


def compiler():
    """Return the name and version of the compiler."""
    return cpp.compiler().decode()


def has_openmp():
    """Return whether this build asks OpenMP how many threads it allows."""
    return cpp.has_openmp()


def available_threads():
    """Return the number of threads that this process may use."""
    return cpp.available_threads()


def set_exact_threads(bint exact):
    """For tests: use as many threads as are asked for, however small the work."""
    cpp.set_exact_threads(exact)


# Of this process: a fork begins the next one, in which no thread is left of a call that was under way.
cdef int64_t generation = 1


def after_fork_in_child():
    """Train on one thread from now on."""
    global generation
    generation += 1
    cpp.after_fork_in_child()


# --- views of the caller's arrays -----------------------------------------------------------------------------

@cython.final
@cython.freelist(8)
cdef class Rows:
    """A matrix to be read in place: float32 or float64 with any strides, or CSR. Keeps the arrays alive.

    Raises ValueError where `X` does not have `n_columns` columns (-1: any number), TypeError where it does not
    hold real numbers.
    """
    cdef cpp.RowsView view
    cdef Py_buffer data
    cdef Py_buffer indptr
    cdef Py_buffer indices

    def __init__(self, X, int64_t n_columns=-1, str name="X"):
        self.read(X, n_columns, name)

    def __dealloc__(self):
        PyBuffer_Release(&self.data)
        PyBuffer_Release(&self.indptr)
        PyBuffer_Release(&self.indices)

    @property
    def n_rows(self):
        return self.view.n_rows

    cdef int read(self, object X, int64_t n_columns, str name) except -1:
        if type(X) is not _ndarray:
            _validation.unmasked(name, X)
        if not self.read_dense(X):
            X = _validation.readable_rows(X, name)
            if hasattr(X, "indptr"):
                self.read_csr(X)
            elif not self.read_dense(X):
                raise TypeError(f"{name} must be an array of real numbers in two dimensions; got {type(X)}")
        if n_columns >= 0 and self.view.n_columns != n_columns:
            raise ValueError(f"{name} must have {n_columns} columns; got shape "
                             f"({self.view.n_rows}, {self.view.n_columns})")
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
        self.view.scalar = cpp.Scalar.float32 if size == 4 else cpp.Scalar.float64
        self.view.n_rows = self.data.shape[0]
        self.view.n_columns = self.data.shape[1]
        self.view.row_stride = self.data.strides[0] // size
        self.view.column_stride = self.data.strides[1] // size
        return True

    cdef int read_csr(self, object X) except -1:
        PyObject_GetBuffer(X.data, &self.data, PyBUF_C_CONTIGUOUS)
        PyObject_GetBuffer(X.indptr, &self.indptr, PyBUF_C_CONTIGUOUS)
        PyObject_GetBuffer(X.indices, &self.indices, PyBUF_C_CONTIGUOUS)
        self.view.data = self.data.buf
        self.view.scalar = cpp.Scalar.float32 if self.data.itemsize == 4 else cpp.Scalar.float64
        self.view.n_rows, self.view.n_columns = X.shape
        self.view.indptr = self.indptr.buf
        self.view.indices = self.indices.buf
        self.view.wide_indices = self.indices.itemsize == 8
        return 0


cdef inline Rows rows_of(object X, int64_t n_columns, str name):
    if type(X) is Rows:
        return <Rows>X
    cdef Rows rows = Rows.__new__(Rows)
    rows.read(X, n_columns, name)
    return rows


cdef inline Rows dense_rows_of(object X, int64_t n_columns, str name):
    cdef Rows rows = rows_of(X, n_columns, name)
    if rows.view.indptr != NULL:
        raise TypeError(f"{name} must not be sparse; give an array, which its `toarray` returns")
    return rows


@cython.final
cdef class Targets:
    """What the loss compares y_(L) with. The arrays have been checked: C order, int64, network's type, float64."""
    cdef cpp.TargetsData view
    cdef Py_buffer classes
    cdef Py_buffer values
    cdef Py_buffer weights
    cdef readonly Py_ssize_t n_rows

    def __init__(self, classes, values, sample_weight):
        if classes is not None:
            PyObject_GetBuffer(classes, &self.classes, PyBUF_C_CONTIGUOUS)
            self.view.classes = <const int64_t *>self.classes.buf
            self.n_rows = len(classes)
        if values is not None:
            PyObject_GetBuffer(values, &self.values, PyBUF_C_CONTIGUOUS)
            self.view.values = self.values.buf
            self.n_rows, self.view.n_targets = values.shape
        if sample_weight is not None:
            PyObject_GetBuffer(sample_weight, &self.weights, PyBUF_C_CONTIGUOUS)
            self.view.sample_weight = <const double *>self.weights.buf
            self.n_rows = len(sample_weight)

    def __dealloc__(self):
        PyBuffer_Release(&self.classes)
        PyBuffer_Release(&self.values)
        PyBuffer_Release(&self.weights)


cdef int threads_of(object n_threads) except -1:
    if n_threads is None:
        return 0
    return _validation.integer("n_threads", n_threads, 1, 1 << 20)


cdef void *memory_of(object array) except NULL:
    """The memory of an array of our own making, which outlives the use of it."""
    cdef Py_buffer buffer
    cdef void *memory
    PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS)
    memory = buffer.buf
    PyBuffer_Release(&buffer)
    return memory


# --- calls that take long ---------------------------------------------------------------------------------------

cdef extern from *:
    """
    #include <chrono>
    #include <thread>

    // Up to Python 3.13, a daemon thread that asks for the GIL while the interpreter ends is unwound. Frames of
    // the core must not be: they catch exceptions, and helpers still use what is on the caller's stack. So the
    // thread sleeps until the process is gone, as threads of later versions do by themselves.
    struct CallOfPython {
        bool returned = false;
        CallOfPython() {
            if (PyGILState_GetThisThreadState() == nullptr) // the interpreter has ended
                sleep();
        }
        ~CallOfPython() {
            if (!returned)
                sleep();
        }
        [[noreturn]] static void sleep() {
            while (true)
                std::this_thread::sleep_for(std::chrono::hours(1));
        }
    };
    """
    cdef cppclass CallOfPython nogil:
        cbool returned

@cython.final
@cython.freelist(8)
cdef class Call:
    """A call of the core under way: the arrays it reads, what its callbacks need, and what they raised."""
    cdef Py_buffer order
    cdef Py_buffer learning_rates
    cdef double deadline
    cdef object custom_loss
    cdef object dtype
    cdef int64_t n_outputs
    cdef object error

    cdef cpp.StopRequest stop_request(self):
        cdef cpp.StopRequest request
        request.asked = should_stop
        request.context = <void *>self
        return request

    cdef int finish(self) except -1:
        if self.error is not None:
            raise self.error
        return 0

    def __dealloc__(self):
        PyBuffer_Release(&self.order)
        PyBuffer_Release(&self.learning_rates)


cdef cbool should_stop(void *context) noexcept nogil:
    cdef CallOfPython call
    cdef cbool answer = stop_by_python(context)
    call.returned = True
    return answer


cdef cbool stop_by_python(void *context) noexcept with gil:
    cdef Call call = <Call>context
    try:
        PyErr_CheckSignals()
        return call.deadline > 0 and monotonic() >= call.deadline
    except BaseException as error:
        call.error = error
        return True


# --- the network ----------------------------------------------------------------------------------------------

cdef class Network:
    """A network of the core; `densegrad.Network` is made of it."""
    cdef unique_ptr[cpp.Engine] engine
    cdef atomic[int64_t] busy  # the generation of the one caller that may change the network or its cache
    cdef readonly object dtype
    cdef readonly int depth

    def __init__(self, n_inputs, layers, loss, parameter, levels, label_smoothing, dtype):
        cdef cpp.NetworkSpec spec
        cdef cpp.LayerSpec layer
        if self.engine.get() != NULL:
            raise RuntimeError("this network has been initialised already")
        spec.n_inputs = n_inputs
        for units, activation, dropout in layers:
            layer.n_units = units
            layer.activation = <cpp.Activation><int>activation
            layer.dropout = dropout
            spec.layers.push_back(layer)
        spec.loss.loss = <cpp.Loss><int>loss
        spec.loss.parameter = parameter
        for level in levels:
            spec.loss.levels.push_back(level)
        spec.loss.label_smoothing = label_smoothing
        spec.scalar = cpp.Scalar.float32 if dtype == _float32 else cpp.Scalar.float64
        self.engine = cpp.make_network(spec)
        self.dtype = _float32 if dtype == _float32 else _float64
        self.depth = self.engine.get().depth()

    cdef cpp.Engine *get(self) except NULL:
        if self.engine.get() == NULL:
            raise RuntimeError("this network was never initialised")
        return self.engine.get()

    cdef int enter(self) except -1:
        if self.busy.exchange(generation) == generation:
            raise RuntimeError("this network is in use by another call; only predict may run at the same time")
        return 0

    cdef void leave(self) noexcept:
        self.busy.store(0)

    cdef int check_layer(self, int l, int first) except -1:
        if self.get() != NULL and not first <= l <= self.depth:
            raise IndexError(f"layers are numbered {first} ... {self.depth}; got {l}")
        return 0

    def width(self, int l):
        """Return n_(l), the number of units of layer l = 0 ... L."""
        self.check_layer(l, 0)
        return self.engine.get().width(l)

    @property
    def n_targets(self):
        """The number of values a row of the target has."""
        return self.get().n_targets()

    def predict(self, X, n_threads=None):
        """Forward pass that keeps nothing.

        Safe to call from several threads at once, also while none of them trains the network. What a row gives
        does not depend, not even in the last bit, on the other rows of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
            float32 and float64 arrays of any order and CSR matrices are read in place.
        n_threads : int or None
            At most so many; small work uses fewer. None: as many as the process may use. Results are the same
            bits for any number.

        Returns
        -------
        ndarray of shape (n_rows, n_L), of the network's dtype
        """
        cdef cpp.Engine *engine = self.get()
        cdef Rows rows = rows_of(X, engine.width(0), "X")
        cdef int threads = 0 if n_threads is None else threads_of(n_threads)
        outputs = _empty((rows.view.n_rows, engine.width(self.depth)), self.dtype)
        cdef void *out = memory_of(outputs)
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        with nogil:
            engine.predict(rows.view, out, threads, stop)
        call.finish()
        return outputs

    def _evaluate(self, Rows rows, Targets targets, n_threads):
        cdef cpp.Engine *engine = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        with nogil:
            loss = engine.evaluate(rows.view, targets.view, threads, stop)
        call.finish()
        return loss

    def forward(self, X, n_threads=None):
        """Forward pass that caches outputs and local gradients for `backward`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
        n_threads : int or None
            At most so many; small work uses fewer. None: as many as the process may use. Results are the same
            bits for any number.

        Returns
        -------
        ndarray of shape (n_rows, n_L)
            y_(L), of the network's dtype.
        """
        cdef cpp.Engine *engine = self.get()
        cdef Rows rows = rows_of(X, engine.width(0), "X")
        cdef int threads = threads_of(n_threads)
        if rows.view.n_rows == 0:
            raise ValueError("X must have at least one row; got 0")
        outputs = _empty((rows.view.n_rows, engine.width(self.depth)), self.dtype)
        cdef void *out = memory_of(outputs)
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        self.enter()
        try:
            with nogil:
                engine.forward(rows.view, out, threads, stop)
        finally:
            self.leave()
        call.finish()
        return outputs

    def backward(self, loss_gradient, n_threads=None):
        """Backward pass from the loss gradient at the head, after `forward`; leaves `weight_gradients`.

        Parameters
        ----------
        loss_gradient : array-like of shape (n_rows, n_L)
            L'_(L) = dLoss/dy_(L), one row for each row given to `forward`.
        n_threads : int or None
            At most so many; small work uses fewer. None: as many as the process may use. Results are the same
            bits for any number.

        Returns
        -------
        ndarray of shape (n_rows, n_0)
            L'_(0) = dLoss/dx.

        Raises
        ------
        RuntimeError
            Without a forward pass before it.
        """
        cdef cpp.Engine *engine = self.get()
        cdef Rows rows = dense_rows_of(loss_gradient, engine.width(self.depth), "loss_gradient")
        cdef int threads = threads_of(n_threads)
        cdef void *out
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        self.enter()
        try:
            if engine.cached_rows() > 0 and engine.cached_rows() != rows.view.n_rows:
                raise ValueError(f"loss_gradient must have {engine.cached_rows()} rows, as X of the forward pass "
                                 f"had; got {rows.view.n_rows}")
            input_gradient = _empty((rows.view.n_rows, engine.width(0)), self.dtype)
            out = memory_of(input_gradient)
            with nogil:
                engine.backward(rows.view, out, threads, stop)
        finally:
            self.leave()
        call.finish()
        return input_gradient

    def _backpropagate(self, Rows rows, Targets targets, n_threads):
        cdef cpp.Engine *engine = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        self.enter()
        try:
            with nogil:
                loss = engine.backpropagate(rows.view, targets.view, threads, stop)
        finally:
            self.leave()
        call.finish()
        return loss

    def _loss_and_gradient(self, Rows rows, Targets targets, n_threads):
        cdef cpp.Engine *engine = self.get()
        cdef int threads = threads_of(n_threads)
        cdef double loss
        cdef Call call = Call()
        cdef cpp.StopRequest stop = call.stop_request()
        self.enter()
        try:
            with nogil:
                loss = engine.loss_and_gradient(rows.view, targets.view, threads, stop)
        finally:
            self.leave()
        call.finish()
        return loss

    # Layer by layer: copies, in C order and the network's dtype.

    def _weights(self, int l):
        self.check_layer(l, 1)
        weights = _empty((self.engine.get().width(l - 1) + 1, self.engine.get().width(l)), self.dtype)
        self.engine.get().get_weights(l, memory_of(weights))
        return weights

    def _set_weights(self, int l, W):
        self.check_layer(l, 1)
        cdef Rows rows = dense_rows_of(W, self.engine.get().width(l), "W")
        if rows.view.n_rows != self.engine.get().width(l - 1) + 1:
            raise ValueError(f"W must have shape {self.engine.get().width(l - 1) + 1, self.engine.get().width(l)}; "
                             f"got {rows.view.n_rows, rows.view.n_columns}")
        self.enter()
        try:
            self.engine.get().set_weights(l, rows.view)
        finally:
            self.leave()

    def _weight_gradient(self, int l):
        self.check_layer(l, 1)
        gradient = _empty((self.engine.get().width(l - 1) + 1, self.engine.get().width(l)), self.dtype)
        self.enter()
        try:
            self.engine.get().get_weight_gradient(l, memory_of(gradient))
        finally:
            self.leave()
        return gradient

    def _output(self, int l):
        self.check_layer(l, 0)
        self.enter()
        try:
            output = _empty((self.engine.get().cached_rows(), self.engine.get().width(l)), self.dtype)
            self.engine.get().get_output(l, memory_of(output))
        finally:
            self.leave()
        return output

    def _local_gradient(self, int l):
        self.check_layer(l, 1)
        self.enter()
        try:
            local = _empty((self.engine.get().cached_rows(), self.engine.get().width(l)), self.dtype)
            self.engine.get().get_local_gradient(l, memory_of(local))
        finally:
            self.leave()
        return local

    def _loss_gradient(self, int l):
        self.check_layer(l, 0)
        self.enter()
        try:
            gradient = _empty((self.engine.get().cached_rows(), self.engine.get().width(l)), self.dtype)
            self.engine.get().get_loss_gradient(l, memory_of(gradient))
        finally:
            self.leave()
        return gradient

    def _delta(self, int l):
        self.check_layer(l, 1)
        self.enter()
        try:
            delta = _empty((self.engine.get().cached_rows(), self.engine.get().width(l)), self.dtype)
            self.engine.get().get_delta(l, memory_of(delta))
        finally:
            self.leave()
        return delta

    # All layers in one vector: W_(1), ..., W_(L), each in C order.

    @property
    def n_parameters(self):
        """The number of weights, biases included."""
        cdef int l
        cdef cpp.Engine *engine = self.get()
        return sum([(engine.width(l - 1) + 1) * engine.width(l) for l in range(1, self.depth + 1)])

    def _parameters(self):
        cdef int l
        parameters = _empty(self.n_parameters, self.dtype)
        cdef char *out = <char *>memory_of(parameters)
        cdef int64_t size = self.dtype.itemsize
        for l in range(1, self.depth + 1):
            self.engine.get().get_weights(l, out)
            out += size * (self.engine.get().width(l - 1) + 1) * self.engine.get().width(l)
        return parameters

    def _set_parameters(self, parameters):
        """`parameters` has been checked: one dimension, C order, float32 or float64, the right length."""
        cdef int l
        cdef cpp.RowsView view
        cdef Py_buffer buffer
        cdef cpp.Engine *engine = self.get()
        PyObject_GetBuffer(parameters, &buffer, PyBUF_C_CONTIGUOUS)
        try:
            self.enter()
            try:
                view.scalar = cpp.Scalar.float32 if buffer.itemsize == 4 else cpp.Scalar.float64
                view.data = buffer.buf
                view.indptr = view.indices = NULL
                view.column_stride = 1
                for l in range(1, self.depth + 1):
                    view.n_rows = engine.width(l - 1) + 1
                    view.n_columns = view.row_stride = engine.width(l)
                    engine.set_weights(l, view)
                    view.data = <const char *>view.data + buffer.itemsize * view.n_rows * view.n_columns
            finally:
                self.leave()
        finally:
            PyBuffer_Release(&buffer)

    def _poison_padding(self):
        """Fill the lanes beyond the matrices' edges with NaN: no result may change. For tests."""
        self.get().poison_padding()

    def _gradient(self):
        cdef int l
        gradient = _empty(self.n_parameters, self.dtype)
        cdef char *out = <char *>memory_of(gradient)
        cdef int64_t size = self.dtype.itemsize
        self.enter()
        try:
            for l in range(1, self.depth + 1):
                self.engine.get().get_weight_gradient(l, out)
                out += size * (self.engine.get().width(l - 1) + 1) * self.engine.get().width(l)
        finally:
            self.leave()
        return gradient


# --- the trainer ----------------------------------------------------------------------------------------------

cdef cbool custom_loss(void *context, const void *output, const int64_t *row_numbers, int64_t n_rows,
                       void *loss_gradient, double *row_loss) noexcept nogil:
    cdef CallOfPython call
    cdef cbool answer = loss_by_python(context, output, row_numbers, n_rows, loss_gradient, row_loss)
    call.returned = True
    return answer


cdef cbool loss_by_python(void *context, const void *output, const int64_t *row_numbers, int64_t n_rows,
                          void *loss_gradient, double *row_loss) noexcept with gil:
    cdef Call call = <Call>context
    cdef Py_ssize_t size = n_rows * call.n_outputs * <Py_ssize_t>call.dtype.itemsize
    try:
        outputs = _empty((n_rows, call.n_outputs), call.dtype)
        rows = _empty(n_rows, np.int64)
        memcpy(memory_of(outputs), output, size)
        memcpy(memory_of(rows), row_numbers, n_rows * sizeof(int64_t))
        # Checked by the caller: float64 (n_rows,), and the network's dtype (n_rows, n_L).
        losses, gradient = call.custom_loss(rows, outputs)
        memcpy(row_loss, memory_of(losses), n_rows * sizeof(double))
        memcpy(loss_gradient, memory_of(gradient), size)
        return True
    except BaseException as error:
        call.error = error
        return False


cdef cpp.OptimizerSpec optimizer_spec(int optimizer, dict numbers):
    cdef cpp.OptimizerSpec spec
    spec.optimizer = <cpp.Optimizer>optimizer
    spec.momentum = numbers["momentum"]
    spec.nesterov = numbers["nesterov"]
    spec.beta_1 = numbers["beta_1"]
    spec.beta_2 = numbers["beta_2"]
    spec.epsilon = numbers["epsilon"]
    spec.l2 = numbers["l2"]
    spec.l1 = numbers["l1"]
    spec.weight_decay = numbers["weight_decay"]
    spec.max_norm = numbers["max_norm"]
    spec.clip_norm = numbers["clip_norm"]
    return spec


@cython.final
cdef class Trainer:
    """A trainer of the core; `densegrad.Trainer` is made of it.

    `optimizer` is the number of the optimizer's row, `numbers` holds every field of the core's cpp.OptimizerSpec.
    """
    cdef unique_ptr[cpp.EngineTrainer] engine
    cdef readonly Network network
    cdef readonly int optimizer

    def __init__(self, Network network, int optimizer, dict numbers, uint64_t seed):
        self.engine = cpp.make_trainer(network.get()[0], optimizer_spec(optimizer, numbers), seed)
        self.network = network
        self.optimizer = optimizer

    def __dealloc__(self):
        # Before the network, to which it keeps a reference.
        self.engine.reset()

    cdef cpp.EngineTrainer *get(self) except NULL:
        if self.engine.get() == NULL:
            raise RuntimeError("this trainer was never initialised")
        return self.engine.get()

    def set_numbers(self, dict numbers):
        """Change the optimizer's numbers; its state is kept."""
        cdef cpp.EngineTrainer *engine = self.get()
        cdef cpp.OptimizerSpec spec = optimizer_spec(self.optimizer, numbers)
        self.network.enter()
        try:
            engine.set_optimizer(spec)
        finally:
            self.network.leave()

    @property
    def steps(self):
        """The number of updates made so far."""
        return self.get().steps()

    @steps.setter
    def steps(self, int64_t steps):
        cdef cpp.EngineTrainer *engine = self.get()
        self.network.enter()
        try:
            engine.set_steps(steps)
        finally:
            self.network.leave()

    def state(self, int l, int s):
        """Return a copy of the optimizer's numbers s for W_(l)."""
        cdef cpp.EngineTrainer *engine = self.get()
        self.network.check_layer(l, 1)
        state = _empty((self.network.width(l - 1) + 1, self.network.width(l)), self.network.dtype)
        self.network.enter()
        try:
            engine.get_state(l, s, memory_of(state))
        finally:
            self.network.leave()
        return state

    def set_state(self, int l, int s, state):
        """Replace the optimizer's numbers s for W_(l)."""
        cdef cpp.EngineTrainer *engine = self.get()
        self.network.check_layer(l, 1)
        cdef Rows rows = dense_rows_of(state, self.network.width(l), "state")
        if rows.view.n_rows != self.network.width(l - 1) + 1:
            raise ValueError(f"state must have {self.network.width(l - 1) + 1} rows; got {rows.view.n_rows}")
        self.network.enter()
        try:
            engine.set_state(l, s, rows.view)
        finally:
            self.network.leave()

    def epoch(self, Rows rows, Targets targets, order, learning_rates, int64_t batch_size, int n_threads,
              double deadline, custom):
        """Run one epoch and return its loss, the number of its steps, and whether it was stopped before its end.

        `order` (int64, or None) and `learning_rates` (float64, one a step) have been checked. `deadline` is a
        reading of time.monotonic, 0 for none; `custom` maps row numbers and outputs to the losses of the rows
        and their derivatives by the outputs.
        """
        cdef cpp.EpochSpec spec
        cdef cpp.EpochResult result
        cdef cpp.EngineTrainer *engine = self.get()
        cdef Call call = Call()
        call.deadline = deadline
        call.custom_loss = custom
        call.dtype = self.network.dtype
        call.n_outputs = self.network.width(self.network.depth)
        spec.rows = rows.view
        spec.targets = targets.view
        spec.order = NULL
        spec.n_order = rows.view.n_rows
        if order is not None:
            PyObject_GetBuffer(order, &call.order, PyBUF_C_CONTIGUOUS)
            spec.order = <const int64_t *>call.order.buf
            spec.n_order = len(order)
        PyObject_GetBuffer(learning_rates, &call.learning_rates, PyBUF_C_CONTIGUOUS)
        spec.learning_rates = <const double *>call.learning_rates.buf
        spec.batch_size = batch_size
        spec.n_threads = n_threads
        spec.stop = call.stop_request()
        spec.custom_loss = NULL
        if custom is not None:
            spec.custom_loss = custom_loss
        spec.context = <void *>call
        self.network.enter()
        try:
            with nogil:
                result = engine.epoch(spec)
        finally:
            self.network.leave()
        call.finish()
        return result.loss, result.n_steps, result.stopped
