// Passes that leave the weight gradients: of a batch, whose outputs and deltas are kept, and of any number of
// rows, piece by piece.
#include "network_of.hpp"

#include "custom_activation.hpp"
#include "lines.hpp"
#include "passes.hpp"
#include "row_phase.hpp"
#include "stop_watch.hpp"
#include "sums.hpp"
#include "updates.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace densegrad {

template <class T>
void NetworkOf<T>::prepare_cache(const RowsView &rows, int n_threads, bool loss_gradients) {
    cached_rows_ = 0;
    has_loss_gradients_ = false;
    PassOptions options;
    options.loss_gradients = loss_gradients;
    options.sparse = reads_sparse(rows);
    if (!cache_ || !cache_->fits(rows.n_rows, n_threads, options))
        cache_ = std::make_unique<Pass<T>>(layers_, rows.n_rows, n_threads, options);
    reserve_entries(*cache_, rows, 0, rows.n_rows, rows.n_rows);
}

template <class T> bool NetworkOf<T>::run_forward(const RowsView &rows, int n_threads, StopRequest stop) {
    const double row_work = work(rows);
    const int threads = choose_threads(n_threads, row_work, rows.n_rows, rows.n_rows);
    // For a custom loss, forward and backward do what backpropagate does for the others.
    prepare_cache(rows, threads, spec_.loss.loss == Loss::custom);
    const Pass<T> &pass = *cache_;
    const Batch<T> batch{.rows = &rows};
    batch.place(pass, rows.n_rows);
    StopWatch watch(stop);
    run_team(threads, [&](Team &team) {
        const std::size_t done = forward_custom(layers_, pass, batch, rows.n_rows, kernels_, watch, team);
        team.share_range(rows.n_rows, [&](Index begin, Index end, int thread) {
            forward_rows(layers_, pass, batch, done, true, kernels_, watch, thread, begin, end);
        });
    });
    if (watch.stopped())
        return false;
    cached_rows_ = rows.n_rows;
    cached_work_ = row_work;
    cache_is_current_ = true;
    return true;
}

template <class T>
void NetworkOf<T>::forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) {
    check_rows(rows);
    const Change change(caller_lock_);
    if (run_forward(rows, n_threads, stop))
        read_out(Quantity::output, depth(), static_cast<T *>(out));
}

template <class T>
void NetworkOf<T>::sum_weight_gradients(const Pass<T> &pass, Index rows, GradientMode mode,
                                        const SharedBlocks &blocks, StopWatch &watch, Team &team) {
    if (pass.sparse && !watch.stopped())
        pass.sparse->transpose();
    blocks.share(team, [&](const BlockRange &range) {
        const WeightArgs<T> args = sum_and_store(layers_[range.l - 1], pass, range.l, rows, mode);
        watch.run(range.begin, range.end, block_work<T>(rows),
                  [&](Index begin, Index end) { kernels_.update_weights(args, begin, end); });
    });
}

template <class T>
bool NetworkOf<T>::run_backward(const RowsView &loss_gradient, bool input_gradient, int n_threads,
                                StopRequest stop) {
    const Index rows = cached_rows_;
    if (loss_gradient.n_rows != rows || loss_gradient.n_columns != layers_.back().n_out)
        throw std::invalid_argument(
            "loss_gradient must have " + std::to_string(rows) + " rows, as X of the forward pass had, and " +
            std::to_string(layers_.back().n_out) + " columns; got shape (" +
            std::to_string(loss_gradient.n_rows) + ", " + std::to_string(loss_gradient.n_columns) + ")");
    need_gradients();
    need_transposed(input_gradient);
    const Pass<T> &pass = *cache_;
    if (input_gradient)
        cache_->need_input_gradient(spec_.n_inputs);
    if (pass.sparse)
        pass.sparse->reserve_columns();
    const int threads = std::min(choose_threads(n_threads, 2.0 * cached_work_, rows, rows),
                                 static_cast<int>(pass.scratch.size()));
    const SharedBlocks blocks(layers_, threads);
    rows_to_lines<T>(loss_gradient, pass.delta.back(), pass.stride);
    if (pass.loss_gradient.back())
        rows_to_lines<T>(loss_gradient, pass.loss_gradient.back(), pass.stride);
    StopWatch watch(stop);
    has_weight_gradients_ = has_loss_gradients_ = false;
    run_team(threads, [&](Team &team) {
        team.share_range(rows, [&](Index begin, Index end, int thread) {
            kernels_.head_delta(head_args(layers_, pass, thread), begin, end);
            backward_rows(layers_, pass, input_gradient, kernels_, watch, begin, end);
        });
        sum_weight_gradients(pass, rows, GradientMode::overwrite, blocks, watch, team);
    });
    if (watch.stopped())
        return false;
    has_weight_gradients_ = true;
    has_loss_gradients_ = pass.options.loss_gradients && input_gradient;
    return true;
}

template <class T>
void NetworkOf<T>::backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                            StopRequest stop) {
    const Change change(caller_lock_);
    if (cached_rows_ == 0)
        throw std::logic_error("backward needs a forward pass before it");
    if (!cache_is_current_)
        throw std::logic_error(
            "backward needs a forward pass with the weights as they are: they have changed");
    if (run_backward(loss_gradient, input_gradient != nullptr, n_threads, stop) && input_gradient)
        lines_to_rows<T>(cache_->delta[0], cache_->stride, cached_rows_, spec_.n_inputs,
                         static_cast<T *>(input_gradient));
}

// Runs both passes with a custom loss between them. If it asks to stop, there is no backward pass.
template <class T>
double NetworkOf<T>::run_custom(const RowsView &rows, bool input_gradient, int n_threads, StopRequest stop,
                                BatchLoss custom) {
    if (!custom.function)
        throw std::invalid_argument("a custom loss needs its function");
    has_weight_gradients_ = false;
    if (!run_forward(rows, n_threads, stop))
        return 0.0;
    const Index n_out = layers_.back().n_out;
    std::vector<T> output(static_cast<std::size_t>(rows.n_rows * n_out)), loss_gradient(output.size());
    read_out(Quantity::output, depth(), output.data());
    double loss = 0.0;
    if (custom.function(custom.context, output.data(), rows.n_rows, loss_gradient.data(), &loss))
        run_backward({loss_gradient.data(), Precision<T>::scalar, rows.n_rows, n_out, n_out, 1},
                     input_gradient, n_threads, stop);
    return loss;
}

template <class T>
double NetworkOf<T>::backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                                   const std::vector<ReadOut> &results, StopRequest stop, BatchLoss custom) {
    check_rows(rows);
    check_targets(targets);
    const Change change(caller_lock_);
    const auto read_results = [&] {
        for (const ReadOut &result : results)
            read_out(result.quantity, result.l, static_cast<T *>(result.out));
    };
    if (spec_.loss.loss == Loss::custom) {
        const double loss = run_custom(rows, true, n_threads, stop, custom);
        if (has_loss_gradients_)
            read_results();
        return loss;
    }
    const Index n = rows.n_rows;
    const double row_work = work(rows);
    const int threads = choose_threads(n_threads, 3.0 * row_work, n, n);
    need_gradients();
    need_transposed(true);
    prepare_cache(rows, threads, true);
    cache_->need_input_gradient(spec_.n_inputs);
    const Pass<T> &pass = *cache_;
    if (pass.sparse)
        pass.sparse->reserve_columns();
    const SharedBlocks blocks(layers_, threads);
    const double weight = total_weight(targets.sample_weight, n);
    const Batch<T> batch{.rows = &rows, .targets = targets, .weight_scale = 1.0 / weight};
    batch.place(pass, n);
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        row_phase(layers_, loss_args(), pass, batch, n, true, kernels_, watch, team);
        sum_weight_gradients(pass, n, GradientMode::overwrite, blocks, watch, team);
    });
    if (watch.stopped())
        return 0.0;
    cached_rows_ = n;
    cached_work_ = row_work;
    cache_is_current_ = has_weight_gradients_ = has_loss_gradients_ = true;
    read_results();
    return add_weighted_losses(0.0, pass.row_loss, batch, n) / weight;
}

template <class T>
double NetworkOf<T>::loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                                       void *gradient, StopRequest stop, BatchLoss custom) {
    check_rows(rows);
    check_targets(targets);
    const Change change(caller_lock_);
    const auto read_result = [&] {
        if (gradient && has_weight_gradients_)
            read_gradient(static_cast<T *>(gradient));
    };
    if (spec_.loss.loss == Loss::custom) {
        const double loss = run_custom(rows, false, n_threads, stop, custom);
        read_result();
        return loss;
    }
    const Index n = rows.n_rows;
    const Index piece = std::min(n, kPieceRows);
    const int threads = choose_threads(n_threads, 3.0 * work(rows), n, piece);
    need_gradients();
    need_transposed(false);
    std::unique_ptr<Pass<T>> pass;
    need_pass(pass, rows, piece, threads);
    const SharedBlocks blocks(layers_, threads);
    const double weight = total_weight(targets.sample_weight, n);
    double loss = 0.0;
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        loss = sum_loss_and_gradient(rows, targets, 0, n, weight, *pass, blocks, watch, team) / weight;
    });
    has_weight_gradients_ = !watch.stopped();
    read_result();
    return loss;
}

template <class T>
void NetworkOf<T>::need_pass(std::unique_ptr<Pass<T>> &pass, const RowsView &rows, Index piece,
                             int n_threads) const {
    PassOptions options;
    options.sparse = reads_sparse(rows);
    if (!pass || !pass->fits(piece, n_threads, options))
        pass = std::make_unique<Pass<T>>(layers_, piece, n_threads, options);
    reserve_entries(*pass, rows, 0, rows.n_rows, piece);
    if (pass->sparse)
        pass->sparse->reserve_columns();
}

template <class T>
double NetworkOf<T>::sum_loss_and_gradient(const RowsView &rows, const Targets &targets, Index begin,
                                           Index end, double weight, const Pass<T> &pass,
                                           const SharedBlocks &blocks, StopWatch &watch, Team &team) {
    double total = 0.0;
    for (Index first = begin; first < end && !watch.ask(); first += pass.rows) {
        const Index count = std::min(pass.rows, end - first);
        const Batch<T> batch{.rows = &rows,
                             .targets = targets,
                             .first_row = first,
                             .first_in_batch = first,
                             .weight_scale = 1.0 / weight};
        batch.place(pass, count);
        row_phase(layers_, loss_args(), pass, batch, count, false, kernels_, watch, team);
        total = add_weighted_losses(total, pass.row_loss, batch, count);
        sum_weight_gradients(pass, count, first > begin ? GradientMode::accumulate : GradientMode::overwrite,
                             blocks, watch, team);
    }
    return total;
}

template <class T>
std::optional<double> NetworkOf<T>::custom_loss_and_gradient(const RowsView &rows, int n_threads,
                                                             StopRequest stop, BatchLoss custom) {
    const double loss = run_custom(rows, false, n_threads, stop, custom);
    if (!has_weight_gradients_)
        return std::nullopt;
    has_weight_gradients_ = false; // the caller changes them
    return loss;
}

template void NetworkOf<float>::forward(const RowsView &, void *, int, StopRequest);
template void NetworkOf<double>::forward(const RowsView &, void *, int, StopRequest);
template void NetworkOf<float>::backward(const RowsView &, void *, int, StopRequest);
template void NetworkOf<double>::backward(const RowsView &, void *, int, StopRequest);
template double NetworkOf<float>::backpropagate(const RowsView &, const Targets &, int,
                                                const std::vector<ReadOut> &, StopRequest, BatchLoss);
template double NetworkOf<double>::backpropagate(const RowsView &, const Targets &, int,
                                                 const std::vector<ReadOut> &, StopRequest, BatchLoss);
template double NetworkOf<float>::loss_and_gradient(const RowsView &, const Targets &, int, void *,
                                                    StopRequest, BatchLoss);
template double NetworkOf<double>::loss_and_gradient(const RowsView &, const Targets &, int, void *,
                                                     StopRequest, BatchLoss);
template void NetworkOf<float>::need_pass(std::unique_ptr<Pass<float>> &, const RowsView &, Index, int) const;
template void NetworkOf<double>::need_pass(std::unique_ptr<Pass<double>> &, const RowsView &, Index,
                                           int) const;
template double NetworkOf<float>::sum_loss_and_gradient(const RowsView &, const Targets &, Index, Index,
                                                        double, const Pass<float> &, const SharedBlocks &,
                                                        StopWatch &, Team &);
template double NetworkOf<double>::sum_loss_and_gradient(const RowsView &, const Targets &, Index, Index,
                                                         double, const Pass<double> &, const SharedBlocks &,
                                                         StopWatch &, Team &);
template std::optional<double> NetworkOf<float>::custom_loss_and_gradient(const RowsView &, int, StopRequest,
                                                                          BatchLoss);
template std::optional<double> NetworkOf<double>::custom_loss_and_gradient(const RowsView &, int, StopRequest,
                                                                           BatchLoss);

} // namespace densegrad
