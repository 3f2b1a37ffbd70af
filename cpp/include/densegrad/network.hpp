// A network has layers l = 1 ... L, then a loss layer. y_(0) = x. Of a dense layer, as the head always is,
// y_(l) = a_(l)([y_(l-1), 1] W_(l)). layers.hpp has the other kinds.
//
// Arrays that go in are views of any strides and either precision. Arrays that come out are written in C
// order in the network's own precision. Bad arguments throw std::invalid_argument, and calls out of order
// throw std::logic_error. Both leave the network as it was.
#pragma once

#include "densegrad/activations.hpp"
#include "densegrad/caller_lock.hpp"
#include "densegrad/data.hpp"
#include "densegrad/layers.hpp"
#include "densegrad/losses.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace densegrad {

// Gives y = a(z) and dy/dz of a batch, for Activation::custom. z, y, local: (n_rows, n_units) in C order and
// the network's precision; local may be null: not wanted. The thread that called the network calls it.
// Returns false to stop; what the call was to give is then of no use.
struct CustomActivation {
    bool (*function)(void *context, const void *z, std::int64_t n_rows, void *y, void *local) = nullptr;
    void *context = nullptr; // must outlive the network
};

// Factors of a trainer's numbers for one layer. Ones change nothing.
struct LayerRates {
    double weights = 1.0; // of the learning rate
    double bias = 1.0;    // of the learning rate of the bias row
    double decay = 1.0;   // of the weight decay, which the learning rate multiplies as well
    double epsilon = 1.0; // of the optimizer's epsilon, bias row left out
};

struct LayerSpec {
    std::int64_t n_units;
    Activation activation;
    double dropout = 0.0;  // rate in [0, 1), hidden layers only, in training only
    bool trainable = true; // whether trainers update the weights
    LayerRates rates = {};
    CustomActivation custom{};
    LayerKind kind = LayerKind::dense;
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

// These can be read out, layer by layer, in C order and the network's precision.
enum class Quantity : int {
    weights,         // W_(l), (weight_rows(l), n_(l)), l = 1 ... L
    weight_gradient, // dLoss/dW_(l) of the last backward pass, like the weights
    // What the last forward or backpropagate left, (cached_rows(), n_(l)):
    output,         // y_(l), l = 0 ... L
    local_gradient, // dy_(l)/dz_(l), l = 1 ... L, if the Jacobian is diagonal
    // after backpropagate, for a custom loss also after backward:
    loss_gradient, // L'_(l), l = 0 ... L
    delta,         // dLoss/dz_(l), l = 1 ... L
};

struct ReadOut {
    Quantity quantity;
    int l;
    void *out;
};

// Gives the loss of a whole batch and L'_(L), for Loss::custom. output: y_(L), (n_rows, n_L); loss_gradient:
// out, like output, dLoss/dy; loss: out. Returns false to stop.
struct BatchLoss {
    bool (*function)(void *context, const void *output, std::int64_t n_rows, void *loss_gradient,
                     double *loss) = nullptr;
    void *context = nullptr;
};

class Lbfgs;
class Trainer;
struct OptimizerSpec;
struct Regularisation;

// Calls that change the network or its cache take one caller at a time, and read-outs wait for it
// (CallerLock). predict and evaluate run beside everything.
class Network {
  public:
    virtual ~Network() = default;

    virtual const NetworkSpec &spec() const = 0;
    int depth() const { return static_cast<int>(spec().layers.size()); } // L
    // n_(l), l = 0 ... L.
    std::int64_t width(int l) const {
        return l == 0 ? spec().n_inputs : spec().layers[static_cast<std::size_t>(l - 1)].n_units;
    }
    // Rows of W_(l): n_(l-1) + 1, the bias the last one, or 1 of an elementwise layer.
    std::int64_t weight_rows(int l) const {
        return is_elementwise(spec().layers[static_cast<std::size_t>(l - 1)].kind) ? 1 : width(l - 1) + 1;
    }
    std::int64_t n_targets() const { return n_targets_; } // values a row of the target has
    Jacobian jacobian(int l) const;                       // of layer l = 1 ... L
    std::int64_t n_parameters() const;                    // weights, biases included
    CallerLock &caller_lock() const { return caller_lock_; }

    virtual void get(Quantity quantity, int l, void *out) const = 0;
    // Rows [first_row, first_row + weights.n_rows) of W_(l).
    virtual void set_weights(int l, const RowsView &weights, std::int64_t first_row = 0) = 0;
    // These take all weights in one vector of n_parameters() numbers: W_(1), ..., W_(L), each in C order.
    virtual void get_parameters(void *out) const = 0;
    virtual void set_parameters(const void *numbers, Scalar scalar, std::int64_t count) = 0;
    virtual bool has_finite_weights() const = 0;

    // Makes a forward pass and keeps nothing: it may run in several threads at once. out: (n_rows, n_L).
    virtual void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop = {}) const = 0;
    // Gives the weighted mean loss of predict(rows).
    virtual double evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                            StopRequest stop = {}) const = 0;
    // Gives the sums of which evaluate is the quotient, for parts of the rows: part i ends with row ends[i] -
    // 1, and n_rows is the last of `count` ends. sums: of weight * loss, weights: of the weights, (count,).
    virtual void evaluate_sums(const RowsView &rows, const Targets &targets, const std::int64_t *ends,
                               std::int64_t count, double *sums, double *weights, int n_threads,
                               StopRequest stop = {}) const = 0;

    // Makes a forward pass and caches outputs and local gradients. out: (n_rows, n_L).
    virtual void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop = {}) = 0;
    // Makes a backward pass from L'_(L), (n_rows, n_L), with the weights of the forward pass. input_gradient:
    // (n_rows, n_0), or null.
    virtual void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                          StopRequest stop = {}) = 0;
    // Makes both passes with the loss layer, keeps everything and returns the loss. `results` are read out
    // before another caller may change them. `custom`: for Loss::custom.
    virtual double backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                                 const std::vector<ReadOut> &results = {}, StopRequest stop = {},
                                 BatchLoss custom = {}) = 0;
    // Makes both passes, piece by piece in bounded memory, but at once with a custom loss. Returns the loss
    // and leaves the weight gradients, which `gradient`, (n_parameters,) or null, receives.
    virtual double loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                                     void *gradient = nullptr, StopRequest stop = {},
                                     BatchLoss custom = {}) = 0;

    virtual std::int64_t cached_rows() const = 0; // of the last forward or backpropagate

    // Keeps a reference to the network, which must outlive it. seed: of the dropout masks.
    virtual std::unique_ptr<Trainer> make_trainer(const OptimizerSpec &optimizer,
                                                  const Regularisation &regularisation,
                                                  std::uint64_t seed) = 0;
    // Does as make_trainer; the network must be of float64.
    virtual std::unique_ptr<Lbfgs> make_lbfgs() = 0;

    // For tests: fills every padding lane that the network owns with NaN. No result may change.
    virtual void poison_padding() = 0;

  protected:
    std::int64_t n_targets_ = 0;
    mutable CallerLock caller_lock_;
};

std::unique_ptr<Network> make_network(const NetworkSpec &spec);

} // namespace densegrad
