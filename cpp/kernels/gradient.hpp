// The weight gradient is dW_(l) = [y_(l-1), 1]^T delta_(l). It is summed block by block.
#pragma once

#include "contract.hpp"
#include "narrow.hpp"
#include "simd.hpp"
#include "sparse.hpp"
#include "split.hpp"
#include "tiles.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// The sum of a block has so many numbers: its inputs and the bias row.
template <class T> constexpr int kSumNumbers = (kLanes<T> + 1) * kLanes<T>;

// sum[j][i] = sum over r of y[r][i] * delta[j][r], one slice of the batch. j: lines of deltas, each its block
// of sums. kBias: the last row is the bias row, whose y is 1.
template <class T, class Line, int kRows, int kWidth, bool kBias>
__attribute__((noinline)) void gradient_tile(const T *y, const T *delta, Index delta_stride, Index n_rows,
                                             T *sum, bool add) {
    constexpr int kParts = Line::kParts;
    using V = typename Line::Part;
    constexpr int kInputs = kBias ? kRows - 1 : kRows;
    V c[kRows][kWidth][kParts];
    for_each_part<kRows, kWidth, kParts>([&](int i, int j, int q) { c[i][j][q] = V{}; });
#pragma GCC unroll 1
    for (Index r = 0; r < n_rows; ++r) {
        const T *line = delta + r * kLanes<T>;
        add_term<T, 1, kInputs>(y + r * kLanes<T>, line, delta_stride, c);
        if constexpr (kBias)
            for_each_part<1, kWidth, kParts>([&](int, int j, int q) {
                c[kInputs][j][q] = c[kInputs][j][q] + load_as<V>(line + j * delta_stride + q * kVecLanes<T>);
            });
    }
    for_each_part<kRows, kWidth, kParts>([&](int i, int j, int q) {
        T *s = sum + j * kSumNumbers<T> + i * kLanes<T> + q * kVecLanes<T>;
        store<T>(s, add ? load_as<V>(s) + c[i][j][q] : c[i][j][q]);
    });
}

template <class T, class Line, int kMaxRows, int kWidth, int kRows = 1>
DENSEGRAD_INLINE void run_gradient_tile(int rows, bool bias, const T *y, const T *delta, Index delta_stride,
                                        Index n_rows, T *sum, bool add) {
    if constexpr (kRows <= kMaxRows) {
        if (rows != kRows)
            return run_gradient_tile<T, Line, kMaxRows, kWidth, kRows + 1>(rows, bias, y, delta, delta_stride,
                                                                           n_rows, sum, add);
        if (bias)
            gradient_tile<T, Line, kRows, kWidth, true>(y, delta, delta_stride, n_rows, sum, add);
        else
            gradient_tile<T, Line, kRows, kWidth, false>(y, delta, delta_stride, n_rows, sum, add);
    }
}

// Fewer chains of multiply-adds than these take as long, because each waits for its last.
constexpr int kLatencyChains = 8;
// Inputs for lanes must save a fifth of the instructions to be worth the transposition. A half register
// counts as a whole one, as it does on a CPU with two multipliers of 512 bits. On Zen 4 the two ways then
// take about as long.
template <class T> constexpr bool kMayBeNarrow = 5 * kLatencyChains < 4 * (kLanes<T> + 1) * kVecs;

// Block says where a block lies and how it is summed.
template <class T> struct Block {
    Index panel, column;
    Index in_panels;     // (BlockPosition)
    int inputs, outputs; // of the block
    int rows;            // inputs, and one more if the bias row is there
    bool bias;
    bool is_short;  // all outputs are in the first part of their line
    bool is_narrow; // summed faster with inputs for lanes
    Index at;       // its first number in weights, gradient and state

    std::size_t bytes() const { return static_cast<std::size_t>(rows) * kLineBytes; }
    // True if both are full lines, and of the same inputs.
    bool may_share_tile_with(const Block &next) const {
        return next.panel == panel + 1 && next.column == column &&
               !(is_short || is_narrow || next.is_short || next.is_narrow);
    }
};

template <class T>
DENSEGRAD_INLINE Block<T> block_at(const WeightArgs<T> &args, const BlockPosition<T> &position) {
    const Index first = position.column * kLanes<T>;
    Block<T> block;
    block.panel = position.panel;
    block.column = position.column;
    block.in_panels = position.in_panels();
    block.bias = position.column == position.columns - 1;
    block.inputs = static_cast<int>(min_index(args.n_in - first, kLanes<T>));
    block.outputs = static_cast<int>(min_index(args.n_out - position.panel * kLanes<T>, kLanes<T>));
    block.rows = block.inputs + (block.bias ? 1 : 0);
    block.is_short = block.outputs <= kShortLanes<T>;
    const int narrow_chains = block.outputs * kVecs < kLatencyChains ? kLatencyChains : block.outputs * kVecs;
    const int chains = block.rows * (block.is_short ? 1 : kVecs);
    block.is_narrow = kMayBeNarrow<T> && 5 * narrow_chains < 4 * chains;
    block.at = (position.panel * (args.n_in + 1) + first) * kLanes<T>;
    return block;
}

// What is smaller comes from a cache near the core.
constexpr Index kNearBytes = Index{2} * 1024 * 1024;

// Prefetches what the update will read of these rows, if it is too much for the caches near the core. Its
// memory traffic then hides under the sums. Sums over few rows are too short to hide it. For them, and if all
// comes from a near cache, the core's own prefetching does better.
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

// sum: kWidth times kSumNumbers, of this block and of those in the next panels that have the same inputs.
template <class T, class Line, int kMaxRows, int kWidth>
DENSEGRAD_INLINE void sum_blocks(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    const T *y = args.input + block.column * args.input_stride;
    const T *delta = args.delta + block.panel * args.delta_stride;
    const Index panel = (args.n_in + 1) * kLanes<T>;
    const EvenSplit tiles(block.rows, kMaxRows);
    bool add = args.starts_from_gradient();
    for (Index first = 0; first < args.n_rows; first += kBatchSlice) {
        const Index slice = min_index(args.n_rows - first, kBatchSlice);
        int row = 0;
        for (Index t = 0; t < tiles.count; ++t) {
            const int rows = tiles[t];
            const bool bias = block.bias && t == tiles.count - 1;
            for (int j = 0; first == 0 && j < kWidth; ++j)
                prefetch_rows(args, block.at + j * panel + row * kLanes<T>, rows);
            run_gradient_tile<T, Line, kMaxRows, kWidth>(rows, bias, y + first * kLanes<T> + row,
                                                         delta + first * kLanes<T>, args.delta_stride, slice,
                                                         sum + row * kLanes<T>, add);
            row += rows;
        }
        add = true;
    }
}

// Does the same with inputs for lanes, and transposed.
template <class T>
DENSEGRAD_INLINE void sum_narrow_block(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    const T *y = args.input + block.column * args.input_stride;
    const T *delta = args.delta + block.panel * args.delta_stride;
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
            gradient_tile<T, FullLine<T>, 1, 1, true>(nullptr, slice_delta, 0, slice,
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

// Sums a line of deltas over the batch, in slices.
template <class T> DENSEGRAD_INLINE void sum_biases(const WeightArgs<T> &args, Index panel, T *sum) {
    const T *delta = args.delta + panel * args.delta_stride;
    bool add = args.starts_from_gradient();
    for (Index first = 0; first < args.n_rows; first += kBatchSlice, add = true)
        gradient_tile<T, FullLine<T>, 1, 1, true>(nullptr, delta + first * kLanes<T>, 0,
                                                  min_index(args.n_rows - first, kBatchSlice), sum, add);
}

// Does what sum_blocks does, if the columns of the batch are sparse.
template <class T, int kWidth>
DENSEGRAD_INLINE void sum_sparse_blocks(const WeightArgs<T> &args, const Block<T> &block, T *sum) {
    // These sums are too short to hide the update's memory traffic, but those of some blocks do.
    constexpr Index kAhead = 4 * kLanes<T> * kLanes<T>;
    const Index panel = (args.n_in + 1) * kLanes<T>;
    const Index last = panel - kLanes<T> * kLanes<T>;
    const Index ahead = block.panel * panel + min_index(block.at - block.panel * panel + kAhead, last);
    for (int j = 0; last > 0 && j < kWidth; ++j)
        prefetch_rows(args, ahead + j * panel, kLanes<T>);
    if (!args.starts_from_gradient())
        __builtin_memset(sum, 0, sizeof(T) * kWidth * kSumNumbers<T>);
    for (int i = 0; i < block.inputs; ++i)
        sum_sparse_column<T, kWidth>(args, block.panel, block.column * kLanes<T> + i, sum + i * kLanes<T>,
                                     kSumNumbers<T>);
    for (int j = 0; block.bias && j < kWidth; ++j)
        sum_biases<T>(args, block.panel + j, sum + j * kSumNumbers<T> + block.inputs * kLanes<T>);
}

// Sums the rows into one block, or into two that share their inputs.
template <class T>
DENSEGRAD_INLINE void sum_rows(const WeightArgs<T> &args, const Block<T> *blocks, int count, T *sum) {
    if (args.sparse && count == 2)
        sum_sparse_blocks<T, kGradientLines>(args, blocks[0], sum);
    else if (args.sparse)
        sum_sparse_blocks<T, 1>(args, blocks[0], sum);
    else if (count == 2)
        sum_blocks<T, FullLine<T>, max_gradient_rows(kGradientLines), kGradientLines>(args, blocks[0], sum);
    else if (kMayBeNarrow<T> && blocks[0].is_narrow && args.n_rows > 0)
        sum_narrow_block<T>(args, blocks[0], sum);
    else if (blocks[0].is_short)
        sum_blocks<T, ShortLine<T>, kMaxShortGradientRows, 1>(args, blocks[0], sum);
    else
        sum_blocks<T, FullLine<T>, max_gradient_rows(1), 1>(args, blocks[0], sum);
}

// Computes sum = other + sum.
template <class T> DENSEGRAD_INLINE void add_sum(const T *other, T *sum, int rows) {
    for (int i = 0; i < rows * kVecs; ++i)
        store<T>(sum + i * kVecLanes<T>, load<T>(other + i * kVecLanes<T>) + load<T>(sum + i * kVecLanes<T>));
}

// Does as sum_rows for each leaf, and adds the leaves in their tree: sums wait on a stack for what comes from
// the other side.
template <class T>
__attribute__((noinline)) void sum_leaves(const WeightArgs<T> &args, const Block<T> *blocks, int count,
                                          T *sum) {
    constexpr int kLevels = 11;
    static_assert(kMaxLeaves == 1 << (kLevels - 1));
    constexpr int kNumbers = kGradientLines * kSumNumbers<T>;
    alignas(kLineBytes) T stack[kLevels][kNumbers];
    int depth = 0;
    const auto add_top = [&] {
        --depth;
        for (int j = 0; j < count; ++j)
            add_sum(stack[depth] + j * kSumNumbers<T>, stack[depth - 1] + j * kSumNumbers<T>, blocks[j].rows);
    };
    Index begin = 0;
    for (Index leaf = 0; leaf < args.n_leaves; ++leaf) {
        const Index end = args.leaf_ends[leaf];
        WeightArgs<T> part = args;
        part.input = args.input + begin * kLanes<T>;
        part.delta = args.delta + begin * kLanes<T>;
        part.n_rows = end - begin;
        part.gradient_mode = GradientMode::none;
        if (leaf < args.n_leaves - 1)
            part.step = nullptr; // what the update reads is prefetched during the last sum
        if (part.n_rows > 0)
            sum_rows(part, blocks, count, stack[depth]);
        else
            __builtin_memset(stack[depth], 0, sizeof(stack[depth]));
        ++depth;
        for (Index i = leaf; i % 2 == 1; i /= 2)
            add_top();
        begin = end;
    }
    while (depth > 1) // NOLINT(bugprone-infinite-loop): add_top counts down
        add_top();
    for (int j = 0; j < count; ++j)
        __builtin_memcpy(sum + j * kSumNumbers<T>, stack[0] + j * kSumNumbers<T>, blocks[j].bytes());
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
