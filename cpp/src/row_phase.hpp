// The first phase of a step goes by rows: gather, forward, loss, and backward to the delta of every layer.
#pragma once

#include "custom_activation.hpp"
#include "passes.hpp"
#include "stop_watch.hpp"
#include "team.hpp"

#include <cstddef>
#include <vector>

namespace densegrad {

// Goes over rows 0 ... count - 1 of the batch, with input_gradient down to L'_(0). Returns false if it was
// stopped on the way.
template <class T>
bool row_phase(const std::vector<Layer<T>> &layers, const LossArgs<T> &loss, const Pass<T> &pass,
               const Batch<T> &batch, Index count, bool input_gradient, const Kernels<T> &kernels,
               StopWatch &watch, Team &team) {
    const std::size_t done = forward_custom(layers, pass, batch, count, kernels, watch, team);
    team.share_range(count, [&](Index begin, Index end, int thread) {
        if (!forward_rows(layers, pass, batch, done, false, kernels, watch, thread, begin, end))
            return;
        loss_rows(layers, loss, pass, batch, kernels, thread, begin, end);
        backward_rows(layers, pass, input_gradient, kernels, watch, begin, end);
    });
    return !watch.stopped();
}

// Does the same with a custom loss, down to delta_(1). Between the passes, find_gradient() sets L'_(L) in
// delta[L] and the losses of the rows, or returns false to stop.
template <class T, class FindGradient>
bool row_phase_with(FindGradient find_gradient, const std::vector<Layer<T>> &layers, const Pass<T> &pass,
                    const Batch<T> &batch, Index count, const Kernels<T> &kernels, StopWatch &watch,
                    Team &team) {
    const std::size_t done = forward_custom(layers, pass, batch, count, kernels, watch, team);
    team.share_range(count, [&](Index begin, Index end, int thread) {
        forward_rows(layers, pass, batch, done, true, kernels, watch, thread, begin, end);
    });
    if (watch.stopped() || !find_gradient())
        return false;
    team.share_range(count, [&](Index begin, Index end, int thread) {
        kernels.head_delta(head_args(layers, pass, thread), begin, end);
        backward_rows(layers, pass, false, kernels, watch, begin, end);
    });
    return !watch.stopped();
}

} // namespace densegrad
