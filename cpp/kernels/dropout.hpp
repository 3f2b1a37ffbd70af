// Dropout sets units to zero by a mask that is drawn from counters. So the mask depends neither on threads
// nor on the instruction set nor on the precision.
//
// The 32 random bits of (key, row, unit) are these, with all arithmetic modulo 2^64 and 2^32:
//
//     s = key + (row + 1) * 0x9e3779b97f4a7c15          splitmix64, once for a row
//     s = (s ^ s >> 30) * 0xbf58476d1ce4e5b9
//     s = (s ^ s >> 27) * 0x94d049bb133111eb
//     s = s ^ s >> 31
//
//     h = unit * 0x9e3779b9 + low half of s
//     h = (h ^ h >> 16) * 0x7feb352d
//     h = h ^ high half of s
//     h = (h ^ h >> 15) * 0x846ca68b
//     h = h ^ h >> 16
//
// A unit is dropped if h < threshold.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

typedef std::uint32_t HashVec __attribute__((vector_size(kVecBytes)));

// RowKey has the two halves of s.
struct RowKey {
    std::uint32_t low, high;
};

DENSEGRAD_INLINE RowKey dropout_row_key(std::uint64_t key, Index row) {
    std::uint64_t s = key + (static_cast<std::uint64_t>(row) + 1) * 0x9e3779b97f4a7c15u;
    s = (s ^ s >> 30) * 0xbf58476d1ce4e5b9u;
    s = (s ^ s >> 27) * 0x94d049bb133111ebu;
    s = s ^ s >> 31;
    return {static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32)};
}

DENSEGRAD_INLINE HashVec dropout_hash(HashVec unit, RowKey key) {
    HashVec h = unit * 0x9e3779b9u + key.low;
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = h ^ key.high;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    return h ^ (h >> 16);
}

// Gives the lanes of T that stay. A float64 lane is two lanes of the hash; the lower one counts.
DENSEGRAD_INLINE IntF dropout_keeps(HashVec hash, std::uint32_t threshold, float) {
    return hash >= threshold;
}
DENSEGRAD_INLINE IntD dropout_keeps(HashVec hash, std::uint32_t threshold, double) {
    return ((IntD)hash & 0xffffffff) >= static_cast<std::int64_t>(threshold);
}

// Multiplies y and local (null: none) of one column of lines by the mask times the scale. The column's first
// unit is first_unit. Row 0 of the pointers is row first_row of the batch.
template <class T>
void dropout(const DropoutArgs<T> &args, T *y, T *local, Index first_row, Index rows, Index first_unit) {
    constexpr int hashes_per_lane = static_cast<int>(sizeof(T) / sizeof(std::uint32_t));
    HashVec unit[kVecs] = {};
    for (int v = 0; v < kVecs; ++v)
        for (int i = 0; i < kVecLanes<float>; ++i)
            unit[v][i] = static_cast<std::uint32_t>(first_unit) +
                         static_cast<std::uint32_t>(v * kVecLanes<T> + i / hashes_per_lane);
    for (Index r = 0; r < rows; ++r) {
        const RowKey key = dropout_row_key(args.key, first_row + r);
        for (int v = 0; v < kVecs; ++v) {
            const Int<T> keeps = dropout_keeps(dropout_hash(unit[v], key), args.threshold, T());
            const Index at = r * kLanes<T> + v * kVecLanes<T>;
            store<T>(y + at, keeps ? load<T>(y + at) * args.scale : Vec<T>{});
            if (local)
                store<T>(local + at, keeps ? load<T>(local + at) * args.scale : Vec<T>{});
        }
    }
}

template <class T> void mask(const MaskArgs<T> &args, Index row_begin, Index row_end) {
    for (Index line = 0; line < line_count<T>(args.n_out); ++line) {
        const Index at = line * args.stride + row_begin * kLanes<T>;
        dropout<T>(args.dropout, args.output + at, args.local ? args.local + at : nullptr,
                   args.first_row + row_begin, row_end - row_begin, line * kLanes<T>);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
