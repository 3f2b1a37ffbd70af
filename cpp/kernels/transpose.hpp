// Squares of kLanes lines are transposed: rows of units to units of rows and back.
//
// A row is cut into cells of 16 bytes (4 float32 or 2 float64). The cells of rows i, i + side, i + 2 * side,
// ... are loaded side by side into register i. What is left is the same small side x side transposition in
// each cell of the registers. It takes two stages of unpacking for float32, one for float64, and none across
// the cells.
#pragma once

#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T> constexpr int kCell = kCellBytes / static_cast<int>(sizeof(T)); // numbers in a cell

// In each cell: a0 b0 a1 b1 of the four numbers a0 ... a3, b0 ... b3.
DENSEGRAD_INLINE VecF unpack_low(VecF a, VecF b) {
#if defined(DENSEGRAD_ISA_AVX512)
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
#elif defined(DENSEGRAD_ISA_AVX2)
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

// In each cell: a2 b2 a3 b3.
DENSEGRAD_INLINE VecF unpack_high(VecF a, VecF b) {
#if defined(DENSEGRAD_ISA_AVX512)
    return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
#elif defined(DENSEGRAD_ISA_AVX2)
    return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// In each cell: a0 b0.
DENSEGRAD_INLINE VecD unpack_low(VecD a, VecD b) {
#if defined(DENSEGRAD_ISA_AVX512)
    return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
#elif defined(DENSEGRAD_ISA_AVX2)
    return __builtin_shufflevector(a, b, 0, 4, 2, 6);
#else
    return __builtin_shufflevector(a, b, 0, 2);
#endif
}

// In each cell: a1 b1.
DENSEGRAD_INLINE VecD unpack_high(VecD a, VecD b) {
#if defined(DENSEGRAD_ISA_AVX512)
    return __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
#elif defined(DENSEGRAD_ISA_AVX2)
    return __builtin_shufflevector(a, b, 1, 5, 3, 7);
#else
    return __builtin_shufflevector(a, b, 1, 3);
#endif
}

// Transposes the kCell x kCell square in the same cell of the registers r[0 ... kCell).
DENSEGRAD_INLINE void transpose_cells(VecF (&r)[kCell<float>]) {
    const VecD a = (VecD)unpack_low(r[0], r[1]), b = (VecD)unpack_low(r[2], r[3]);
    const VecD c = (VecD)unpack_high(r[0], r[1]), d = (VecD)unpack_high(r[2], r[3]);
    r[0] = (VecF)unpack_low(a, b);
    r[1] = (VecF)unpack_high(a, b);
    r[2] = (VecF)unpack_low(c, d);
    r[3] = (VecF)unpack_high(c, d);
}
DENSEGRAD_INLINE void transpose_cells(VecD (&r)[kCell<double>]) {
    const VecD low = unpack_low(r[0], r[1]);
    r[1] = unpack_high(r[0], r[1]);
    r[0] = low;
}

// One cell of columns of the kVecLanes rows from `row` on becomes kCell registers, one a column. Rows from
// n_rows on count as zero.
template <class T>
DENSEGRAD_INLINE void load_columns(const T *source, std::ptrdiff_t source_stride, int row, int n_rows,
                                   Vec<T> (&columns)[kCell<T>]) {
    alignas(kCellBytes) static constexpr T zero[kCell<T>] = {};
    for (int i = 0; i < kCell<T>; ++i) {
        const T *cells[kVecCells];
        for (int c = 0; c < kVecCells; ++c) {
            const int from = row + c * kCell<T> + i;
            cells[c] = from < n_rows ? source + from * source_stride : zero;
        }
        columns[i] = load_cells<T>(cells);
    }
    transpose_cells(columns);
}

// One cell of columns of n_rows <= kLanes rows becomes kCell lines. The rows that are missing count as zero.
template <class T>
DENSEGRAD_INLINE void transpose_cell(const T *source, std::ptrdiff_t source_stride, T *destination,
                                     std::ptrdiff_t destination_stride, int n_rows) {
    for (int row = 0; row < kLanes<T>; row += kVecLanes<T>) {
        Vec<T> r[kCell<T>] = {};
        if (row < n_rows)
            load_columns<T>(source, source_stride, row, n_rows, r);
        for (int i = 0; i < kCell<T>; ++i)
            store<T>(destination + i * destination_stride + row, r[i]);
    }
}

// destination[c][r] = source[r][c] for a full square, r, c < kLanes. The strides count numbers; the two
// squares may not overlap.
template <class T>
DENSEGRAD_INLINE void transpose_square(const T *source, std::ptrdiff_t source_stride, T *destination,
                                       std::ptrdiff_t destination_stride) {
    for (int column = 0; column < kLanes<T>; column += kCell<T>)
        transpose_cell<T>(source + column, source_stride, destination + column * destination_stride,
                          destination_stride, kLanes<T>);
}

// Transposes only the first n_columns <= kLanes columns of n_rows <= kLanes rows. Rows that are missing count
// as zero. It reads and writes the columns rounded up to a cell, so the destination has room for that many
// lines.
template <class T>
DENSEGRAD_INLINE void transpose_columns(const T *source, std::ptrdiff_t source_stride, T *destination,
                                        std::ptrdiff_t destination_stride, int n_columns,
                                        int n_rows = kLanes<T>) {
    for (int column = 0; column < n_columns; column += kCell<T>)
        transpose_cell<T>(source + column, source_stride, destination + column * destination_stride,
                          destination_stride, n_rows);
}

// This is the way back: n_rows <= kLanes lines become the first n_rows numbers of kLanes lines. What is left
// of each becomes zero. It reads no line beyond n_rows.
template <class T>
DENSEGRAD_INLINE void transpose_rows(const T *source, std::ptrdiff_t source_stride, T *destination,
                                     std::ptrdiff_t destination_stride, int n_rows) {
    for (int column = 0; column < kLanes<T>; column += kCell<T>)
        transpose_cell<T>(source + column, source_stride, destination + column * destination_stride,
                          destination_stride, n_rows);
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
