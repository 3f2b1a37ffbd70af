// Predictions and losses of any number of rows, which go through the network in slices. Nothing is kept.
#include "network_of.hpp"

#include "custom_activation.hpp"
#include "lines.hpp"
#include "passes.hpp"
#include "stop_watch.hpp"
#include "sums.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace densegrad {

template <class T>
template <class Rows, class Finish>
void NetworkOf<T>::for_slices(const RowsView &rows, Index first, Index n, const Targets &targets,
                              int n_threads, StopRequest stop, Rows run_rows, Finish finish) const {
    // This is small enough for the outputs of two layers to stay in the L2 cache, and large enough to reuse
    // the weights.
    const Index longest = std::min(kBatchSlice, std::max<Index>(1, n));
    const Index slices = (n + longest - 1) / longest;
    const auto slice_batch = [&](Index slice) {
        return Batch<T>{
            .rows = &rows, .targets = targets, .first_row = first + slice * longest, .weight_scale = 1.0};
    };
    const auto count_of = [&](Index slice) { return std::min(longest, n - slice * longest); };
    PassOptions options = PassOptions::predicting();
    options.sparse = reads_sparse(rows);
    const auto make = [&](int members) {
        auto pass = std::make_unique<Pass<T>>(layers_, longest, members, options);
        reserve_entries(*pass, rows, first, n, longest);
        return pass;
    };
    StopWatch watch(stop);
    if (has_custom_activation()) { // the slices one after the other, the rows of each shared
        const std::unique_ptr<Pass<T>> made = make(n_threads);
        const Pass<T> &pass = *made;
        run_team(n_threads, [&](Team &team) {
            for (Index slice = 0; slice < slices && !watch.ask(); ++slice) {
                const Batch<T> batch = slice_batch(slice);
                const Index count = count_of(slice);
                batch.place(pass, count);
                const std::size_t done = forward_custom(layers_, pass, batch, count, kernels_, watch, team);
                team.share_range(count, [&](Index begin, Index end, int thread) {
                    run_rows(pass, batch, done, watch, thread, begin, end);
                });
                if (!watch.stopped())
                    finish(pass, batch, count);
            }
        });
        return;
    }
    const int threads = static_cast<int>(std::min<Index>(n_threads, std::max<Index>(1, slices)));
    std::vector<std::unique_ptr<Pass<T>>> passes(static_cast<std::size_t>(threads));
    for (std::unique_ptr<Pass<T>> &pass : passes)
        pass = make(1);
    run_team(threads, [&](Team &team) {
        team.share(slices, [&](Index slice, int thread) {
            if (watch.ask())
                return;
            const Pass<T> &pass = *passes[static_cast<std::size_t>(thread)];
            const Batch<T> batch = slice_batch(slice);
            batch.place(pass, count_of(slice));
            if (run_rows(pass, batch, 0, watch, 0, 0, count_of(slice)))
                finish(pass, batch, count_of(slice));
        });
    });
}

template <class T>
void NetworkOf<T>::predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) const {
    check_rows(rows);
    const Index n_out = layers_.back().n_out;
    T *y = static_cast<T *>(out);
    for_slices(
        rows, 0, rows.n_rows, {}, choose_threads(n_threads, work(rows), rows.n_rows, rows.n_rows), stop,
        [&](const Pass<T> &pass, const Batch<T> &batch, std::size_t done, StopWatch &watch, int thread,
            Index begin, Index end) {
            return forward_rows(layers_, pass, batch, done, true, kernels_, watch, thread, begin, end);
        },
        [&](const Pass<T> &pass, const Batch<T> &batch, Index count) {
            lines_to_rows<T>(pass.output.back(), pass.stride, count, n_out, y + batch.first_row * n_out);
        });
}

template <class T>
double NetworkOf<T>::evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                              StopRequest stop) const {
    double sum = 0.0, weight = 0.0;
    evaluate_sums(rows, targets, &rows.n_rows, 1, &sum, &weight, n_threads, stop);
    return sum / weight;
}

template <class T>
void NetworkOf<T>::evaluate_sums(const RowsView &rows, const Targets &targets, const std::int64_t *ends,
                                 std::int64_t count, double *sums, double *weights, int n_threads,
                                 StopRequest stop) const {
    check_rows(rows);
    if (spec_.loss.loss == Loss::custom)
        throw std::logic_error("a custom loss is evaluated by its own function");
    check_targets(targets);
    const int threads = choose_threads(n_threads, work(rows), rows.n_rows, rows.n_rows);
    std::vector<double> slices;
    Index begin = 0;
    for (Index i = 0; i < count; ++i) {
        if (ends[i] < begin || ends[i] > rows.n_rows)
            throw std::invalid_argument("the ends of parts must ascend up to the number of rows");
        const Index n = ends[i] - begin;
        slices.assign(static_cast<std::size_t>((n + kBatchSlice - 1) / kBatchSlice), 0.0);
        for_slices(
            rows, begin, n, targets, threads, stop,
            [&](const Pass<T> &pass, const Batch<T> &batch, std::size_t done, StopWatch &watch, int thread,
                Index first, Index last) {
                if (!forward_rows(layers_, pass, batch, done, false, kernels_, watch, thread, first, last))
                    return false;
                kernels_.loss_layer(loss_layer_args(loss_args(), pass, batch, thread), first, last);
                return true;
            },
            [&](const Pass<T> &pass, const Batch<T> &batch, Index rows_of_slice) {
                slices[static_cast<std::size_t>((batch.first_row - begin) / kBatchSlice)] =
                    add_weighted_losses(0.0, pass.row_loss, batch, rows_of_slice);
            });
        sums[i] = 0.0;
        for (const double slice : slices)
            sums[i] += slice;
        weights[i] = total_weight(targets.sample_weight ? targets.sample_weight + begin : nullptr, n);
        begin = ends[i];
    }
}

template void NetworkOf<float>::predict(const RowsView &, void *, int, StopRequest) const;
template void NetworkOf<double>::predict(const RowsView &, void *, int, StopRequest) const;
template double NetworkOf<float>::evaluate(const RowsView &, const Targets &, int, StopRequest) const;
template double NetworkOf<double>::evaluate(const RowsView &, const Targets &, int, StopRequest) const;
template void NetworkOf<float>::evaluate_sums(const RowsView &, const Targets &, const std::int64_t *,
                                              std::int64_t, double *, double *, int, StopRequest) const;
template void NetworkOf<double>::evaluate_sums(const RowsView &, const Targets &, const std::int64_t *,
                                               std::int64_t, double *, double *, int, StopRequest) const;

} // namespace densegrad
