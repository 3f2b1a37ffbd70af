// A dense network: layers l = 1 ... L, then a loss layer. y_(0) = x, y_(l) = a_(l)([y_(l-1), 1] W_(l)).
//
// Arrays that go in are views of any strides and either precision; arrays that come out are written in C
// order in the network's own precision. Bad arguments throw std::invalid_argument, calls out of order
// std::logic_error, and leave the network as it was.
#pragma once

#include "densegrad/activations.hpp"
#include "densegrad/data.hpp"
#include "densegrad/losses.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace densegrad {

struct LayerSpec {
    std::int64_t n_units;
    Activation activation;
    double dropout = 0.0; // rate in [0, 1), hidden layers only, in training only
};

struct LossSpec {
    Loss loss;
    double parameter = 0.0;
    std::vector<double> levels; // quantile only: several levels a target, each with an output of its own
    double label_smoothing = 0.0;
};

struct NetworkSpec {
    std::int64_t n_inputs;
    std::vector<LayerSpec> layers;
    LossSpec loss;
    Scalar scalar = Scalar::float32;
};

// class numbers, values or weights of a batch, type-erased: `values` has the network's precision.
struct Targets {
    const std::int64_t *classes = nullptr;
    const void *values = nullptr; // (n_rows, n_targets), C order
    std::int64_t n_targets = 0;
    const double *sample_weight = nullptr; // (n_rows,) or null
};

class Network {
  public:
    virtual ~Network() = default;

    virtual const NetworkSpec &spec() const = 0;
    int depth() const { return static_cast<int>(spec().layers.size()); } // L
    std::int64_t width(int l) const {                                    // n_(l), l = 0 ... L
        return l == 0 ? spec().n_inputs : spec().layers[static_cast<std::size_t>(l - 1)].n_units;
    }
    std::int64_t n_targets() const { return n_targets_; } // values a row of the target has

    // W_(l), (n_(l-1) + 1, n_(l)), l = 1 ... L.
    virtual void get_weights(int l, void *out) const = 0;
    virtual void set_weights(int l, const RowsView &weights) = 0;
    // dLoss/dW_(l) of the last backward pass.
    virtual void get_weight_gradient(int l, void *out) const = 0;

    // Forward pass that keeps nothing: may run in several threads at once. out: (n_rows, n_L).
    virtual void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop = {}) const = 0;
    // Weighted mean loss of predict(rows).
    virtual double evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                            StopRequest stop = {}) const = 0;

    // Forward pass that caches outputs and local gradients. out: (n_rows, n_L).
    virtual void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop = {}) = 0;
    // Backward pass from L'_(L), (n_rows, n_L), with the weights of the forward pass. input_gradient:
    // (n_rows, n_0), or null.
    virtual void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                          StopRequest stop = {}) = 0;
    // Both passes with the loss layer, everything kept; returns the loss.
    virtual double backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                                 StopRequest stop = {}) = 0;
    // Both passes, piece by piece in bounded memory: leaves the weight gradients, returns the loss.
    virtual double loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                                     StopRequest stop = {}) = 0;

    // What the last forward or backpropagate left; rows of its batch, (n_rows, n_l).
    virtual std::int64_t cached_rows() const = 0;
    virtual void get_output(int l, void *out) const = 0; // y_(l), l = 0 ... L
    virtual void get_local_gradient(int l,
                                    void *out) const = 0; // dy_(l)/dz_(l), l = 1 ... L, elementwise only
    // L'_(l), l = 0 ... L, and dLoss/dz_(l), l = 1 ... L; after backpropagate, for a custom loss after
    // backward.
    virtual void get_loss_gradient(int l, void *out) const = 0;
    virtual void get_delta(int l, void *out) const = 0;

    // For tests: fills every padding lane that the network owns with NaN. No result may change.
    virtual void poison_padding() = 0;

  protected:
    std::int64_t n_targets_ = 0;
};

std::unique_ptr<Network> make_network(const NetworkSpec &spec);

} // namespace densegrad
