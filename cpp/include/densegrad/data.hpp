// Views show the caller's arrays. The arrays are read in place, never owned, never copied whole.
#pragma once

#include <cstdint>

namespace densegrad {

enum class Scalar : int { float32, float64 };

// The rows of X are dense with any strides, CSR if `indptr` is not null, or those of several blocks if
// `blocks` is not null: then the sizes alone are read here, and the rest in the blocks.
struct RowsView {
    const void *data = nullptr; // dense: first number; CSR: the stored numbers
    Scalar scalar = Scalar::float64;
    std::int64_t n_rows = 0;
    std::int64_t n_columns = 0;
    std::int64_t row_stride = 0; // dense, in numbers, may be 0 or negative
    std::int64_t column_stride = 0;
    const void *indptr = nullptr; // CSR: (n_rows + 1,)
    const void *indices = nullptr;
    std::int64_t n_stored = 0;                // CSR: of numbers and of indices
    bool wide_indices = false;                // CSR: int64 in place of int32
    const RowsView *blocks = nullptr;         // (n_blocks,), none of which has blocks
    const std::int64_t *first_rows = nullptr; // (n_blocks,) number of the first row of each block
    std::int64_t n_blocks = 0;
};

// The loss compares y_(L) with one of the two pointers, or with none if no loss is wanted.
struct Targets {
    // (n_rows,), each in [0, max(n_L, 2)); the caller must check that.
    const std::int64_t *classes = nullptr;
    const void *values = nullptr; // (n_rows, n_targets), C order, of the network's precision
    std::int64_t n_targets = 0;
    const double *sample_weight = nullptr; // (n_rows,) or null: all ones
};

// The calling thread asks about 20 times a second, between pieces of the work. The answer true ends the call
// early, and what it was to give is then of no use.
struct StopRequest {
    bool (*asked)(void *context) = nullptr;
    void *context = nullptr;
};

} // namespace densegrad
