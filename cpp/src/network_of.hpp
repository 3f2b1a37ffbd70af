// The network of one precision. Its parts are defined where their concept is: network.cpp, prediction.cpp,
// backpropagation.cpp, trainer.cpp and lbfgs.cpp.
#pragma once

#include "blocks.hpp"
#include "dispatch.hpp"
#include "layer.hpp"
#include "pass.hpp"
#include "stop_watch.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace densegrad {

template <class T> class NetworkOf final : public Network {
  public:
    explicit NetworkOf(const NetworkSpec &spec);

    const NetworkSpec &spec() const override { return spec_; }
    void get(Quantity quantity, int l, void *out) const override;
    void set_weights(int l, const RowsView &weights, std::int64_t first_row) override;
    void get_parameters(void *out) const override;
    void set_parameters(const void *numbers, Scalar scalar, std::int64_t count) override;
    bool has_finite_weights() const override;
    void predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) const override;
    double evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                    StopRequest stop) const override;
    void evaluate_sums(const RowsView &rows, const Targets &targets, const std::int64_t *ends,
                       std::int64_t count, double *sums, double *weights, int n_threads,
                       StopRequest stop) const override;
    void forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) override;
    void backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                  StopRequest stop) override;
    double backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                         const std::vector<ReadOut> &results, StopRequest stop, BatchLoss custom) override;
    double loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads, void *gradient,
                             StopRequest stop, BatchLoss custom) override;
    std::int64_t cached_rows() const override;
    std::unique_ptr<Trainer> make_trainer(const OptimizerSpec &optimizer,
                                          const Regularisation &regularisation, std::uint64_t seed) override;
    std::unique_ptr<Lbfgs> make_lbfgs() override;
    void poison_padding() override;

    // The trainer and L-BFGS call these and hold the lock. Nothing from here on takes it.
    std::vector<Layer<T>> &layers() { return layers_; }
    const Kernels<T> &kernels() const { return kernels_; }
    LossArgs<T> loss_args(double smoothing_factor = 1.0) const;
    // Makes room for the transposed copies, and brings them up to the weights.
    void need_transposed(bool first_layer);
    // The weights are about to change: no backward pass can follow the forward pass that was.
    void invalidate_cache() { cache_is_current_ = false; }
    // All weights have been written to.
    void weights_changed() {
        for (Layer<T> &layer : layers_)
            layer.transposed_is_current = false;
        invalidate_cache();
    }
    // Brings the transposed copies that a backward pass needs, for which there is room, up to the weights.
    void refresh_transposed(const SharedBlocks &blocks, Team &team);
    // Makes a pass over `piece` of the rows at a time, for sum_loss_and_gradient, unless `pass` is one.
    void need_pass(std::unique_ptr<Pass<T>> &pass, const RowsView &rows, Index piece, int n_threads) const;
    // Gives the weighted sum of the losses of the rows begin ... end - 1, of which there is one, and leaves
    // the gradient of this sum / weight in the layers' buffers. The transposed copies must be current. The
    // results are of no use if the watch has stopped.
    double sum_loss_and_gradient(const RowsView &rows, const Targets &targets, Index begin, Index end,
                                 double weight, const Pass<T> &pass, const SharedBlocks &blocks,
                                 StopWatch &watch, Team &team);
    // Does both passes over all rows with a custom loss, and returns its loss; none if it was stopped on the
    // way. The gradient is in the layers' buffers.
    std::optional<double> custom_loss_and_gradient(const RowsView &rows, int n_threads, StopRequest stop,
                                                   BatchLoss custom);
    // Copies between all weights, or numbers laid out like them, and a vector of n_parameters() numbers.
    void lines_to_parameters(const T *lines, T *out) const;
    void parameters_to_lines(const T *numbers, T *lines) const;
    // The buffers of the weight gradients, one after another, are about to be used for something else.
    T *borrow_gradients() {
        need_gradients();
        has_weight_gradients_ = false;
        return layers_[0].gradient;
    }
    // Numbers that all weights have, padding included.
    Index weight_count() const { return layers_.back().first_weight + layers_.back().weight_count(); }
    // Gives the multiplications of a forward pass for each of these rows, padding included.
    double work(const RowsView &rows) const;
    // Gives the number of threads for a call over `rows` rows, `piece` of them in a phase. Each row costs
    // `work`. It gives at most `requested` (0: all there are).
    static int choose_threads(int requested, double work, Index rows, Index piece);
    bool has_custom_activation() const;
    // Whether a pass takes sparse rows as they are. An elementwise first layer gets them dense.
    bool reads_sparse(const RowsView &rows) const {
        return has_sparse_rows(rows) && !layers_[0].elementwise();
    }
    void check_rows(const RowsView &rows) const;
    void check_targets(const Targets &targets) const;

  private:
    Layer<T> &layer(int l) { return layers_[static_cast<std::size_t>(l - 1)]; }
    const Layer<T> &layer(int l) const { return layers_[static_cast<std::size_t>(l - 1)]; }
    void check_layer(int l, int first) const;
    void need_gradients();
    void prepare_cache(const RowsView &rows, int n_threads, bool loss_gradients);
    // Returns false if it was stopped on the way.
    bool run_forward(const RowsView &rows, int n_threads, StopRequest stop);
    bool run_backward(const RowsView &loss_gradient, bool input_gradient, int n_threads, StopRequest stop);
    double run_custom(const RowsView &rows, bool input_gradient, int n_threads, StopRequest stop,
                      BatchLoss custom);
    void sum_weight_gradients(const Pass<T> &pass, Index rows, GradientMode mode, const SharedBlocks &blocks,
                              StopWatch &watch, Team &team);
    void read_out(Quantity quantity, int l, T *out) const;
    void read_gradient(T *out) const;
    void read_local_gradient(int l, T *out) const;
    // Goes through slices of rows first ... first + n - 1, each with a small pass: run_rows(pass, batch,
    // layers done by forward_custom, watch, thread, begin, end) → whether it was not stopped, then
    // finish(pass, batch, rows).
    template <class Rows, class Finish>
    void for_slices(const RowsView &rows, Index first, Index n, const Targets &targets, int n_threads,
                    StopRequest stop, Rows run_rows, Finish finish) const;

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
    double cached_work_ = 0.0;      // of one of these rows
    bool cache_is_current_ = false; // made with the weights as they are now
    bool has_loss_gradients_ = false;
    bool has_weight_gradients_ = false;
};

} // namespace densegrad
