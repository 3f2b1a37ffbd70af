// A group is kLanes rows of the head in transposed form: line c holds output c of all rows of the group.
//
// Lines of the head hold the outputs of one row. In a group, sums over the outputs go line by line, in order,
// and no lane meets another. The last group may lack rows. They count as zero and are never stored, because
// they may belong to another thread.
#pragma once

#include "contract.hpp"
#include "simd.hpp"
#include "split.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// A line in registers.
template <class T> struct Line {
    Vec<T> part[kVecs];

    DENSEGRAD_INLINE static Line of(T x) {
        Line line;
        for (int v = 0; v < kVecs; ++v)
            line.part[v] = broadcast<T>(x);
        return line;
    }
    DENSEGRAD_INLINE static Line at(const T *p) {
        Line line;
        for (int v = 0; v < kVecs; ++v)
            line.part[v] = load<T>(p + v * kVecLanes<T>);
        return line;
    }
    DENSEGRAD_INLINE void store_at(T *p) const {
        for (int v = 0; v < kVecs; ++v)
            store<T>(p + v * kVecLanes<T>, part[v]);
    }
};

// The outputs of rows [row, row + rows) of the head become n_out lines of the group (room for a cell more).
template <class T>
DENSEGRAD_INLINE void load_group(const T *head, Index stride, Index row, int rows, Index n_out, T *lines) {
    for (Index first = 0; first < n_out; first += kLanes<T>) {
        const T *source = head + first / kLanes<T> * stride + row * kLanes<T>;
        const int columns = static_cast<int>(min_index(n_out - first, kLanes<T>));
        T *destination = lines + first * kLanes<T>;
        if (rows == kLanes<T>)
            transpose_columns<T>(source, kLanes<T>, destination, kLanes<T>, columns);
        else
            transpose_columns<T>(source, kLanes<T>, destination, kLanes<T>, columns, rows);
    }
}

// This is the way back. Lanes of the head beyond n_out become zero.
template <class T>
DENSEGRAD_INLINE void store_group(const T *lines, Index n_out, T *head, Index stride, Index row, int rows) {
    for (Index first = 0; first < n_out; first += kLanes<T>) {
        T *destination = head + first / kLanes<T> * stride + row * kLanes<T>;
        const T *source = lines + first * kLanes<T>;
        const int columns = static_cast<int>(min_index(n_out - first, kLanes<T>));
        if (rows == kLanes<T>) {
            if (columns == kLanes<T>)
                transpose_square<T>(source, kLanes<T>, destination, kLanes<T>);
            else
                transpose_rows<T>(source, kLanes<T>, destination, kLanes<T>, columns);
            continue;
        }
        alignas(kLineBytes) T block[kLanes<T> * kLanes<T>];
        transpose_rows<T>(source, kLanes<T>, block, kLanes<T>, columns);
        __builtin_memcpy(destination, block, static_cast<std::size_t>(rows) * kLineBytes);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
