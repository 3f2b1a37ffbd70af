// The rows of a sparse batch are packed, and turned into columns for the weight gradient.
#pragma once

#include "densegrad/data.hpp"

#include "../kernels/contract.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace densegrad {

// Tells whether the products leave out what the rows do not store. If they store much, dense lines are
// faster, and take only a few times the memory. An entry has 32 bits for its column.
inline bool has_sparse_rows(const RowsView &rows) {
    constexpr double kDense = 0.15;
    return rows.indptr && rows.n_columns <= std::numeric_limits<std::int32_t>::max() &&
           static_cast<double>(rows.n_stored) <
               kDense * static_cast<double>(rows.n_rows) * static_cast<double>(rows.n_columns);
}

// Which numbers of the caller's arrays belong to a row. Another thread may write to these arrays meanwhile.
// So each number is read once, and what has been checked is what is used.
inline EntrySpan stored_span(const RowsView &rows, Index row) {
    const auto read = [&](Index i) -> Index {
        return rows.wide_indices ? static_cast<const volatile std::int64_t *>(rows.indptr)[i]
                                 : static_cast<const volatile std::int32_t *>(rows.indptr)[i];
    };
    const Index begin = std::max<Index>(read(row), 0);
    return {begin, std::max(begin, std::min(read(row + 1), rows.n_stored))};
}

// Gives the most entries of `piece` rows that are packed at once. The rows go in batches, and these in
// pieces.
template <class RowNumber>
Index most_entries(const RowsView &rows, Index n_rows, Index batch_size, Index piece, RowNumber row_number) {
    Index most = 0;
    Index entries = 0;
    for (Index r = 0; r < n_rows; ++r) {
        if (r % batch_size % piece == 0)
            entries = 0;
        const EntrySpan stored = stored_span(rows, row_number(r));
        entries += stored.end - stored.begin;
        most = std::max(most, entries);
    }
    return most;
}

// It holds the entries of up to `max_rows` rows at a time. place() and transpose() take one caller, and
// pack() any number of threads, each with rows of its own. pack() needs place() before it. transpose() needs
// all rows packed.
template <class T> class SparseBatch {
  public:
    SparseBatch(Index max_rows, Index n_columns)
        : sources_(static_cast<std::size_t>(max_rows)), rows_(sources_.size()), n_columns_(n_columns) {}

    // Makes room for so many entries. It forgets those that are here.
    void reserve(Index entries) {
        count_ = 0;
        if (entries > static_cast<Index>(row_entries_.size()))
            row_entries_.resize(static_cast<std::size_t>(entries));
        row_view_ = {row_entries_.data(), rows_.data()};
    }

    // Makes room for the columns, too.
    void reserve_columns() {
        column_entries_.resize(row_entries_.size());
        columns_.resize(static_cast<std::size_t>(n_columns_) + 1); // the last one has no entries
        with_entries_.reserve(std::min(row_entries_.size() + 1, columns_.size()));
        had_entries_.reserve(with_entries_.capacity());
        column_view_ = {column_entries_.data(), columns_.data()};
    }

    // Finds a place for each of `count` rows, whose numbers row_number(r) gives. Entries beyond the room are
    // left out. There are none, unless the caller's arrays have changed.
    template <class RowNumber> void place(const RowsView &rows, Index count, RowNumber row_number) {
        const Index room = static_cast<Index>(row_entries_.size());
        Index at = 0;
        for (Index r = 0; r < count; ++r) {
            EntrySpan &source = sources_[static_cast<std::size_t>(r)];
            source = stored_span(rows, row_number(r));
            source.end = std::min(source.end, source.begin + room - at);
            rows_[static_cast<std::size_t>(r)] = {at, at};
            at += source.end - source.begin;
        }
        count_ = count;
        mean_entries_ = static_cast<double>(at) / static_cast<double>(std::max<Index>(count, 1));
    }

    double mean_entries() const { return mean_entries_; } // of a row

    // Copies the entries of rows that have a place, and puts right what is out of order.
    void pack(const RowsView &rows, const Kernels<T> &kernels, Index begin, Index end) {
        for (Index r = begin; r < end; ++r) {
            const EntrySpan source = sources_[static_cast<std::size_t>(r)];
            EntrySpan &span = rows_[static_cast<std::size_t>(r)];
            Entry<T> *const entries = row_entries_.data() + span.begin;
            const Index count = source.end - source.begin;
            const bool in_order = kernels.pack(rows, source, entries);
            span.end = span.begin + (in_order ? count : put_right(entries, entries + count));
        }
    }

    // Brings the entries into columns, each with its rows in ascending order.
    void transpose() {
        reserve_columns();
        for (const Index column : with_entries_)
            columns_[static_cast<std::size_t>(column)] = {0, 0};
        std::swap(with_entries_, had_entries_);
        const Index most = count_ == 0 ? 0 : rows_[static_cast<std::size_t>(count_ - 1)].end;
        with_entries_.resize(static_cast<std::size_t>(std::min(most, n_columns_) + 1));
        std::size_t count = 0;
        for_each_entry([&](Index, const Entry<T> &entry) { // whether it is the first one cannot be predicted
            with_entries_[count] = entry.at;
            count += columns_[entry.at].end++ == 0 ? 1 : 0;
        });
        with_entries_.resize(count);
        Index at = 0;
        for (const Index column : with_entries_) {
            EntrySpan &span = columns_[static_cast<std::size_t>(column)];
            const Index entries = span.end;
            span = {at, at};
            at += entries;
        }
        for_each_entry([&](Index row, const Entry<T> &entry) {
            Index &next = columns_[entry.at].end;
            column_entries_[static_cast<std::size_t>(next++)] = {static_cast<std::uint32_t>(row),
                                                                 entry.value};
        });
        with_entries_.push_back(n_columns_);
    }

    // The columns that have entries, in no order, and n_columns at the end; the same before the last
    // transpose().
    const std::vector<Index> &with_entries() const { return with_entries_; }
    const std::vector<Index> &had_entries() const { return had_entries_; }

    const SparseView<T> *rows() const { return &row_view_; }
    const SparseView<T> *columns() const { return &column_view_; }

    // Writes the packed rows to `out`, C order (rows, n_columns).
    void write(T *out) const {
        std::fill(out, out + count_ * n_columns_, T(0));
        for_each_entry(
            [&](Index row, const Entry<T> &entry) { out[row * n_columns_ + entry.at] = entry.value; });
    }

  private:
    template <class Visit> void for_each_entry(Visit visit) const {
        for (Index r = 0; r < count_; ++r) {
            const EntrySpan span = rows_[static_cast<std::size_t>(r)];
            for (Index i = span.begin; i < span.end; ++i)
                visit(r, row_entries_[static_cast<std::size_t>(i)]);
        }
    }

    // Drops the entries of a row whose column does not exist, and sorts the others. Those of one column
    // become one, their sum in the order that they had. Returns how many are left.
    Index put_right(Entry<T> *begin, Entry<T> *end) const {
        Entry<T> *const dropped =
            std::remove_if(begin, end, [this](const Entry<T> &entry) { return entry.at >= n_columns_; });
        std::fill(dropped, end, Entry<T>{}); // their columns are prefetched
        end = dropped;
        if (begin == end)
            return 0;
        // A thread of a team must not throw: without memory to spare, this sorts in place.
        std::stable_sort(begin, end, [](const Entry<T> &a, const Entry<T> &b) { return a.at < b.at; });
        Entry<T> *last = begin;
        for (Entry<T> *entry = begin + 1; entry < end; ++entry)
            if (entry->at == last->at)
                last->value += entry->value;
            else
                *++last = *entry;
        return last + 1 - begin;
    }

    std::vector<EntrySpan> sources_; // in the caller's arrays
    std::vector<Entry<T>> row_entries_;
    std::vector<EntrySpan> rows_;
    Index count_ = 0; // of rows
    double mean_entries_ = 0.0;
    Index n_columns_;
    std::vector<Entry<T>> column_entries_;
    std::vector<EntrySpan> columns_;
    std::vector<Index> with_entries_, had_entries_;
    SparseView<T> row_view_{}, column_view_{};
};

} // namespace densegrad
