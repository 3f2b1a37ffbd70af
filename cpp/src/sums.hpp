// Sums over rows have one order, whatever the pieces. They go in slices of kBatchSlice, each in order, and
// the slices are added up in order.
#pragma once

#include "pass.hpp"

#include <algorithm>

namespace densegrad {

// Adds the slices of `values` to a sum over the rows before them, whose number is a multiple of kBatchSlice.
inline double add_slices(double total, const double *values, Index count) {
    for (Index first = 0; first < count; first += kBatchSlice) {
        double slice = 0.0;
        for (Index i = first; i < std::min(count, first + kBatchSlice); ++i)
            slice += values[i];
        total += slice;
    }
    return total;
}

// Gives the sum of the rows' weights: sample weights, or all ones.
inline double total_weight(const double *sample_weight, Index rows) {
    return sample_weight ? add_slices(0.0, sample_weight, rows) : static_cast<double>(rows);
}

// Adds weight * row_loss of the rows, and overwrites row_loss. A row without weight may have no loss.
template <class T>
double add_weighted_losses(double total, double *row_loss, const Batch<T> &batch, Index rows) {
    if (const double *sample_weight = batch.targets.sample_weight)
        for (Index r = 0; r < rows; ++r) {
            const double weight = sample_weight[batch.row_number(r)];
            row_loss[r] = weight == 0.0 ? 0.0 : weight * row_loss[r];
        }
    return add_slices(total, row_loss, rows);
}

} // namespace densegrad
