// Weights are updated block by block, each while its gradient is at hand. The transposed copy and the
// penalties follow.
#pragma once

#include "contract.hpp"
#include "gradient.hpp"
#include "optimizers.hpp"
#include "simd.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T, Optimizer kOptimizer, class Line>
DENSEGRAD_INLINE void update_lines(const OptimizerStep<T> &step, int lines, const T *sum, T *weights,
                                   T *state_0, T *state_1) {
    using V = typename Line::Part;
    const OptimizerFunctor<T, kOptimizer> update(step);
    for (Index line = 0; line < lines; ++line)
        for (int q = 0; q < Line::kParts; ++q) {
            const Index at = line * kLanes<T> + q * kVecLanes<T>;
            V w = load_as<V>(weights + at);
            V s0 = load_as<V>(state_0 + at);
            V s1 = state_1 ? load_as<V>(state_1 + at) : V{};
            update(load_as<V>(sum + at), w, s0, s1);
            store<T>(weights + at, w);
            store<T>(state_0 + at, s0);
            if (state_1)
                store<T>(state_1 + at, s1);
        }
}

template <class T, Optimizer kOptimizer, class Line>
void update_block(const LayerStep<T> &step, const Block<T> &block, const T *sum, T *weights, T *state_0,
                  T *state_1) {
    update_lines<T, kOptimizer, Line>(step.weights, block.inputs, sum, weights, state_0, state_1);
    if (block.bias) {
        const Index at = block.inputs * kLanes<T>;
        update_lines<T, kOptimizer, Line>(step.bias, 1, sum + at, weights + at, state_0 + at,
                                          state_1 ? state_1 + at : nullptr);
    }
}

template <class T, int kId = 0>
DENSEGRAD_INLINE void run_update_block(const LayerStep<T> &step, const Block<T> &block, const T *sum,
                                       T *weights, T *state_0, T *state_1) {
    if constexpr (kId < kOptimizerCount) {
        constexpr Optimizer kOptimizer = static_cast<Optimizer>(kId);
        if (step.weights.optimizer == kOptimizer)
            return block.is_short ? update_block<T, kOptimizer, ShortLine<T>>(step, block, sum, weights,
                                                                              state_0, state_1)
                                  : update_block<T, kOptimizer, FullLine<T>>(step, block, sum, weights,
                                                                             state_0, state_1);
        run_update_block<T, kId + 1>(step, block, sum, weights, state_0, state_1);
    }
}

template <class T> DENSEGRAD_INLINE T *copy_of_block(const WeightArgs<T> &args, const Block<T> &block) {
    return args.transposed + (block.column * args.n_out + block.panel * kLanes<T>)*kLanes<T>;
}

// A large copy is written to here and there, one or two kilobytes at a time. The core cannot foresee that.
template <class T> DENSEGRAD_INLINE void prefetch_copy(const WeightArgs<T> &args, const Block<T> &block) {
    if (!args.step || !args.transposed || args.n_in * args.n_out * static_cast<Index>(sizeof(T)) < kNearBytes)
        return;
    const T *destination = copy_of_block(args, block);
    for (int i = 0; i < block.outputs; ++i)
        __builtin_prefetch(destination + i * kLanes<T>, 1);
}

// Makes the transposed copy of a block: lanes of W become rows of W^T.
template <class T> DENSEGRAD_INLINE void transpose_weights(const WeightArgs<T> &args, const Block<T> &block) {
    T *destination = copy_of_block(args, block);
    if (block.outputs == kLanes<T> && block.inputs == kLanes<T>) {
        transpose_square<T>(args.weights + block.at, kLanes<T>, destination, kLanes<T>);
        return;
    }
    if (block.outputs % kCell<T> == 0) {
        transpose_columns<T>(args.weights + block.at, kLanes<T>, destination, kLanes<T>, block.outputs,
                             block.inputs);
        return;
    }
    // The lines behind the last output belong to another block.
    alignas(kLineBytes) T lines[kLanes<T> * kLanes<T>];
    transpose_columns<T>(args.weights + block.at, kLanes<T>, lines, kLanes<T>, block.outputs, block.inputs);
    __builtin_memcpy(destination, lines, static_cast<std::size_t>(block.outputs) * kLineBytes);
}

// Sums over the lanes of a register, in one fixed tree: its halves are added until one number is left.
template <class T, int kCount, class V> DENSEGRAD_INLINE T lane_sum(V v) {
    if constexpr (kCount == 2) {
        return v[0] + v[1];
    } else {
        typedef T Half __attribute__((vector_size(kCount / 2 * sizeof(T))));
        Half halves[2];
        __builtin_memcpy(halves, &v, sizeof(v));
        return lane_sum<T, kCount / 2>(halves[0] + halves[1]);
    }
}

// Does so with the first `lanes` of a line.
template <class T> DENSEGRAD_INLINE double line_sum(const Vec<T> (&line)[kVecs], int lanes) {
    Vec<T> s[kVecs];
    for (int q = 0; q < kVecs; ++q) {
        const Int<T> wanted = lane_numbers<T>() < static_cast<IntLane<T>>(lanes - q * kVecLanes<T>);
        s[q] = wanted ? line[q] : Vec<T>{};
    }
    for (int half = kVecs / 2; half > 0; half /= 2)
        for (int q = 0; q < half; ++q)
            s[q] = s[q] + s[q + half];
    return static_cast<double>(lane_sum<T, kVecLanes<T>>(s[0]));
}

template <class T>
DENSEGRAD_INLINE void penalty_of_block(const WeightArgs<T> &args, const Block<T> &block, double *out,
                                       Index blocks) {
    Vec<T> squares[kVecs], sizes[kVecs];
    for (int q = 0; q < kVecs; ++q)
        squares[q] = sizes[q] = Vec<T>{};
    for (int i = 0; i < block.inputs; ++i)
        for (int q = 0; q < kVecs; ++q) {
            const Vec<T> w = load<T>(args.weights + block.at + i * kLanes<T> + q * kVecLanes<T>);
            squares[q] = fma(w, w, squares[q]);
            sizes[q] = sizes[q] + abs<T>(w);
        }
    out[0] = line_sum<T>(squares, block.outputs);
    out[blocks] = line_sum<T>(sizes, block.outputs);
}

// Does what comes after the sum, which it may overwrite.
template <class T>
DENSEGRAD_INLINE void finish_block(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    if (args.stores_gradient())
        __builtin_memcpy(args.gradient + block.at, sum, block.bytes());
    if (args.step) {
        if (args.gradient_scale != T(1))
            for (int i = 0; i < block.rows * kLanes<T>; ++i)
                sum[i] = sum[i] * args.gradient_scale;
        run_update_block<T>(*args.step, block, sum, args.weights + block.at, args.state[0] + block.at,
                            args.state[1] ? args.state[1] + block.at : nullptr);
    }
    if (args.transposed)
        transpose_weights<T>(args, block);
    if (args.penalty)
        penalty_of_block<T>(args, block, args.penalty + block.in_panels,
                            block_count<T>(args.n_in, args.n_out));
}

template <class T> void update_weights(const WeightArgs<T> &args, Index block_begin, Index block_end) {
    alignas(kLineBytes) T sum[kGradientLines * kSumNumbers<T>];
    BlockPosition<T> position(args.n_in, args.n_out, block_begin);
    for (Index left = block_end - block_begin; left > 0;) {
        Block<T> blocks[kGradientLines] = {block_at(args, position)};
        int count = 1;
        position.next();
        if constexpr (kGradientLines == 2)
            if (left > 1) {
                blocks[1] = block_at(args, position);
                if (blocks[0].may_share_tile_with(blocks[1])) {
                    count = 2;
                    position.next();
                }
            }
        for (int j = 0; j < count; ++j)
            prefetch_copy(args, blocks[j]);
        if (args.starts_from_gradient())
            for (int j = 0; j < count; ++j)
                __builtin_memcpy(sum + j * kSumNumbers<T>, args.start + blocks[j].at, blocks[j].bytes());
        if (args.leaf_ends)
            sum_leaves(args, blocks, count, sum);
        else
            sum_rows(args, blocks, count, sum);
        for (Index m = args.n_merges; m-- > 0;)
            for (int j = 0; j < count; ++j)
                add_sum(args.merges[m] + args.merge_at + blocks[j].at, sum + j * kSumNumbers<T>,
                        blocks[j].rows);
        for (int j = 0; j < count; ++j)
            finish_block<T>(args, blocks[j], sum + j * kSumNumbers<T>);
        left -= count;
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
