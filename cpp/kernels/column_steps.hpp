// A step of plain SGD changes only the weights of the first layer whose columns have entries in the batch.
#pragma once

#include "contract.hpp"
#include "gradient.hpp"
#include "optimizers.hpp"
#include "simd.hpp"
#include "sparse.hpp"
#include "split.hpp"
#include "tiles.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Plain SGD of the weights from one column of X, or of the biases, into the units of kWidth lines.
template <class T, int kWidth>
DENSEGRAD_INLINE void step_with_column(const WeightArgs<T> &args, Index column, Index panel) {
    alignas(kLineBytes) T sum[kWidth * kLanes<T>];
    for_each_part<1, kWidth, kVecs>(
        [&](int, int j, int q) { store<T>(sum + j * kLanes<T> + q * kVecLanes<T>, Vec<T>{}); });
    if (column < args.n_in)
        sum_sparse_column<T, kWidth>(args, panel, column, sum, kLanes<T>);
    else
        for (int j = 0; j < kWidth; ++j)
            sum_biases<T>(args, panel + j, sum + j * kLanes<T>);
    const OptimizerFunctor<T, Optimizer::sgd> update(column < args.n_in ? args.step->weights
                                                                        : args.step->bias);
    for_each_part<1, kWidth, kVecs>([&](int, int j, int q) {
        const Index at = ((panel + j) * (args.n_in + 1) + column) * kLanes<T> + q * kVecLanes<T>;
        Vec<T> w = load<T>(args.weights + at), velocity{}, unused{};
        update(load<T>(sum + j * kLanes<T> + q * kVecLanes<T>), w, velocity, unused);
        store<T>(args.weights + at, w);
        if (args.state[0])
            store<T>(args.state[0] + at, velocity);
    });
}

template <class T, int kWidth = 1>
DENSEGRAD_INLINE void run_step_with_column(int width, const WeightArgs<T> &args, Index column, Index panel) {
    if constexpr (kWidth <= max_tile_width(1)) {
        if (width != kWidth)
            return run_step_with_column<T, kWidth + 1>(width, args, column, panel);
        step_with_column<T, kWidth>(args, column, panel);
    }
}

template <class T>
void step_with_columns(const WeightArgs<T> &args, const Index *columns, Index begin, Index end) {
    constexpr Index kAhead = 8; // the columns are here and there, which the core cannot foresee
    const Index panels = line_count<T>(args.n_out);
    const EvenSplit widths(panels, max_tile_width(1));
    for (Index i = begin; i < end; ++i) {
        __builtin_prefetch(args.sparse->spans + columns[min_index(i + 2 * kAhead, end - 1)]);
        const Index ahead = columns[min_index(i + kAhead, end - 1)];
        for (Index panel = 0; panel < panels; ++panel)
            __builtin_prefetch(args.weights + (panel * (args.n_in + 1) + ahead) * kLanes<T>, 1);
        Index panel = 0;
        for (Index g = 0; g < widths.count; ++g) {
            run_step_with_column<T>(widths[g], args, columns[i], panel);
            panel += widths[g];
        }
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
