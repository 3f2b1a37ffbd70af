// The network of one precision.
#pragma once

#include "engine.hpp"
#include "lines.hpp"

#include <memory>
#include <vector>

namespace densegrad {

template <class T> class NetworkOf final : public Network {
  public:
    explicit NetworkOf(const NetworkSpec &spec);

    const NetworkSpec &spec() const override { return spec_; }
    void get_weights(int l, void *out) const override;
    void set_weights(int l, const RowsView &weights) override;
    void get_weight_gradient(int l, void *out) const override;
    void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) const override;
    double evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                    StopRequest stop) const override;
    void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) override;
    void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                  StopRequest stop) override;
    double backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                         StopRequest stop) override;
    double loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                             StopRequest stop) override;
    std::int64_t cached_rows() const override { return cached_rows_; }
    void get_output(int l, void *out) const override;
    void get_local_gradient(int l, void *out) const override;
    void get_loss_gradient(int l, void *out) const override;
    void get_delta(int l, void *out) const override;
    void poison_padding() override;

    // For the trainer.
    std::vector<Layer<T>> &layers() { return layers_; }
    const Kernels<T> &kernels() const { return kernels_; }
    LossArgs<T> loss_args() const;
    void need_transposed(bool first_layer);
    void need_gradients();
    // The weights are about to change: no backward pass can follow the forward pass that was.
    void weights_change() { cache_is_current_ = false; }
    // The buffers of the weight gradients are about to be used for something else.
    void borrow_gradients() {
        need_gradients();
        has_weight_gradients_ = false;
    }
    // Multiplications of a forward pass for each row, padding included.
    double work() const;
    // Threads for a call over `rows` rows, `piece` of them in a phase, of which each costs `passes` forward
    // passes: at most `requested` (0: all there are).
    int choose_threads(int requested, Index rows, Index piece, double passes) const;
    TargetsView<T> check_targets(const Targets &targets, Index n_rows) const;

  private:
    Layer<T> &layer(int l) { return layers_[static_cast<std::size_t>(l - 1)]; }
    const Layer<T> &layer(int l) const { return layers_[static_cast<std::size_t>(l - 1)]; }
    void check_rows(const RowsView &rows) const;
    void check_layer(int l, int first) const;
    void check_loss_gradients() const;
    void prepare_cache(Index rows, int n_threads, bool loss_gradients);
    void sum_weight_gradients(const Pass<T> &pass, Index rows, bool accumulate, const UnitChunks &units,
                              StopWatch &watch, Team &team);
    // Runs body(pass, thread, first row, rows) over pieces of the rows, each with a small pass of its own.
    template <class Body> void for_pieces(Index n_rows, int n_threads, StopRequest stop, Body body) const;

    NetworkSpec spec_;
    const Kernels<T> &kernels_;
    std::vector<T> levels_;
    std::vector<Layer<T>> layers_;
    Arena weights_;
    Arena transposed_;
    Arena first_transposed_;
    Arena gradients_;
    std::unique_ptr<Pass<T>> cache_;
    Index cached_rows_ = 0;
    bool cache_is_current_ = false; // made with the weights as they are now
    bool has_loss_gradients_ = false;
    bool has_weight_gradients_ = false;
};

// Sum over the rows of weight * row_loss, in slices (sliced_sum). A row without weight may have no loss.
template <class T> double weighted_loss(double *row_loss, const Batch<T> &batch, Index rows) {
    if (const double *sample_weight = batch.targets.sample_weight)
        for (Index r = 0; r < rows; ++r) {
            const double weight = sample_weight[batch.order ? batch.order[r] : batch.first_row + r];
            row_loss[r] = weight == 0.0 ? 0.0 : weight * row_loss[r];
        }
    return sliced_sum(row_loss, rows);
}

} // namespace densegrad
