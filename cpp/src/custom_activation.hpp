// A custom activation gets z_(l) of all rows in C order, and gives back y_(l) and dy/dz. So a forward pass is
// done in parts: each ends where all rows have the z_(l) of such a layer.
#pragma once

#include "lines.hpp"
#include "passes.hpp"
#include "stop_watch.hpp"
#include "team.hpp"

#include <cstddef>
#include <vector>

namespace densegrad {

// Turns z_(l) of the pass into y_(l) and, if the pass keeps it, dy/dz. Returns false if the function asks to
// stop.
template <class T>
bool activate_custom(const Layer<T> &layer, const Pass<T> &pass, const Batch<T> &batch, std::size_t l,
                     Index count, const Kernels<T> &kernels) {
    std::vector<T> z(static_cast<std::size_t>(count * layer.n_out)), y(z.size()),
        local(pass.local[l] ? z.size() : 0);
    lines_to_rows<T>(pass.output[l], pass.stride, count, layer.n_out, z.data());
    if (!layer.custom.function(layer.custom.context, z.data(), count, y.data(),
                               pass.local[l] ? local.data() : nullptr))
        return false;
    const auto to_lines = [&](const std::vector<T> &numbers, T *lines) {
        rows_to_lines<T>({numbers.data(), Precision<T>::scalar, count, layer.n_out, layer.n_out, 1}, lines,
                         pass.stride);
    };
    to_lines(y, pass.output[l]);
    if (pass.local[l])
        to_lines(local, pass.local[l]);
    const DropoutArgs<T> dropout = dropout_args(layer, pass, batch, l);
    if (dropout.threshold != 0)
        kernels.mask({dropout, pass.output[l], pass.local[l], pass.stride, layer.n_out, batch.first_in_batch},
                     0, count);
    return true;
}

// Runs the forward pass of rows 0 ... count - 1 as far as the last custom activation, and returns that
// layer's number, 0 if there is none. A function that asks to stop stops the watch.
template <class T>
std::size_t forward_custom(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                           Index count, const Kernels<T> &kernels, StopWatch &watch, Team &team) {
    std::size_t done = 0;
    for (std::size_t l = 1; l <= layers.size() && !watch.stopped(); ++l) {
        if (layers[l - 1].activation != Activation::custom)
            continue;
        team.share_range(count, [&](Index begin, Index end, int) {
            forward_layers(layers, pass, batch, done, l, false, kernels, watch, begin, end);
        });
        if (!watch.stopped() && !activate_custom(layers[l - 1], pass, batch, l, count, kernels))
            watch.stop();
        done = l;
    }
    return done;
}

} // namespace densegrad
