// A trainer does gradient descent: one call is one epoch.
#pragma once

#include "densegrad/data.hpp"
#include "densegrad/network.hpp"
#include "densegrad/optimizers.hpp"
#include "densegrad/shards.hpp"

#include <cstdint>
#include <memory>

namespace densegrad {

// This names an optimizer and its hyperparameters. Those that the optimizer does not use are ignored.
struct OptimizerSpec {
    Optimizer optimizer;
    double momentum = 0.0;
    bool nesterov = false;
    double beta_1 = 0.9;
    double beta_2 = 0.999;
    double epsilon = 1e-8;
};

// All but clip_norm leave out the bias rows.
struct Regularisation {
    double l2 = 0.0;           // loss += l2 / 2 * sum w^2 / (sum of the batch's sample weights)
    double l1 = 0.0;           // loss += l1 * sum |w| / (the same)
    double weight_decay = 0.0; // decoupled: w -= learning_rate * weight_decay * w
    double max_norm = 0.0;     // largest norm of the weights into one unit; 0: no limit
    double clip_norm = 0.0;    // largest norm of the whole gradient, penalties left out; 0: no limit
};

// Gives the loss and L'_(L) of a batch, for Loss::custom. output: y_(L), (n_rows, n_L); row_numbers:
// (n_rows,) which rows of the targets; loss_gradient: out, (n_rows, n_L), dloss/dy of each row; row_loss:
// out, (n_rows,). Returns false to stop the epoch.
using CustomLoss = bool (*)(void *context, const void *output, const std::int64_t *row_numbers,
                            std::int64_t n_rows, void *loss_gradient, double *row_loss);

struct EpochSpec {
    RowsView rows;
    Targets targets;
    // (n_order,) row numbers, each below rows.n_rows; null: 0, 1, 2, ... It is copied.
    const std::int64_t *order = nullptr;
    std::int64_t n_order = 0;
    std::int64_t batch_size = 0;
    const double *learning_rates = nullptr; // one a step: (ceil(n_order / batch_size),)
    // loss_sum and n_rows of the call before, if this one goes on with its epoch.
    double loss_before = 0.0;
    std::int64_t rows_before = 0;
    // One factor a step of the weight decay, of every layer's dropout and of the loss's label smoothing;
    // null: ones. The latter two are in [0, 1].
    const double *decay_factors = nullptr;
    const double *dropout_factors = nullptr;
    const double *smoothing_factors = nullptr;
    int n_threads = 0; // at most so many, small work uses fewer; 0: as many as the process may use
    StopRequest stop;
    CustomLoss custom_loss = nullptr; // called once a batch, with shards once a shard
    void *context = nullptr;          // of custom_loss
    Shards shards;                    // if they have `ends`: they take the place of batch_size
};

struct EpochResult {
    // Over the rows gone through, the sum of the loss of their batch, penalties included. Rows of batches
    // without weight do not count.
    double loss_sum = 0.0;
    std::int64_t n_rows = 0;
    std::int64_t n_steps = 0;
    bool stopped = false; // stop, custom_loss or exchange asked for it

    double loss() const { return loss_sum / static_cast<double>(n_rows > 0 ? n_rows : 1); }
};

// Network::make_trainer makes it. It shares the network's CallerLock: epoch and set_... are changes,
// get_state and steps are reads.
class Trainer {
  public:
    virtual ~Trainer() = default;

    virtual EpochResult epoch(const EpochSpec &spec) = 0;

    // It must be the same `optimizer`; its state is kept.
    virtual void set_hyperparameters(const OptimizerSpec &optimizer,
                                     const Regularisation &regularisation) = 0;

    // Updates made so far, and the optimizer's state for W_(l): s = 0 ... state_count - 1, shape of W_(l).
    virtual std::int64_t steps() const = 0;
    virtual void set_steps(std::int64_t steps) = 0;
    virtual void get_state(int l, int s, void *out) const = 0;
    virtual void set_state(int l, int s, const RowsView &state) = 0;
};

} // namespace densegrad
