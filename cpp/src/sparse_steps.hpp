// Plain SGD on sparse rows changes no weight of the first layer that has no gradient, and leaves it out. This
// is so from the second step of an epoch on, for the first one turns a weight of -0 into +0.
#pragma once

#include "densegrad/trainer.hpp"

#include "layer.hpp"
#include "pass.hpp"
#include "team.hpp"
#include "updates.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace densegrad {

inline bool is_plain_sgd(const OptimizerSpec &optimizer, const Regularisation &r) {
    return optimizer.optimizer == Optimizer::sgd && optimizer.momentum == 0.0 && r.l2 == 0.0 && r.l1 == 0.0 &&
           r.weight_decay == 0.0 && r.max_norm == 0.0;
}

// Updates the first layer's weights that have a gradient, in step `number` of the epoch, not its first one.
// Without momentum, velocities are of no use. The first step has left some, which are cleared in the second
// one. The last step leaves its own.
template <class T>
void step_with_entries(const Layer<T> &layer, const LayerState<T> &state, const Pass<T> &pass, Index count,
                       const LayerStep<T> &step, Index number, bool last, const Kernels<T> &kernels,
                       Team &team) {
    const SparseBatch<T> &batch = *pass.sparse;
    T *const velocity = state.state[0];
    const std::vector<Index> &had_entries = batch.had_entries();
    if (number == 1)
        team.share_range(static_cast<Index>(had_entries.size()), [&](Index begin, Index end, int) {
            for (Index i = begin; i < end; ++i)
                for (Index panel = 0; panel < line_count<T>(layer.n_out); ++panel)
                    std::fill_n(velocity + panel * layer.panel() +
                                    had_entries[static_cast<std::size_t>(i)] * kLanes<T>,
                                kLanes<T>, T(0));
        });
    WeightArgs<T> args = sum_and_update(layer, state, pass, 1, count, GradientMode::none, step, false);
    args.state[0] = last ? velocity : nullptr;
    team.share_range(static_cast<Index>(batch.with_entries().size()), [&](Index begin, Index end, int) {
        kernels.step_with_columns(args, batch.with_entries().data(), begin, end);
    });
}

} // namespace densegrad
