// Numbers go between the caller's arrays and columns of lines (contract.hpp tells the layout).
#pragma once

#include "../kernels/contract.hpp"

#include <algorithm>

namespace densegrad {

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
template <class T, class S>
void rows_to_lines(const RowsView &view, const S *numbers, T *lines, Index stride, Index first_row) {
    const Index full = view.column_stride == 1 ? view.n_columns / kLanes<T> * kLanes<T> : 0;
    for (Index r = 0; r < view.n_rows; ++r) {
        const S *row = numbers + r * view.row_stride;
        T *line = lines + (first_row + r) * kLanes<T>;
        for (Index c = 0; c < full; c += kLanes<T>, line += stride)
            for (Index i = 0; i < kLanes<T>; ++i)
                line[i] = read_number<T>(row[c + i]);
        for (Index c = full; c < view.n_columns; ++c)
            line[(c - full) / kLanes<T> * stride + c % kLanes<T>] =
                read_number<T>(row[c * view.column_stride]);
    }
}

template <class T> void rows_to_lines(const RowsView &view, T *lines, Index stride, Index first_row = 0) {
    if (view.scalar == Scalar::float32)
        rows_to_lines(view, static_cast<const float *>(view.data), lines, stride, first_row);
    else
        rows_to_lines(view, static_cast<const double *>(view.data), lines, stride, first_row);
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
