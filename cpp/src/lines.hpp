// Numbers go between the caller's arrays and columns of lines (contract.hpp tells the layout).
#pragma once

#include "../kernels/contract.hpp"

#include <algorithm>

namespace densegrad {

inline double number_at(const RowsView &view, Index row, Index column) {
    const Index at = row * view.row_stride + column * view.column_stride;
    return view.scalar == Scalar::float32 ? static_cast<double>(static_cast<const float *>(view.data)[at])
                                          : static_cast<const double *>(view.data)[at];
}

// Copies columns of lines, `stride` numbers apart, to C order (rows, columns).
template <class T> void lines_to_rows(const T *lines, Index stride, Index rows, Index columns, T *out) {
    for (Index c = 0; c < columns; c += kLanes<T>) {
        const T *line = lines + c / kLanes<T> * stride;
        const Index count = columns - c < kLanes<T> ? columns - c : kLanes<T>;
        for (Index r = 0; r < rows; ++r)
            for (Index i = 0; i < count; ++i)
                out[r * columns + c + i] = line[r * kLanes<T> + i];
    }
}

// Copies the other way, from row `first_row` of the lines on. Padding lanes keep what they held. Denormal
// numbers become zero.
template <class T> void rows_to_lines(const RowsView &view, T *lines, Index stride, Index first_row = 0) {
    for (Index r = 0; r < view.n_rows; ++r)
        for (Index c = 0; c < view.n_columns; ++c)
            lines[c / kLanes<T> * stride + (first_row + r) * kLanes<T> + c % kLanes<T>] =
                read_number<T>(number_at(view, r, c));
}

// Fills the padding lanes.
template <class T> void fill_padding(T *lines, Index stride, Index rows, Index columns, T value) {
    for (Index c = columns; c < line_count<T>(columns) * kLanes<T>; ++c)
        for (Index r = 0; r < rows; ++r)
            lines[c / kLanes<T> * stride + r * kLanes<T> + c % kLanes<T>] = value;
}

// Tells whether columns of lines hold neither NaN nor infinity; the lanes beyond n_columns may.
template <class T> bool are_finite(const T *lines, Index panel, Index n_rows, Index n_columns) {
    for (Index column = 0; column < n_columns; column += kLanes<T>, lines += panel) {
        T sums[kLanes<T>] = {}; // NaN once there was such a number
        for (Index i = 0; i < n_rows * kLanes<T>; i += kLanes<T>)
            for (Index lane = 0; lane < kLanes<T>; ++lane)
                sums[lane] += lines[i + lane] * T(0);
        for (Index lane = 0; lane < std::min<Index>(kLanes<T>, n_columns - column); ++lane)
            if (sums[lane] != T(0))
                return false;
    }
    return true;
}

} // namespace densegrad
