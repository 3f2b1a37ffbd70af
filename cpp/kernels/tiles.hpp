// A tile is the sums that are kept in registers at once, beside what is multiplied. This file sets the sizes
// of tiles, and adds one term to their sums.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// kTileLines: lines of c of a product that fit the registers beside a line of b and one broadcast.
// kMaxTileRows: rows of a tile.
// kFewTermsTileRows: rows if the sum has at most kFewTerms terms. On AVX2 eight chains just hide the latency,
// and they start and end faster than twelve. They save 5 to 8 % of a product with 20 terms and 3 % with 64,
// but twelve win from 100 on.
// kGradientLines: lines of deltas of a tile of a weight gradient. With AVX-512 it has two if it can. With one
// line each multiply-add needs a load, and a core with two multipliers waits for its loads.
// kMaxGradientRows: rows of a tile of one line, as many as fit the registers.
// kNarrowChains: sums of a tile of a narrow weight gradient.
#if defined(DENSEGRAD_ISA_AVX512)
constexpr int kTileLines = 24;
constexpr int kMaxTileRows = 8;
constexpr int kFewTermsTileRows = 8;
constexpr int kGradientLines = 2;
constexpr int kMaxGradientRows = 17;
constexpr int kNarrowChains = 8;
#elif defined(DENSEGRAD_ISA_GENERIC)
constexpr int kTileLines = 3;
constexpr int kMaxTileRows = 3;
constexpr int kFewTermsTileRows = 3;
constexpr int kGradientLines = 1;
constexpr int kMaxGradientRows = 3;
constexpr int kNarrowChains = 2 * kVecs;
#elif defined(DENSEGRAD_ISA_AVX2)
constexpr int kTileLines = 6;
constexpr int kMaxTileRows = 6;
constexpr int kFewTermsTileRows = 4;
constexpr int kGradientLines = 1;
constexpr int kMaxGradientRows = 6;
constexpr int kNarrowChains = 6 * kVecs;
#else
constexpr int kTileLines = 6;
constexpr int kMaxTileRows = 6;
constexpr int kFewTermsTileRows = 6;
constexpr int kGradientLines = 1;
constexpr int kMaxGradientRows = 6;
constexpr int kNarrowChains = 6 * kVecs;
#endif
constexpr Index kFewTerms = 64;

// Gives the widest tile of this many rows. Four lines are enough to hide the latency of the chains, except
// for a single row.
constexpr int max_tile_width(int rows) {
    const int fits = kTileLines / rows;
    const int useful = rows == 1 ? 8 : 4;
    return fits < useful ? fits : useful;
}

// Gives the rows of a tile of a weight gradient.
constexpr int max_gradient_rows(int lines) { return lines == 1 ? kMaxGradientRows : kTileLines / lines; }

// A line is short if it is the last one and few outputs are left. Its chains are of one part each, so it has
// tiles of its own, of more rows.
constexpr int kMaxShortTileRows = 2 * kMaxTileRows;
constexpr int kMaxShortGradientRows = 9;
constexpr int kMaxNarrowTile = kNarrowChains / kVecs;

// All rows add these terms of the sum before the next ones. One column of lines of b then stays in the L1
// cache, with room for the rows. If a tile is three lines wide, three columns do.
constexpr Index kSumSpanBytes = Index{8} * 1024;
template <class T> constexpr Index kSumSpan = kSumSpanBytes / kLineBytes / kLanes<T> * kLanes<T>;
// These rows are done together for all lines of b: what a span of the sum needs of a stays in the L2 cache.
constexpr Index kBandBytes = Index{256} * 1024;
constexpr Index kMinBand = Index{4} * kMaxTileRows;
// If b is larger than this, it comes from beyond the L2 cache: its next lines are prefetched.
constexpr Index kNearWeightsBytes = Index{256} * 1024;

// Adds one term of the sum to the first kCount rows of a tile. a[i] is at a + i * kStep, and line j of b at
// b + j * b_stride.
template <class T, int kStep, int kCount, int kRows, int kWidth, int kParts, class V>
DENSEGRAD_INLINE void add_term(const T *a, const T *b, Index b_stride, V (&c)[kRows][kWidth][kParts]) {
    V line[kWidth][kParts];
#pragma GCC unroll 8
    for (int j = 0; j < kWidth; ++j)
#pragma GCC unroll 4
        for (int q = 0; q < kParts; ++q)
            line[j][q] = load_as<V>(b + j * b_stride + q * kVecLanes<T>);
#pragma GCC unroll 17
    for (int i = 0; i < kCount; ++i) {
        const V x = splat<V>(a[Index{i} * kStep]);
#pragma GCC unroll 8
        for (int j = 0; j < kWidth; ++j)
#pragma GCC unroll 4
            for (int q = 0; q < kParts; ++q)
                c[i][j][q] = fma(x, line[j][q], c[i][j][q]);
    }
}

// Calls visit(row, line, part of the line) for a tile, unrolled.
template <int kRows, int kWidth, int kParts, class Visit> DENSEGRAD_INLINE void for_each_part(Visit visit) {
#pragma GCC unroll 17
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kWidth; ++j)
#pragma GCC unroll 4
            for (int q = 0; q < kParts; ++q)
                visit(i, j, q);
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
