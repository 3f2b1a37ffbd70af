// The sizes of tiles: how many sums are kept in registers at once, beside what is multiplied.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// kTileLines: lines of c of a product that fit the registers beside a line of b and one broadcast;
// kMaxTileRows: rows of a tile. kFewTermsTileRows: rows where the sum has at most kFewTerms terms. On AVX2
// eight chains just hide the latency and start and end faster than twelve: 5 to 8 % of a product with 20
// terms, 3 % with 64, and twelve win from 100 on. kMaxGradientRows: rows of a tile of a weight gradient, as
// many as fit the registers. kNarrowChains: sums of a tile of a narrow weight gradient.
#if defined(DENSEGRAD_ISA_AVX512)
constexpr int kTileLines = 24;
constexpr int kMaxTileRows = 8;
constexpr int kFewTermsTileRows = 8;
constexpr int kMaxGradientRows = 17;
constexpr int kNarrowChains = 8;
#elif defined(DENSEGRAD_ISA_GENERIC)
constexpr int kTileLines = 3;
constexpr int kMaxTileRows = 3;
constexpr int kFewTermsTileRows = 3;
constexpr int kMaxGradientRows = 3;
constexpr int kNarrowChains = 2 * kVecs;
#elif defined(DENSEGRAD_ISA_AVX2)
constexpr int kTileLines = 6;
constexpr int kMaxTileRows = 6;
constexpr int kFewTermsTileRows = 4;
constexpr int kMaxGradientRows = 6;
constexpr int kNarrowChains = 6 * kVecs;
#else
constexpr int kTileLines = 6;
constexpr int kMaxTileRows = 6;
constexpr int kFewTermsTileRows = 6;
constexpr int kMaxGradientRows = 6;
constexpr int kNarrowChains = 6 * kVecs;
#endif
constexpr Index kFewTerms = 64;

// The widest tile of this many rows. Four lines are enough to hide the latency of the chains but for a single
// row.
constexpr int max_tile_width(int rows) {
    const int fits = kTileLines / rows;
    const int useful = rows == 1 ? 8 : 4;
    return fits < useful ? fits : useful;
}

// A short line (the last one, where few outputs are left) has chains of one part each, so tiles of its own,
// of more rows.
constexpr int kMaxShortTileRows = 2 * kMaxTileRows;
constexpr int kMaxShortGradientRows = 9;
constexpr int kMaxNarrowTile = kNarrowChains / kVecs;

// Terms of the sum that are done for all rows before the next: one column of lines of b then stays in the L1
// cache, with room for the rows, and three of them do where a tile is three lines wide.
constexpr Index kSumSpanBytes = 8 * 1024;
template <class T> constexpr Index kSumSpan = kSumSpanBytes / kLineBytes / kLanes<T> * kLanes<T>;
// Rows that are done together for all lines of b: what a span of the sum needs of a stays in the L2 cache.
constexpr Index kBandBytes = 256 * 1024;
constexpr Index kMinBand = 4 * kMaxTileRows;
// A b larger than this comes from beyond the L2 cache: its next lines are prefetched.
constexpr Index kNearWeightsBytes = 256 * 1024;

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
