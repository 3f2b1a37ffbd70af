// The phase by blocks deals with the weights once the deltas of a batch are there.
//
// Each function is one use of the kernel update_weights (contract.hpp lists its steps):
//
//     sum                 sums the weight gradient and keeps it nowhere, to measure how long it takes
//     sum_and_store       sums the weight gradient into `gradient`, anew or added to what is there
//     sum_and_update      adds the last rows' part of the gradient to what is stored of the rows before
//                         them; the optimizer takes it while it is in registers
//     update_from_stored  the optimizer takes the whole gradient from `gradient`, times a factor
//     refresh             the transposed copy and the penalties follow weights that changed otherwise
//
// Every function writes to its own layer alone, and in it to its own blocks.
#pragma once

#include "layer.hpp"
#include "pass.hpp"

#include <cstddef>

namespace densegrad {

// A trainer keeps the optimizer's state for each layer, and room for its sums over blocks.
template <class T> struct LayerState {
    T *state[2] = {nullptr, nullptr}; // of the optimizer, like the weights
    double *penalty = nullptr;        // (2, blocks): sums of w^2 and |w| of a block; null: no penalty
    double *squared_norm = nullptr;   // (blocks,): of the gradient, if it is clipped
};

template <class T> WeightArgs<T> sum(const Layer<T> &layer, const Pass<T> &pass, std::size_t l, Index rows) {
    WeightArgs<T> args{};
    args.input = pass.output[l - 1];
    args.input_stride = pass.stride;
    args.delta = layer.elementwise() ? pass.share[l] : pass.delta[l];
    args.delta_stride = pass.stride;
    args.n_rows = rows;
    args.n_in = layer.weights_in();
    args.n_out = layer.n_out;
    args.weights = layer.weights;
    args.gradient = layer.gradient;
    args.start = layer.gradient;
    args.gradient_scale = T(1);
    args.sparse = l == 1 && pass.sparse ? pass.sparse->columns() : nullptr;
    return args;
}

// PartOfSum says which part of a batch's sum is made, and where it is kept while the other parts are made.
// Its buffers hold the gradients of all layers, one layer after the other.
template <class T> struct PartOfSum {
    // (n_leaves,) as in WeightArgs; null: the rows are one leaf, or a part of it
    const Index *leaf_ends = nullptr;
    Index n_leaves = 0;
    const T *const *merges = nullptr; // (n_merges,) buffers that are added to it
    Index n_merges = 0;
    const T *start = nullptr; // buffer with the earlier rows of the leaf
    T *store = nullptr;       // buffer that it goes to

    // `at`: first number of the layer in the buffers.
    void place(WeightArgs<T> &args, Index at) const {
        args.leaf_ends = leaf_ends;
        args.n_leaves = n_leaves;
        args.merges = merges;
        args.n_merges = n_merges;
        args.merge_at = at;
        args.start = start ? start + at : nullptr;
        args.gradient = store ? store + at : nullptr;
    }
};

// mode: overwrite or accumulate.
template <class T>
WeightArgs<T> sum_and_store(const Layer<T> &layer, const Pass<T> &pass, std::size_t l, Index rows,
                            GradientMode mode) {
    WeightArgs<T> args = sum(layer, pass, l, rows);
    args.gradient_mode = mode;
    return args;
}

// The transposed copy of W_(1) is left out: training has no use for it.
template <class T> T *kept_transposed(const Layer<T> &layer, std::size_t l) {
    return l > 1 ? layer.transposed : nullptr;
}

template <class T>
void add_update(WeightArgs<T> &args, const Layer<T> &layer, const LayerState<T> &state, std::size_t l,
                const LayerStep<T> &step, bool has_penalty) {
    args.step = &step;
    args.state[0] = state.state[0];
    args.state[1] = state.state[1];
    args.transposed = kept_transposed(layer, l);
    args.penalty = has_penalty ? state.penalty : nullptr;
}

// mode: none, or consume if rows of the batch are stored already.
template <class T>
WeightArgs<T> sum_and_update(const Layer<T> &layer, const LayerState<T> &state, const Pass<T> &pass,
                             std::size_t l, Index rows, GradientMode mode, const LayerStep<T> &step,
                             bool has_penalty) {
    WeightArgs<T> args = sum(layer, pass, l, rows);
    args.gradient_mode = mode;
    add_update(args, layer, state, l, step, has_penalty);
    return args;
}

template <class T>
WeightArgs<T> refresh(const Layer<T> &layer, const LayerState<T> &state, T *transposed, bool has_penalty) {
    WeightArgs<T> args{};
    args.n_in = layer.weights_in();
    args.n_out = layer.n_out;
    args.weights = layer.weights;
    args.transposed = transposed;
    args.penalty = has_penalty ? state.penalty : nullptr;
    return args;
}

template <class T>
WeightArgs<T> update_from_stored(const Layer<T> &layer, const LayerState<T> &state, std::size_t l,
                                 const LayerStep<T> &step, T gradient_scale, bool has_penalty) {
    WeightArgs<T> args{};
    args.n_in = layer.weights_in();
    args.n_out = layer.n_out;
    args.weights = layer.weights;
    args.start = layer.gradient;
    args.gradient_mode = GradientMode::consume;
    args.gradient_scale = gradient_scale;
    add_update(args, layer, state, l, step, has_penalty);
    return args;
}

} // namespace densegrad
