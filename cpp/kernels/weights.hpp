// The weight gradient dW_(l) = [y_(l-1), 1]^T delta_(l), block by block, and the update while a block is at
// hand.
#pragma once

#include "contract.hpp"
#include "narrow.hpp"
#include "optimizers.hpp"
#include "simd.hpp"
#include "split.hpp"
#include "tiles.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// sum[i] = sum over r of y[r][i] * delta[r], one slice of the batch. kBias: the last row is the bias row,
// whose y is 1.
template <class T, class Line, int kRows, bool kBias>
__attribute__((noinline)) void gradient_tile(const T *y, const T *delta, Index n_rows, T *sum, bool add) {
    constexpr int kParts = Line::kParts;
    using V = typename Line::Part;
    constexpr int kInputs = kBias ? kRows - 1 : kRows;
    V c[kRows][kParts];
    // Unrolled here and below, or GCC clears and keeps the sums in memory first.
#pragma GCC unroll 17
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int q = 0; q < kParts; ++q)
            c[i][q] = V{};
#pragma GCC unroll 1
    for (Index r = 0; r < n_rows; ++r) {
        V line[kParts];
#pragma GCC unroll 4
        for (int q = 0; q < kParts; ++q)
            line[q] = load_as<V>(delta + r * kLanes<T> + q * kVecLanes<T>);
#pragma GCC unroll 17
        for (int i = 0; i < kInputs; ++i) {
            const V x = splat<V>(y[r * kLanes<T> + i]);
#pragma GCC unroll 4
            for (int q = 0; q < kParts; ++q)
                c[i][q] = fma(x, line[q], c[i][q]);
        }
        if constexpr (kBias)
#pragma GCC unroll 4
            for (int q = 0; q < kParts; ++q)
                c[kInputs][q] = c[kInputs][q] + line[q];
    }
#pragma GCC unroll 17
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int q = 0; q < kParts; ++q) {
            T *s = sum + i * kLanes<T> + q * kVecLanes<T>;
            store<T>(s, add ? load_as<V>(s) + c[i][q] : c[i][q]);
        }
}

template <class T, class Line, int kMaxRows, int kRows = 1>
DENSEGRAD_INLINE void run_gradient_tile(int rows, bool bias, const T *y, const T *delta, Index n_rows, T *sum,
                                        bool add) {
    if constexpr (kRows <= kMaxRows) {
        if (rows != kRows)
            return run_gradient_tile<T, Line, kMaxRows, kRows + 1>(rows, bias, y, delta, n_rows, sum, add);
        if (bias)
            gradient_tile<T, Line, kRows, true>(y, delta, n_rows, sum, add);
        else
            gradient_tile<T, Line, kRows, false>(y, delta, n_rows, sum, add);
    }
}

// Fewer chains of multiply-adds than these take as long, each waiting for its last.
constexpr int kLatencyChains = 8;
// Inputs for lanes must save a fifth of the instructions to be worth the transposition. (A half register
// counts as a whole one, which it is for a CPU with two multipliers of 512 bits; on Zen 4 the two ways then
// take about as long.)
template <class T> constexpr bool kMayBeNarrow = 5 * kLatencyChains < 4 * (kLanes<T> + 1) * kVecs;

// Where a block lies and how it is summed.
template <class T> struct Block {
    Index line, column;  // of the weights: which column of lines, which block of kLanes inputs
    int inputs, outputs; // of the block
    int rows;            // inputs, and one more where the bias row is there
    bool bias;
    bool is_short;  // all outputs are in the first part of their line
    bool is_narrow; // summed faster with inputs for lanes
    Index at;       // its first number in weights, gradient and state
};

template <class T> DENSEGRAD_INLINE Block<T> block_of(const WeightArgs<T> &args, Index number) {
    const Index columns = line_count<T>(args.n_in);
    Block<T> block;
    block.line = number / columns;
    block.column = number % columns;
    block.bias = block.column == columns - 1;
    const Index first = block.column * kLanes<T>;
    block.inputs = static_cast<int>(min_index(args.n_in - first, kLanes<T>));
    block.outputs = static_cast<int>(min_index(args.n_out - block.line * kLanes<T>, kLanes<T>));
    block.rows = block.inputs + (block.bias ? 1 : 0);
    block.is_short = block.outputs <= kShortLanes<T>;
    const int narrow_chains = block.outputs * kVecs < kLatencyChains ? kLatencyChains : block.outputs * kVecs;
    const int chains = block.rows * (block.is_short ? 1 : kVecs);
    block.is_narrow = kMayBeNarrow<T> && 5 * narrow_chains < 4 * chains;
    block.at = (block.line * (args.n_in + 1) + first) * kLanes<T>;
    return block;
}

// What is smaller comes from a cache near the core.
constexpr Index kNearBytes = 2 * 1024 * 1024;

// What the update will read of these rows, where it is too much for the caches near the core: its memory
// traffic then hides under the sums. Sums over few rows are too short to hide it: there, and where all comes
// from a near cache, the core's own prefetching does better.
template <class T> DENSEGRAD_INLINE void prefetch_rows(const WeightArgs<T> &args, Index first, int rows) {
    constexpr Index kFewRows = 32;
    const Index numbers = (args.n_in + 1) * line_count<T>(args.n_out) * kLanes<T>;
    if (!args.step || args.n_rows < kFewRows || 3 * numbers * static_cast<Index>(sizeof(T)) < kNearBytes)
        return;
    const T *const arrays[] = {args.weights, args.state[0], args.state[1] ? args.state[1] : args.state[0]};
    for (const T *array : arrays)
        for (int i = 0; i < rows; ++i)
            __builtin_prefetch(array + first + i * kLanes<T>, 1);
}

template <class T, class Line, int kMaxRows>
DENSEGRAD_INLINE void sum_block(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    const T *y = args.input + block.column * args.input_stride;
    const T *delta = args.delta + block.line * args.delta_stride;
    const EvenSplit tiles(block.rows, kMaxRows);
    bool add = args.starts_from_gradient();
    for (Index first = 0; first < args.n_rows; first += kBatchSlice) {
        const Index slice = min_index(args.n_rows - first, kBatchSlice);
        int row = 0;
        for (Index t = 0; t < tiles.count; ++t) {
            const int rows = tiles[t];
            const bool bias = block.bias && t == tiles.count - 1;
            if (first == 0)
                prefetch_rows(args, block.at + row * kLanes<T>, rows);
            run_gradient_tile<T, Line, kMaxRows>(rows, bias, y + first * kLanes<T> + row,
                                                 delta + first * kLanes<T>, slice, sum + row * kLanes<T>,
                                                 add);
            row += rows;
        }
        add = true;
    }
}

// The same with inputs for lanes, and transposed.
template <class T>
DENSEGRAD_INLINE void sum_narrow_block(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    const T *y = args.input + block.column * args.input_stride;
    const T *delta = args.delta + block.line * args.delta_stride;
    const EvenSplit tiles(block.outputs, kMaxNarrowTile);
    alignas(kLineBytes) T columns[kLanes<T> * kLanes<T>];
    if (args.starts_from_gradient())
        transpose_columns<T>(sum, kLanes<T>, columns, kLanes<T>, block.outputs, block.inputs);
    prefetch_rows(args, block.at, block.rows);
    bool add = args.starts_from_gradient();
    for (Index first = 0; first < args.n_rows; first += kBatchSlice) {
        const Index slice = min_index(args.n_rows - first, kBatchSlice);
        const T *slice_delta = delta + first * kLanes<T>;
        int output = 0;
        for (Index t = 0; t < tiles.count; ++t) {
            run_narrow_gradient_tile<T>(tiles[t], y + first * kLanes<T>, slice_delta + output, slice,
                                        columns + output * kLanes<T>, add);
            output += tiles[t];
        }
        if (block.bias)
            gradient_tile<T, FullLine<T>, 1, true>(nullptr, slice_delta, slice,
                                                   sum + block.inputs * kLanes<T>, add);
        add = true;
    }
    if (block.inputs == kLanes<T>) {
        transpose_rows<T>(columns, kLanes<T>, sum, kLanes<T>, block.outputs);
        return;
    }
    alignas(kLineBytes) T lines[kLanes<T> * kLanes<T>]; // in `sum` the bias row would be overwritten
    transpose_rows<T>(columns, kLanes<T>, lines, kLanes<T>, block.outputs);
    __builtin_memcpy(sum, lines, static_cast<std::size_t>(block.inputs) * kLineBytes);
}

template <class T, Optimizer kOptimizer, class Line>
DENSEGRAD_INLINE void update_lines(const OptimizerStep<T> &step, bool penalised, int lines, const T *sum,
                                   T *weights, T *state_0, T *state_1) {
    using V = typename Line::Part;
    const OptimizerFunctor<T, kOptimizer> update(step, penalised);
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
void update_block(const OptimizerStep<T> &shared_step, const Block<T> &block, const T *sum, T *weights,
                  T *state_0, T *state_1) {
    const OptimizerStep<T> step = shared_step; // nothing that is stored below can be a part of it
    update_lines<T, kOptimizer, Line>(step, true, block.inputs, sum, weights, state_0, state_1);
    if (block.bias) {
        const Index at = block.inputs * kLanes<T>;
        update_lines<T, kOptimizer, Line>(step, false, 1, sum + at, weights + at, state_0 + at,
                                          state_1 ? state_1 + at : nullptr);
    }
}

template <class T, int kId = 0>
DENSEGRAD_INLINE void run_update_block(const OptimizerStep<T> &step, const Block<T> &block, const T *sum,
                                       T *weights, T *state_0, T *state_1) {
    if constexpr (kId < kOptimizerCount) {
        constexpr Optimizer kOptimizer = static_cast<Optimizer>(kId);
        if (step.optimizer == kOptimizer)
            return block.is_short ? update_block<T, kOptimizer, ShortLine<T>>(step, block, sum, weights,
                                                                              state_0, state_1)
                                  : update_block<T, kOptimizer, FullLine<T>>(step, block, sum, weights,
                                                                             state_0, state_1);
        run_update_block<T, kId + 1>(step, block, sum, weights, state_0, state_1);
    }
}

template <class T> DENSEGRAD_INLINE T *copy_of_block(const WeightArgs<T> &args, const Block<T> &block) {
    return args.transposed + (block.column * args.n_out + block.line * kLanes<T>)*kLanes<T>;
}

// A large copy is written to here and there, a kilobyte at a time, which the core cannot foresee.
template <class T> DENSEGRAD_INLINE void prefetch_copy(const WeightArgs<T> &args, const Block<T> &block) {
    if (args.n_in * args.n_out * static_cast<Index>(sizeof(T)) < kNearBytes)
        return;
    const T *destination = copy_of_block(args, block);
    for (int i = 0; i < block.outputs; ++i)
        __builtin_prefetch(destination + i * kLanes<T>, 1);
}

// The transposed copy of a block: lanes of W become rows of W^T.
template <class T> DENSEGRAD_INLINE void transpose_weights(const WeightArgs<T> &args, const Block<T> &block) {
    T *destination = copy_of_block(args, block);
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

// Sums over the lanes of a line, in one fixed tree: halves of the line are added until one number is left.
template <class T> DENSEGRAD_INLINE double line_sum(const T *line, Index lanes) {
    T s[kLanes<T>];
    for (Index i = 0; i < kLanes<T>; ++i)
        s[i] = i < lanes ? line[i] : T(0);
    for (Index half = kLanes<T> / 2; half > 0; half /= 2)
        for (Index i = 0; i < half; ++i)
            s[i] = s[i] + s[i + half];
    return static_cast<double>(s[0]);
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
    alignas(kLineBytes) T line[kLanes<T>];
    for (int q = 0; q < kVecs; ++q)
        store<T>(line + q * kVecLanes<T>, squares[q]);
    out[0] = line_sum<T>(line, block.outputs);
    for (int q = 0; q < kVecs; ++q)
        store<T>(line + q * kVecLanes<T>, sizes[q]);
    out[blocks] = line_sum<T>(line, block.outputs);
}

template <class T> void update_weights(const WeightArgs<T> &args, Index block_begin, Index block_end) {
    const Index blocks = block_count<T>(args.n_in, args.n_out);
    alignas(kLineBytes) T sum[(kLanes<T> + 1) * kLanes<T>];
    for (Index b = block_begin; b < block_end; ++b) {
        const Block<T> block = block_of(args, b);
        const std::size_t bytes = static_cast<std::size_t>(block.rows) * kLineBytes;
        if (args.starts_from_gradient())
            __builtin_memcpy(sum, args.gradient + block.at, bytes);
        if (kMayBeNarrow<T> && block.is_narrow && args.n_rows > 0)
            sum_narrow_block<T>(args, block, sum);
        else if (block.is_short)
            sum_block<T, ShortLine<T>, kMaxShortGradientRows>(args, block, sum);
        else
            sum_block<T, FullLine<T>, kMaxGradientRows>(args, block, sum);
        if (args.stores_gradient())
            __builtin_memcpy(args.gradient + block.at, sum, bytes);
        if (args.step) {
            if (args.transposed)
                prefetch_copy(args, block);
            if (args.gradient_scale != T(1))
                for (int i = 0; i < block.rows * kLanes<T>; ++i)
                    sum[i] = sum[i] * args.gradient_scale;
            run_update_block<T>(*args.step, block, sum, args.weights + block.at, args.state[0] + block.at,
                                args.state[1] ? args.state[1] + block.at : nullptr);
        }
        if (args.transposed)
            transpose_weights<T>(args, block);
        if (args.penalty)
            penalty_of_block<T>(args, block, args.penalty + b, blocks);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
