// These are the products of the first layer if its rows are sparse. The terms whose factor is not stored are
// left out of each chain of multiply-adds:
//
//                     entries of         line at          starts from
//     forward         a row of X         W_(1)            the bias row
//     weight gradient a column of X      delta_(1)        zero, anew for each slice
//
// For finite numbers the bits are those of dense rows: fma(0, w, c) is c, unless c is -0. It may be +0 then.
// So a sum that ends at -0 is made once more with all of its terms. That is rare: every term before was -0,
// or too small to be told from it.
#pragma once

#include "contract.hpp"
#include "simd.hpp"
#include "split.hpp"
#include "tiles.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// The caller's arrays may change meanwhile. So columns are checked where they were copied to.
template <class T, class S, class I>
__attribute__((noinline)) bool pack_row(const RowsView &rows, EntrySpan stored,
                                        Entry<T> *__restrict entries) {
    const S *data = static_cast<const S *>(rows.data) + stored.begin;
    const I *columns = static_cast<const I *>(rows.indices) + stored.begin;
    const Index count = stored.end - stored.begin;
    for (Index i = 0; i < count; ++i)
        entries[i] = {static_cast<std::uint32_t>(columns[i]),
                      T(0) + read_number<T>(data[i])}; // dense rows have no -0 here
    std::uint32_t descents = 0;
    for (Index i = 1; i < count; ++i)
        descents |= entries[i].at <= entries[i - 1].at ? 1u : 0u;
    return descents == 0 && (count == 0 || entries[count - 1].at < rows.n_columns);
}

template <class T> bool pack(const RowsView &rows, EntrySpan stored, Entry<T> *entries) {
    if (rows.scalar == Scalar::float32)
        return rows.wide_indices ? pack_row<T, float, std::int64_t>(rows, stored, entries)
                                 : pack_row<T, float, std::int32_t>(rows, stored, entries);
    return rows.wide_indices ? pack_row<T, double, std::int64_t>(rows, stored, entries)
                             : pack_row<T, double, std::int32_t>(rows, stored, entries);
}

// Terms [first, first + count) of a sum, of which those in [begin, end) are stored.
template <class T> struct SparseTerms {
    const Entry<T> *begin, *end;
    Index first, count;
    Index ahead;              // lines are prefetched of the entry that comes so much later, ...
    const Entry<T> *last_end; // ... or of the last one before this
};

template <class T, class Sums> DENSEGRAD_INLINE bool has_negative_zero(const Sums &c) {
    constexpr IntLane<T> kSign =
        static_cast<IntLane<T>>(std::uint64_t(1) << (8 * static_cast<int>(sizeof(T)) - 1));
    Int<T> found{};
    for (const auto &line : c[0])
        for (const Vec<T> &part : line)
            found |= bits(part) == kSign;
    return any_lane(found);
}

// c[j] = start[j] + the sum over the terms of value * line[j][at]: kWidth lines of a row or column.
template <class T, int kWidth, bool kPrefetch, class Store>
DENSEGRAD_INLINE void sparse_tile(const SparseTerms<T> &terms, const T *lines, Index stride, const T *start,
                                  Index start_stride, Store store_part) {
    Vec<T> c[1][kWidth][kVecs];
    const auto begin = [&] {
        for_each_part<1, kWidth, kVecs>(
            [&](int, int j, int q) { c[0][j][q] = load<T>(start + j * start_stride + q * kVecLanes<T>); });
    };
    begin();
    for (const Entry<T> *entry = terms.begin; entry != terms.end; ++entry) {
        if constexpr (kPrefetch) {
            const Index at = entry[min_index(terms.ahead, terms.last_end - entry - 1)].at;
            for (int j = 0; j < kWidth; ++j)
                __builtin_prefetch(lines + j * stride + at * kLanes<T>);
        }
        add_term<T, 1, 1>(&entry->value, lines + Index{entry->at} * kLanes<T>, stride, c);
    }
    if (__builtin_expect(has_negative_zero<T>(c), 0)) {
        begin();
        const Entry<T> *entry = terms.begin;
        for (Index k = terms.first; k < terms.first + terms.count; ++k) {
            const T x = entry != terms.end && entry->at == k ? (entry++)->value : T(0);
            add_term<T, 1, 1>(&x, lines + k * kLanes<T>, stride, c);
        }
    }
    for_each_part<1, kWidth, kVecs>([&](int, int j, int q) { store_part(j, q, c[0][j][q]); });
}

// Weights that do not fit a cache come from beyond it, a line here and a line there, which the core cannot
// foresee. So lines are prefetched that belong to so many entries later.
inline Index entries_ahead(Index weight_bytes) {
    constexpr Index kMegabyte = Index{1024} * 1024;
    return weight_bytes > 12 * kMegabyte ? 32 : weight_bytes > kMegabyte ? 6 : 0;
}

// Lines [line, line + kWidth) of z = [x, 1] W.
template <class T, int kWidth, bool kPrefetch>
__attribute__((noinline)) void sparse_rows(const ForwardArgs<T> &args, Index line, Index row_begin,
                                           Index row_end, Index ahead) {
    const Index panel = (args.n_in + 1) * kLanes<T>;
    const T *weights = args.weights + line * panel;
    const Entry<T> *entries = args.sparse->entries;
    const Entry<T> *last_end = entries + args.sparse->spans[row_end - 1].end;
    for (Index r = row_begin; r < row_end; ++r) {
        const EntrySpan span = args.sparse->spans[r];
        T *z = args.output + line * args.output_stride + r * kLanes<T>;
        sparse_tile<T, kWidth, kPrefetch>(
            {entries + span.begin, entries + span.end, 0, args.n_in, ahead, last_end}, weights, panel,
            weights + args.n_in * kLanes<T>, panel,
            [&](int j, int q, Vec<T> sum) { store<T>(z + j * args.output_stride + q * kVecLanes<T>, sum); });
    }
}

template <class T, int kWidth = 1>
DENSEGRAD_INLINE void run_sparse_rows(int width, const ForwardArgs<T> &args, Index line, Index row_begin,
                                      Index row_end) {
    if constexpr (kWidth <= max_tile_width(1)) {
        if (width != kWidth)
            return run_sparse_rows<T, kWidth + 1>(width, args, line, row_begin, row_end);
        const Index ahead = entries_ahead((args.n_in + 1) * line_count<T>(args.n_out) * kLineBytes);
        if (ahead > 0)
            sparse_rows<T, kWidth, true>(args, line, row_begin, row_end, ahead);
        else
            sparse_rows<T, kWidth, false>(args, line, row_begin, row_end, 0);
    }
}

// Computes z = [x, 1] W for rows [row_begin, row_end).
template <class T> void sparse_forward(const ForwardArgs<T> &args, Index row_begin, Index row_end) {
    const EvenSplit widths(line_count<T>(args.n_out), max_tile_width(1));
    Index line = 0;
    for (Index g = 0; g < widths.count; ++g) {
        run_sparse_rows<T>(widths[g], args, line, row_begin, row_end);
        line += widths[g];
    }
}

// Sums one column of X with `width` lines of deltas. sum: as in gradient_tile.
template <class T, int kWidth>
DENSEGRAD_INLINE void sum_sparse_column(const WeightArgs<T> &args, Index panel, Index column, T *sum,
                                        Index sum_stride) {
    alignas(kLineBytes) static constexpr T kZeros[kLanes<T>] = {};
    const EntrySpan span = args.sparse->spans[column];
    if (span.begin == span.end && !args.starts_from_gradient())
        return;
    const Entry<T> *entry = args.sparse->entries + span.begin;
    const Entry<T> *end = args.sparse->entries + span.end;
    const T *delta = args.delta + panel * args.delta_stride;
    bool add = args.starts_from_gradient();
    bool all = true; // slices had entries
    for (Index first = 0; first < args.n_rows; first += kBatchSlice) {
        const Index count = min_index(args.n_rows - first, kBatchSlice);
        const Entry<T> *slice = entry;
        if (first + count == args.n_rows)
            entry = end;
        while (entry != end && entry->at < first + count)
            ++entry;
        if (slice == entry) {
            all = false;
        } else {
            sparse_tile<T, kWidth, false>({slice, entry, first, count, 0, nullptr}, delta, args.delta_stride,
                                          kZeros, 0, [&](int j, int q, Vec<T> c) {
                                              T *s = sum + j * sum_stride + q * kVecLanes<T>;
                                              store<T>(s, add ? load<T>(s) + c : c);
                                          });
        }
        add = true;
    }
    if (!all) // the sums of the others are +0
        for_each_part<1, kWidth, kVecs>([&](int, int j, int q) {
            T *s = sum + j * sum_stride + q * kVecLanes<T>;
            store<T>(s, load<T>(s) + Vec<T>{});
        });
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
