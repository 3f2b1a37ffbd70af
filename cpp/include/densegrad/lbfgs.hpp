// L-BFGS minimises the loss of all rows by limited memory steps with a line search.
#pragma once

#include "densegrad/data.hpp"
#include "densegrad/network.hpp"
#include "densegrad/shards.hpp"

#include <cstdint>

namespace densegrad {

// This says why a minimisation ended.
enum class LbfgsEnd : int {
    gradient,    // no component of the gradient is above gradient_tolerance
    reduction,   // the loss fell by no more than reduction_tolerance, relative to itself or 1
    iterations,  // there were max_iterations
    evaluations, // there were more than max_evaluations
    line_search, // no lower loss was found along the direction of steepest descent
    asked,       // stop, custom, exchange or after_iteration asked for it
};

struct LbfgsSpec {
    RowsView rows;
    Targets targets;
    double l2 = 0.0; // loss += l2 / 2 * sum w^2 / (sum of the sample weights), biases left out
    std::int64_t max_iterations = 0;
    std::int64_t max_evaluations = 0; // an iteration that has begun is completed
    double gradient_tolerance = 0.0;
    double reduction_tolerance = 0.0;
    int n_threads = 0; // as for an epoch
    StopRequest stop;
    BatchLoss custom; // for Loss::custom
    // Called after each iteration, which `iterations` counts. The answer false ends the minimisation. Null:
    // nobody asks.
    bool (*after_iteration)(void *context, std::int64_t iterations, double loss) = nullptr;
    void *context = nullptr; // of after_iteration
    // Loss and gradient at the weights are still those that the last call of minimise() has left. It is for
    // the caller to know that rows, targets and l2 are the same. Weights that have changed are noticed.
    bool continues = false;
    // If they have `ends`: sums over the rows are a tree over the shards, each of which has rows. All
    // processes make the same steps, with an exchange in each evaluation. Not for Loss::custom.
    Shards shards;
};

struct LbfgsResult {
    double loss = 0.0; // with the penalty, at the weights that the network has now; infinite if not known
    double loss_before = 0.0; // where the last iteration began
    std::int64_t iterations = 0;
    std::int64_t evaluations = 0; // of the loss and its gradient
    LbfgsEnd end = LbfgsEnd::asked;
};

// Network::make_lbfgs makes it, of a float64 network. It shares the network's CallerLock: minimise and
// set_state are changes, the others are reads.
class Lbfgs {
  public:
    virtual ~Lbfgs() = default;

    // Minimises from the network's weights on. It keeps what it learned of the curvature for the next call,
    // which then makes the steps that this one would have made next. If a call was stopped, it leaves the
    // weights of its last iteration.
    virtual LbfgsResult minimise(const LbfgsSpec &spec) = 0;

    // This is the memory. It has the last steps, oldest first, and the differences of the gradient along
    // them. Both are (pairs(), n_parameters) in the order of get_parameters. It also has the product of the
    // two, (pairs(),), which the line search has measured.
    virtual int pairs() const = 0;
    virtual bool begun() const = 0; // a first step has been made
    virtual void get_state(double *steps, double *differences, double *curvatures) const = 0;
    virtual void set_state(bool begun, int pairs, const double *steps, const double *differences,
                           const double *curvatures) = 0;
};

} // namespace densegrad
