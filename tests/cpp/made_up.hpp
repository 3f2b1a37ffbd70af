// This is what the programs that print hashes share: made-up numbers, a hash, views of vectors.
#pragma once

#include "densegrad/data.hpp"

#include <cstdint>
#include <vector>

// SplitMix64 uses integers only, so the data are the same everywhere.
class Random {
  public:
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double symmetric() {
        return static_cast<double>(next() >> 40) * 0x1p-23 - 1.0;
    } // in [-1, 1), exact in float

  private:
    std::uint64_t state_ = 1;
};

// FNV-1a.
class Hash {
  public:
    template <class T> void add(const std::vector<T> &numbers) {
        const auto *bytes = reinterpret_cast<const unsigned char *>(numbers.data());
        for (std::size_t i = 0; i < numbers.size() * sizeof(T); ++i)
            value_ = (value_ ^ bytes[i]) * 0x100000001b3u;
    }
    std::uint64_t value() const { return value_; }

  private:
    std::uint64_t value_ = 0xcbf29ce484222325u;
};

template <class T>
constexpr densegrad::Scalar kScalar =
    sizeof(T) == 4 ? densegrad::Scalar::float32 : densegrad::Scalar::float64;

template <class T>
densegrad::RowsView view(const std::vector<T> &numbers, std::int64_t n_rows, std::int64_t n_columns) {
    densegrad::RowsView rows;
    rows.data = numbers.data();
    rows.scalar = kScalar<T>;
    rows.n_rows = n_rows;
    rows.n_columns = n_columns;
    rows.row_stride = n_columns;
    rows.column_stride = 1;
    return rows;
}
