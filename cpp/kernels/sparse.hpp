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

// Terms [first, first + count) of a sum, of which those in [begin, end) are stored.
template <class T> struct SparseTerms {
    const Entry<T> *begin, *end;
    Index first, count;
    const Entry<T> *last; // lines are prefetched up to those of this entry
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

// c[j] = start[j] + the sum over the terms of value * line[j][at]: kWidth lines of a row or column. kAhead:
// the lines of so many entries later are prefetched.
template <class T, int kWidth, Index kAhead = 0, class Store>
DENSEGRAD_INLINE void sparse_tile(const SparseTerms<T> &terms, const T *lines, Index stride, const T *start,
                                  Index start_stride, Store store_part) {
    Vec<T> c[1][kWidth][kVecs];
    const auto begin = [&] {
        for_each_part<1, kWidth, kVecs>(
            [&](int, int j, int q) { c[0][j][q] = load<T>(start + j * start_stride + q * kVecLanes<T>); });
    };
    begin();
    for (const Entry<T> *entry = terms.begin; entry != terms.end; ++entry) {
        if constexpr (kAhead > 0) {
            const Index ahead = entry[min_index(kAhead, terms.last - entry)].at;
            for (int j = 0; j < kWidth; ++j)
                __builtin_prefetch(lines + j * stride + ahead * kLanes<T>);
        }
        add_term<T, 1, 1>(&entry->value, lines + entry->at * kLanes<T>, stride, c);
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

// Weights of more bytes come from beyond the caches, a line here and a line there, which the core cannot
// foresee. Those of so many entries later are prefetched.
constexpr Index kFarWeightsBytes = Index{12} * 1024 * 1024;
constexpr Index kEntriesAhead = 32;

// Lines [line, line + kWidth) of z = [x, 1] W.
template <class T, int kWidth, Index kAhead>
__attribute__((noinline)) void sparse_rows(const ForwardArgs<T> &args, Index line, Index row_begin,
                                           Index row_end) {
    const Index panel = (args.n_in + 1) * kLanes<T>;
    const T *weights = args.weights + line * panel;
    const Entry<T> *entries = args.sparse->entries;
    const Entry<T> *last = entries + args.sparse->spans[row_end - 1].end - 1;
    for (Index r = row_begin; r < row_end; ++r) {
        const EntrySpan span = args.sparse->spans[r];
        T *z = args.output + line * args.output_stride + r * kLanes<T>;
        sparse_tile<T, kWidth, kAhead>(
            {entries + span.begin, entries + span.end, 0, args.n_in, last}, weights, panel,
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
        if ((args.n_in + 1) * line_count<T>(args.n_out) * kLineBytes > kFarWeightsBytes)
            sparse_rows<T, kWidth, kEntriesAhead>(args, line, row_begin, row_end);
        else
            sparse_rows<T, kWidth, 0>(args, line, row_begin, row_end);
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
            sparse_tile<T, kWidth>({slice, entry, first, count, nullptr}, delta, args.delta_stride, kZeros, 0,
                                   [&](int j, int q, Vec<T> c) {
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
