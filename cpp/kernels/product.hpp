// Back propagation has three products. Each is an outer-product tile over the line-blocked layout:
//
//     c[i][j] = fma(a[i][k], b[k][j], c[i][j])     k = 0, 1, 2, ...
//
//                  b: lines k, `width` of them        i: rows of the tile
//         a          k=0  bbbb bbbb                   j: lanes of its lines
//     i=0 a a a a    k=1  bbbb bbbb
//     i=1 a a a a    k=2  bbbb bbbb
//     i=2 a a a a    ...
//                         c: one tile
//                         cccc cccc  i=0
//                         cccc cccc  i=1
//                         cccc cccc  i=2
//
// a is broadcast, b is a line, and the tile of c stays in registers over the sum:
//
//                     rows i     sum k       a             b            starts from
//     forward         samples    inputs      y_(l-1)       W_(l)        the bias row
//     input gradient  samples    outputs     delta_(l)     W_(l)^T      zero
//     weight gradient inputs     samples     y_(l-1)       delta_(l)    zero
//
// In the first two the sum runs along the lanes of a. In the third it runs along the rows of a
// (gradient.hpp).
#pragma once

#include "activations.hpp"
#include "contract.hpp"
#include "dropout.hpp"
#include "narrow.hpp"
#include "simd.hpp"
#include "sparse.hpp"
#include "split.hpp"
#include "tiles.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// An epilogue is done with a sum before it is stored. Relu and its local gradient take two or three
// instructions a register. A pass of their own over the lines would take as long as the sum of few terms.
// Other activations have such a pass (activations.hpp).
enum class Epilogue { none, relu, relu_local_gradient };

template <class T> struct RowTileArgs {
    const T *a; // row 0 of the tile, [ceil(n_sum / kLanes)][a_stride]
    Index a_stride;
    const T *b; // [width][b_stride], lines k = 0 ... n_sum - 1
    Index b_stride;
    Index n_sum;
    const T *start; // what the sums start from: row i of line j at j * start_stride + i * start_row_stride
    Index start_stride, start_row_stride;
    T *c; // row 0 of the tile, [width][c_stride]
    Index c_stride;
    Epilogue epilogue;
    const T *output; // for relu_local_gradient: y, laid out like c
    // [width][b_stride], of b, for the tiles after these: each tile prefetches next_count lines.
    const T *next;
    Index next_count;
};

// Computes `count` tiles, one below the other.
template <class T, class Line, int kRows, int kWidth>
__attribute__((noinline)) void row_tiles(const RowTileArgs<T> &args, Index count) {
    constexpr int kParts = Line::kParts;
    using V = typename Line::Part;
    using Relu = ActivationFunctor<T, Activation::relu>;
    const auto at = [&args](auto *tile, int i, int j, int q) {
        return tile + j * args.c_stride + i * kLanes<T> + q * kVecLanes<T>;
    };
    const Index a_stride = args.a_stride;
    const Index b_stride = args.b_stride;
    const T *start = args.start;
    const T *tile_a = args.a;
    T *tile_c = args.c;
    const T *output = args.output;
    const T *next = args.next;
    for (; count > 0; --count) {
        for (Index i = 0; i < args.next_count; ++i, next += kLanes<T>)
            for (int j = 0; j < kWidth; ++j)
                __builtin_prefetch(next + j * b_stride);
        V c[kRows][kWidth][kParts];
        for_each_part<kRows, kWidth, kParts>([&](int i, int j, int q) {
            c[i][j][q] =
                load_as<V>(start + j * args.start_stride + i * args.start_row_stride + q * kVecLanes<T>);
        });
        const T *a = tile_a;
        const T *b = args.b;
        Index left = args.n_sum; // at least 1
        do {
            const T *x = a;
            const T *end = a + (left < kLanes<T> ? left : kLanes<T>);
            do {
                add_term<T, kLanes<T>, kRows>(x, b, b_stride, c);
                b += kLanes<T>;
            } while (++x != end);
            a += a_stride;
            left -= kLanes<T>;
        } while (left > 0);
        if (args.epilogue == Epilogue::relu)
            for_each_part<kRows, kWidth, kParts>(
                [&](int i, int j, int q) { store<T>(at(tile_c, i, j, q), Relu::output(c[i][j][q])); });
        else if (args.epilogue == Epilogue::relu_local_gradient)
            for_each_part<kRows, kWidth, kParts>([&](int i, int j, int q) {
                const V local = Relu::local_from_output(load_as<V>(at(output, i, j, q)));
                store<T>(at(tile_c, i, j, q), c[i][j][q] * local);
            });
        else
            for_each_part<kRows, kWidth, kParts>(
                [&](int i, int j, int q) { store<T>(at(tile_c, i, j, q), c[i][j][q]); });
        tile_a += kRows * kLanes<T>;
        tile_c += kRows * kLanes<T>;
        output += kRows * kLanes<T>;
        start += kRows * args.start_row_stride;
    }
}

// Computes the tiles of `rows` x `width`, picked from the templates.
template <class T, int kRows = 1, int kWidth = 1>
DENSEGRAD_INLINE void run_row_tiles(int rows, int width, const RowTileArgs<T> &args, Index count) {
    if constexpr (kRows <= kMaxTileRows) {
        if (rows != kRows)
            return run_row_tiles<T, kRows + 1, 1>(rows, width, args, count);
        if constexpr (kWidth < max_tile_width(kRows)) {
            if (width != kWidth)
                return run_row_tiles<T, kRows, kWidth + 1>(rows, width, args, count);
        }
        row_tiles<T, FullLine<T>, kRows, kWidth>(args, count);
    }
}

template <class T, int kRows = 1>
DENSEGRAD_INLINE void run_short_row_tiles(int rows, const RowTileArgs<T> &args, Index count) {
    if constexpr (kRows <= kMaxShortTileRows) {
        if (rows != kRows)
            return run_short_row_tiles<T, kRows + 1>(rows, args, count);
        row_tiles<T, ShortLine<T>, kRows, 1>(args, count);
    }
}

template <class T> struct RowProductArgs {
    const T *a; // [ceil(n_sum / kLanes)][a_stride], row 0
    Index a_stride;
    const T *b; // [n_lines][b_stride]
    Index b_stride;
    Index n_sum;
    bool from_line; // every sum starts from line n_sum of b, else from zero
    T *c;           // [n_lines][c_stride], row 0
    Index c_stride;
    Index n_columns; // numbers wanted in a row of c: ceil(n_columns / kLanes) = n_lines
    Epilogue epilogue;
    const T *output; // as in RowTileArgs, row 0
};

// Computes c = a b for rows [row_begin, row_end), a band: few enough for their part of a to stay in the L2
// cache. It calls finish(line, row_begin, row_end) once all of these rows of a column are summed.
template <class T, class Finish>
DENSEGRAD_INLINE void row_band_product(const RowProductArgs<T> &args, Index row_begin, Index row_end,
                                       Finish finish) {
    alignas(kLineBytes) static constexpr T kZeros[kLanes<T>] = {};
    const Index rest = args.n_columns % kLanes<T>;
    const bool last_is_short = rest > 0 && rest <= kShortLanes<T>;
    const Index n_lines = line_count<T>(args.n_columns);
    const EvenSplit tiles(row_end - row_begin, args.n_sum <= kFewTerms ? kFewTermsTileRows : kMaxTileRows);
    const EvenSplit widths(n_lines - (last_is_short ? 1 : 0), max_tile_width(tiles[0]));
    const EvenSplit short_tiles(row_end - row_begin, kMaxShortTileRows);
    const bool far = args.n_sum * n_lines * kLineBytes > kNearWeightsBytes;
    RowTileArgs<T> tile;
    tile.a_stride = args.a_stride;
    tile.b_stride = args.b_stride;
    tile.c_stride = args.c_stride;
    Index k = 0;
    do {
        const Index left = args.n_sum - k;
        tile.n_sum = min_index(left, kSumSpan<T>);
        tile.epilogue = left <= kSumSpan<T> ? args.epilogue : Epilogue::none;
        // Runs all row tiles of the lines from `line` on.
        const auto run_lines = [&](Index line, int width, const EvenSplit &split, auto run) {
            tile.b = args.b + line * args.b_stride + k * kLanes<T>;
            tile.start = args.from_line ? args.b + line * args.b_stride + args.n_sum * kLanes<T> : kZeros;
            tile.start_stride = args.from_line ? args.b_stride : 0;
            tile.start_row_stride = 0;
            tile.next = tile.b + width * args.b_stride;
            tile.next_count =
                far && line + width < n_lines ? (tile.n_sum + split.count - 1) / split.count : 0;
            Index row = row_begin;
            for (int half = 0; half < 2; ++half) {
                const bool longer = half == 0;
                const Index count = longer ? split.longer : split.count - split.longer;
                const int rows = static_cast<int>(split.size) + (longer ? 1 : 0);
                if (count == 0)
                    continue;
                tile.a = args.a + k / kLanes<T> * args.a_stride + row * kLanes<T>;
                tile.c = args.c + line * args.c_stride + row * kLanes<T>;
                tile.output = args.output + line * args.c_stride + row * kLanes<T>;
                if (k > 0) {
                    tile.start = tile.c;
                    tile.start_stride = args.c_stride;
                    tile.start_row_stride = kLanes<T>;
                }
                run(rows, width, tile, count);
                tile.next += tile.next_count * count * kLanes<T>;
                row += rows * count;
            }
            if (left <= kSumSpan<T>)
                for (int j = 0; j < width; ++j)
                    finish(line + j, row_begin, row_end);
        };
        Index line = 0;
        for (Index g = 0; g < widths.count; ++g) {
            run_lines(line, widths[g], tiles,
                      [](int rows, int tile_width, const RowTileArgs<T> &a, Index count) {
                          run_row_tiles<T>(rows, tile_width, a, count);
                      });
            line += widths[g];
        }
        if (last_is_short)
            run_lines(line, 1, short_tiles, [](int rows, int, const RowTileArgs<T> &a, Index count) {
                run_short_row_tiles<T>(rows, a, count);
            });
        k += kSumSpan<T>;
    } while (k < args.n_sum);
}

template <class T, class Finish>
DENSEGRAD_INLINE void row_product(const RowProductArgs<T> &args, Index row_begin, Index row_end,
                                  Finish finish) {
    if (row_begin >= row_end)
        return;
    const Index terms = min_index(args.n_sum, kSumSpan<T>);
    const Index row_bytes = line_count<T>(terms) * kLineBytes;
    const Index fits = kBandBytes / row_bytes / kMaxTileRows * kMaxTileRows;
    const EvenSplit bands(row_end - row_begin, fits < kMinBand ? kMinBand : fits);
    Index row = row_begin;
    for (Index b = 0; b < bands.count; ++b) {
        row_band_product<T>(args, row, row + bands[b], finish);
        row += bands[b];
    }
}

template <class T> void forward(const ForwardArgs<T> &args, Index row_begin, Index row_end) {
    const bool narrow = args.n_out <= Precision<T>::max_narrow_outputs && !args.sparse;
    const bool fused = args.activation == Activation::relu && !args.local && !narrow && !args.sparse;
    const auto finish = [&](Index line, Index begin, Index end) {
        const Index at = line * args.output_stride + begin * kLanes<T>;
        T *output = args.output + at;
        T *local = args.local ? args.local + at : nullptr;
        if (!fused)
            activate<T>(args.activation, output, local, end - begin);
        if (args.dropout.threshold != 0)
            dropout<T>(args.dropout, output, local, args.first_row + begin, end - begin, line * kLanes<T>);
    };
    if (args.sparse) {
        sparse_forward<T>(args, row_begin, row_end);
        for (Index line = 0; line < line_count<T>(args.n_out); ++line)
            finish(line, row_begin, row_end);
        return;
    }
    if (narrow) {
        const Index done = narrow_forward<T>(args, row_begin, row_end);
        finish(0, row_begin, done);
        row_begin = done;
    }
    const RowProductArgs<T> product{.a = args.input,
                                    .a_stride = args.input_stride,
                                    .b = args.weights,
                                    .b_stride = (args.n_in + 1) * kLanes<T>,
                                    .n_sum = args.n_in,
                                    .from_line = true,
                                    .c = args.output,
                                    .c_stride = args.output_stride,
                                    .n_columns = args.n_out,
                                    .epilogue = fused ? Epilogue::relu : Epilogue::none,
                                    .output = args.output};
    row_product<T>(product, row_begin, row_end, finish);
}

// Turns L'_(l-1) of some rows of a line, which stands in input_delta, into delta_(l-1).
template <class T>
DENSEGRAD_INLINE void finish_input_gradient(const BackwardArgs<T> &args, Index line, Index begin, Index end) {
    const Index at = line * args.input_stride + begin * kLanes<T>;
    const Index count = (end - begin) * kLanes<T>;
    T *delta = args.input_delta + at;
    if (args.loss_gradient)
        __builtin_memcpy(args.loss_gradient + at, delta, static_cast<std::size_t>(count) * sizeof(T));
    if (args.local) {
        const T *local = args.local + at;
        for (Index i = 0; i < count; i += kVecLanes<T>)
            store<T>(delta + i, drop_negligible_delta<T>(load<T>(delta + i) * load<T>(local + i)));
    } else {
        multiply_by_local<T, true>(args.activation, args.output + at, delta, end - begin);
    }
}

template <class T> void backward(const BackwardArgs<T> &args, Index row_begin, Index row_end) {
    const bool fused = args.activation == Activation::relu && !args.local && !args.loss_gradient;
    const RowProductArgs<T> product{.a = args.delta,
                                    .a_stride = args.delta_stride,
                                    .b = args.transposed,
                                    .b_stride = args.n_out * kLanes<T>,
                                    .n_sum = args.n_out,
                                    .from_line = false,
                                    .c = args.input_delta,
                                    .c_stride = args.input_stride,
                                    .n_columns = args.n_in,
                                    .epilogue = fused ? Epilogue::relu_local_gradient : Epilogue::none,
                                    .output = args.output};
    row_product<T>(product, row_begin, row_end, [&](Index line, Index begin, Index end) {
        if (!fused)
            finish_input_gradient<T>(args, line, begin, end);
    });
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
