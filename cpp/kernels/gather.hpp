// Gather converts rows of X to lines. X has any strides and either precision, or is CSR.
#pragma once

#include "contract.hpp"
#include "simd.hpp"
#include "split.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T> DENSEGRAD_INLINE Index source_row(const GatherArgs<T> &args, Index row) {
    return args.order ? args.order[row] : args.first_row + row;
}

template <class T, class S>
DENSEGRAD_INLINE const S *row_pointer(const GatherArgs<T> &args, Index row, const S *data) {
    return data + source_row(args, row) * args.rows->row_stride;
}

template <class T, class S> DENSEGRAD_INLINE Vec<T> convert(const S *source) {
    typedef S SourceVec __attribute__((vector_size(kVecLanes<T> * sizeof(S))));
    SourceVec x;
    __builtin_memcpy(&x, source, sizeof(x));
    constexpr S least = static_cast<S>(Precision<T>::min_normal);
    if constexpr (least > S(0)) { // as read_number
        using Bits = decltype(x < x);
        constexpr IntLane<S> kSign =
            static_cast<IntLane<S>>(std::uint64_t(1) << (8 * static_cast<int>(sizeof(S)) - 1));
        const Bits denormal = (SourceVec)((Bits)x & ~kSign) < least;
        x = (SourceVec)((Bits)x & (~denormal | kSign));
    }
    return __builtin_convertvector(x, Vec<T>);
}

template <class T, class S> DENSEGRAD_INLINE void convert_line(const S *source, T *line) {
    for (int q = 0; q < kVecs; ++q)
        store<T>(line + q * kVecLanes<T>, convert<T, S>(source + q * kVecLanes<T>));
}

// Gives the first `count` numbers of a line, then zeros. It reads no number beyond `end`.
template <class T, class S>
DENSEGRAD_INLINE void convert_rest(const S *source, Index count, const S *end, T *line) {
    if (end - source < kLanes<T>) {
        for (Index i = 0; i < kLanes<T>; ++i)
            line[i] = i < count ? read_number<T>(source[i]) : T(0);
        return;
    }
    for (int q = 0; q < kVecs; ++q) {
        const Int<T> wanted = lane_numbers<T>() < static_cast<IntLane<T>>(count - q * kVecLanes<T>);
        store<T>(line + q * kVecLanes<T>, wanted ? convert<T, S>(source + q * kVecLanes<T>) : Vec<T>{});
    }
}

// Prefetches all cache lines of numbers first ... last - 1.
template <class S> DENSEGRAD_INLINE void prefetch_numbers(const S *first, const S *last) {
    constexpr Index kStep = kLineBytes / static_cast<Index>(sizeof(S));
    for (const S *p = first; p < last; p += kStep)
        __builtin_prefetch(p);
    __builtin_prefetch(last - 1);
}

// It takes several rows at a time: what is written is then a few lines on end in each column.
template <class T, class S>
void gather_contiguous(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    constexpr Index kRows = 8;
    const S *data = static_cast<const S *>(args.rows->data);
    const Index n = args.rows->n_columns;
    const Index full = n / kLanes<T>;
    const Index rest = n % kLanes<T>;
    const Index stride = args.rows->row_stride;
    const S *end =
        data + (stride > 0 ? (args.rows->n_rows - 1) * stride : 0) + n; // of the last row in memory
    for (Index first = row_begin; first < row_end; first += kRows) {
        const Index count = row_end - first < kRows ? row_end - first : kRows;
        const S *source[kRows];
        const S *next[kRows]; // rows in random order are strangers to the hardware's prefetcher
        for (Index r = 0; r < count; ++r) {
            const Index after = first + kRows + r < row_end ? first + kRows + r : first + r;
            source[r] = row_pointer(args, first + r, data);
            next[r] = row_pointer(args, after, data);
        }
        T *column = args.output + first * kLanes<T>;
        for (Index b = 0; b < full; ++b, column += args.stride)
            for (Index r = 0; r < count; ++r) {
                prefetch_numbers(next[r] + b * kLanes<T>, next[r] + (b + 1) * kLanes<T>);
                convert_line<T, S>(source[r] + b * kLanes<T>, column + r * kLanes<T>);
            }
        for (Index r = 0; rest > 0 && r < count; ++r) {
            prefetch_numbers(next[r] + full * kLanes<T>, next[r] + n);
            convert_rest<T, S>(source[r] + full * kLanes<T>, rest, end, column + r * kLanes<T>);
        }
    }
}

template <class T, class S> void gather_strided(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    const Index n = args.rows->n_columns;
    const Index row_stride = args.rows->row_stride;
    for (Index c = 0; c < line_count<T>(n) * kLanes<T>; ++c) {
        const S *column = static_cast<const S *>(args.rows->data) + c * args.rows->column_stride;
        T *out = args.output + c / kLanes<T> * args.stride + c % kLanes<T>;
        for (Index r = row_begin; r < row_end; ++r)
            out[r * kLanes<T>] = c < n ? read_number<T>(column[source_row(args, r) * row_stride]) : T(0);
    }
}

// It reads once: what has been checked is what is used.
template <class I> DENSEGRAD_INLINE I load_once(const I *p) { return *static_cast<const volatile I *>(p); }

template <class T, class S, class I>
void gather_csr(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    const I *indptr = static_cast<const I *>(args.rows->indptr);
    const I *indices = static_cast<const I *>(args.rows->indices);
    const S *data = static_cast<const S *>(args.rows->data);
    const Index lines = line_count<T>(args.rows->n_columns);
    const std::uint64_t n_columns = static_cast<std::uint64_t>(args.rows->n_columns);
    for (Index r = row_begin; r < row_end; ++r) {
        T *line = args.output + r * kLanes<T>;
        for (Index b = 0; b < lines; ++b)
            __builtin_memset(line + b * args.stride, 0, kLineBytes);
        const Index row = source_row(args, r);
        // Another thread may write to the caller's arrays meanwhile, so every number read is checked.
        const Index begin = max_index(load_once(indptr + row), 0);
        const Index end = min_index(load_once(indptr + row + 1), args.rows->n_stored);
        for (Index k = begin; k < end; ++k) {
            const std::uint64_t column = static_cast<std::uint64_t>(load_once(indices + k));
            if (column >= n_columns)
                continue;
            T *out = line + static_cast<Index>(column / kLanes<T>) * args.stride + column % kLanes<T>;
            *out = *out + read_number<T>(data[k]); // a column that is named twice counts as the sum
        }
    }
}

template <class T, class S> void gather_from(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    if (!args.rows->indptr) {
        if (args.rows->column_stride == 1)
            gather_contiguous<T, S>(args, row_begin, row_end);
        else
            gather_strided<T, S>(args, row_begin, row_end);
    } else if (args.rows->wide_indices) {
        gather_csr<T, S, std::int64_t>(args, row_begin, row_end);
    } else {
        gather_csr<T, S, std::int32_t>(args, row_begin, row_end);
    }
}

template <class T> void gather_piece(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    if (args.rows->scalar == Scalar::float32)
        gather_from<T, float>(args, row_begin, row_end);
    else
        gather_from<T, double>(args, row_begin, row_end);
}

// Number of the block that a row lies in: the last one that does not begin after it. Empty blocks begin
// there, too.
DENSEGRAD_INLINE Index block_of(const RowsView &rows, Index row) {
    Index low = 0;
    for (Index high = rows.n_blocks; high - low > 1;) {
        const Index middle = low + (high - low) / 2;
        (rows.first_rows[middle] <= row ? low : high) = middle;
    }
    return low;
}

DENSEGRAD_INLINE void prefetch_row(const RowsView &block, Index row) {
    if (block.indptr || block.column_stride != 1)
        return;
    if (block.scalar == Scalar::float32) {
        const float *first = static_cast<const float *>(block.data) + row * block.row_stride;
        prefetch_numbers(first, first + block.n_columns);
    } else {
        const double *first = static_cast<const double *>(block.data) + row * block.row_stride;
        prefetch_numbers(first, first + block.n_columns);
    }
}

// Takes row by row, as the next one mostly lies in another block.
template <class T> void gather_blocks(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    constexpr Index kAhead = 4;
    const RowsView &rows = *args.rows;
    for (Index r = row_begin; r < row_end; ++r) {
        if (r + kAhead < row_end) {
            const Index later = source_row(args, r + kAhead);
            const Index block = block_of(rows, later);
            prefetch_row(rows.blocks[block], later - rows.first_rows[block]);
        }
        const Index row = source_row(args, r);
        const Index block = block_of(rows, row);
        const Index first_row = row - rows.first_rows[block] - r; // so that r is the row in its block
        gather_piece<T>({rows.blocks + block, nullptr, first_row, args.output, args.stride}, r, r + 1);
    }
}

template <class T> void gather(const GatherArgs<T> &args, Index row_begin, Index row_end) {
    if (args.rows->blocks)
        gather_blocks(args, row_begin, row_end);
    else
        gather_piece(args, row_begin, row_end);
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
