// A network computes like this: the forward and the backward pass over a range of rows.
#pragma once

#include "layer.hpp"
#include "pass.hpp"
#include "stop_watch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace densegrad {

// Makes room in a sparse pass that goes over rows first ... first + n - 1, `piece` of them at a time.
template <class T>
void reserve_entries(const Pass<T> &pass, const RowsView &rows, Index first, Index n, Index piece) {
    if (pass.sparse)
        pass.sparse->reserve(
            most_entries(rows, n, std::max<Index>(n, 1), piece, [first](Index r) { return first + r; }));
}

inline std::uint64_t mix_bits(std::uint64_t x) { // the finaliser of SplitMix64 (Steele, Lea, Flood 2014)
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

template <class T>
DropoutArgs<T> dropout_args(const Layer<T> &layer, const Pass<T> &pass, const Batch<T> &batch,
                            std::size_t l) {
    DropoutArgs<T> dropout;
    if (pass.options.training && layer.dropout > 0) {
        const double rate = layer.dropout * batch.dropout_factor;
        dropout.threshold = static_cast<std::uint32_t>(rate * 4294967296.0);
        dropout.scale = static_cast<T>(1.0 / (1.0 - rate));
        dropout.key = mix_bits(batch.dropout_key + l);
    }
    return dropout;
}

template <class T>
ForwardArgs<T> forward_args(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                            std::size_t l) {
    const Layer<T> &layer = layers[l - 1];
    return {.input = pass.output[l - 1],
            .input_stride = pass.stride,
            .weights = layer.weights,
            .output = pass.output[l],
            .output_stride = pass.stride,
            .local = pass.local[l],
            .n_in = layer.n_in,
            .n_out = layer.n_out,
            .activation = layer.activation,
            .dropout = dropout_args(layer, pass, batch, l),
            .first_row = batch.first_in_batch,
            .sparse = l == 1 && pass.sparse ? pass.sparse->rows() : nullptr};
}

template <class T>
BackwardArgs<T> backward_args(const std::vector<Layer<T>> &layers, const Pass<T> &pass, std::size_t l) {
    const Layer<T> &layer = layers[l - 1];
    return {.delta = pass.delta[l],
            .delta_stride = pass.stride,
            .transposed = layer.transposed,
            .input_delta = pass.delta[l - 1],
            .loss_gradient = pass.loss_gradient[l - 1],
            // The input has no activation that would read it.
            .output = l == 1 ? pass.delta[0] : pass.output[l - 1],
            .local = pass.local[l - 1],
            .input_stride = pass.stride,
            .n_in = layer.n_in,
            .n_out = layer.n_out,
            .activation = l == 1 ? Activation::identity : layers[l - 2].activation};
}

template <class T> Elementwise<T> elementwise(const Layer<T> &layer, const Pass<T> &pass, std::size_t l) {
    return {
        .kind = layer.kind, .activation = layer.blended, .weights = layer.weights, .share = pass.share[l]};
}

template <class T>
LossLayerArgs<T> loss_layer_args(const LossArgs<T> &loss, const Pass<T> &pass, const Batch<T> &batch,
                                 int thread) {
    const std::size_t depth = pass.output.size() - 1;
    // What a custom head, which is the identity here, has in its buffer must stay.
    const bool has_local = pass.options.loss_gradients && loss.head.activation != Activation::identity;
    return {.loss = loss,
            .output = pass.output[depth],
            .delta = pass.delta[depth],
            .loss_gradient = pass.loss_gradient[depth],
            .local = has_local ? pass.local[depth] : nullptr,
            .stride = pass.stride,
            .targets = batch.targets,
            .order = batch.order,
            .first_row = batch.first_row,
            .weight_scale = batch.weight_scale,
            .row_loss = pass.row_loss,
            .scratch = pass.scratch[static_cast<std::size_t>(thread)]};
}

template <class T>
HeadArgs<T> head_args(const std::vector<Layer<T>> &layers, const Pass<T> &pass, int thread) {
    const std::size_t depth = layers.size();
    return {.output = pass.output[depth],
            .delta = pass.delta[depth],
            .local = pass.local[depth],
            .stride = pass.stride,
            .n_out = layers.back().n_out,
            .head = layers.back().head(),
            .scratch = pass.scratch[static_cast<std::size_t>(thread)]};
}

// So many multiplications take as long as to copy a number.
inline constexpr double kWorkOfCopy = 16.0;

// Gathers or packs the rows, if no layer is done, and runs layers done + 1 ... last. Of a custom activation,
// and of the head without `activate_head`, it computes the preactivation. Returns false if it was stopped on
// the way.
template <class T>
bool forward_layers(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                    std::size_t done, std::size_t last, bool activate_head, const Kernels<T> &kernels,
                    StopWatch &watch, Index begin, Index end) {
    if (watch.stopped())
        return false;
    const GatherArgs<T> gather = batch.gather(pass.output[0], pass.stride);
    if (done == 0 && pass.sparse)
        pass.sparse->pack(*batch.rows, kernels, begin, end);
    else if (done == 0 && !watch.run(begin, end, kWorkOfCopy * static_cast<double>(layers[0].n_in),
                                     [&](Index from, Index to) { kernels.gather(gather, from, to); }))
        return false;
    for (std::size_t l = done + 1; l <= last; ++l) {
        ForwardArgs<T> args = forward_args(layers, pass, batch, l);
        const bool custom = args.activation == Activation::custom;
        if (custom || (l == layers.size() && !activate_head)) {
            args.activation = Activation::identity;
            args.local = nullptr;
        }
        if (custom)
            args.dropout = {};
        const Layer<T> &layer = layers[l - 1];
        const double work =
            l == 1 && pass.sparse ? layer.sparse_work(pass.sparse->mean_entries()) : layer.work();
        if (!watch.run(begin, end, work, [&](Index from, Index to) {
                if (layer.elementwise())
                    kernels.elementwise_forward(args, elementwise(layer, pass, l), from, to);
                else
                    kernels.forward(args, from, to);
            }))
            return false;
    }
    return true;
}

// Runs the layers that forward_custom has not `done`. Then it has the head's preactivation, or y_(L) with
// `activate_head`; of a custom head always y_(L). Returns false if it was stopped on the way.
template <class T>
bool forward_rows(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                  std::size_t done, bool activate_head, const Kernels<T> &kernels, StopWatch &watch,
                  int thread, Index begin, Index end) {
    if (begin >= end)
        return true;
    if (!forward_layers(layers, pass, batch, done, layers.size(), activate_head, kernels, watch, begin, end))
        return false;
    if (activate_head && layers.back().head().jacobian() != Jacobian::diagonal)
        kernels.head_activate(head_args(layers, pass, thread), begin, end);
    return true;
}

// Runs the loss layer: from what forward_rows left without `activate_head` to y_(L), row_loss and delta_(L).
template <class T>
void loss_rows(const std::vector<Layer<T>> &layers, const LossArgs<T> &loss, const Pass<T> &pass,
               const Batch<T> &batch, const Kernels<T> &kernels, int thread, Index begin, Index end) {
    kernels.loss_layer(loss_layer_args(loss, pass, batch, thread), begin, end);
    if (layers.back().activation == Activation::custom) // so far, delta_(L) is L'_(L)
        kernels.head_delta(head_args(layers, pass, thread), begin, end);
}

// Goes from delta_(L) to delta_(1), and with input_gradient on to L'_(0), which lands in delta[0]. It leaves
// the shares of elementwise layers, too. Returns false if it was stopped on the way.
template <class T>
bool backward_rows(const std::vector<Layer<T>> &layers, const Pass<T> &pass, bool input_gradient,
                   const Kernels<T> &kernels, StopWatch &watch, Index begin, Index end) {
    if (begin >= end)
        return true;
    const std::size_t last = input_gradient || layers[0].elementwise() ? 0 : 1;
    for (std::size_t l = layers.size(); l > last; --l) {
        const Layer<T> &layer = layers[l - 1];
        BackwardArgs<T> args = backward_args(layers, pass, l);
        if (layer.elementwise())
            args.output = pass.output[l - 1]; // x, also of the first layer
        if (l == 1 && !input_gradient) {
            args.input_delta = nullptr;
            args.loss_gradient = nullptr;
        }
        if (!watch.run(begin, end, layer.work(), [&](Index from, Index to) {
                if (layer.elementwise())
                    kernels.elementwise_backward(args, elementwise(layer, pass, l), from, to);
                else
                    kernels.backward(args, from, to);
            }))
            return false;
    }
    return true;
}

} // namespace densegrad
