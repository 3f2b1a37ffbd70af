// The weight gradient is dW_(l) = [y_(l-1), 1]^T delta_(l). It is summed block by block, and a block is
// updated while it is at hand.
#pragma once

#include "contract.hpp"
#include "narrow.hpp"
#include "optimizers.hpp"
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
