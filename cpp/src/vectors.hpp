// L-BFGS computes with vectors as long as all weights of a network, padding included.
#pragma once

#include "dispatch.hpp"
#include "memory.hpp"
#include "team.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace densegrad {

// The vectors have so many lines, zero at first.
class VectorSet {
  public:
    VectorSet(Index lines, int count) {
        for (int i = 0; i < count; ++i)
            arena_.plan<double>(lines * kLanes<double>);
        arena_.allocate();
        for (int i = 0; i < count; ++i)
            vectors_.push_back(arena_.take<double>(lines * kLanes<double>));
    }

    double *operator[](std::size_t i) { return vectors_[i]; }
    const double *operator[](std::size_t i) const { return vectors_[i]; }

  private:
    Arena arena_;
    std::vector<double *> vectors_;
};

// Sums are made in slices of a fixed length. The slices are added up in order, whoever makes them.
class VectorMath {
  public:
    VectorMath(Index lines, const Kernels<double> &kernels) : lines_(lines), kernels_(kernels) {}

    // Gives the products of `vectors` with a and then, if it is not null, with b.
    std::vector<double> products(const std::vector<const double *> &vectors, const double *a, const double *b,
                                 Team &team) const {
        const std::size_t count = vectors.size() * (b ? 2 : 1);
        std::vector<double> slices(count * static_cast<std::size_t>(slice_count()));
        share(team, [&](Index slice, Index begin, Index end) {
            kernels_.products(ProductsArgs<double>{vectors.data(),
                                                   static_cast<Index>(vectors.size()),
                                                   {a, b},
                                                   slices.data() + slice * static_cast<Index>(count)},
                              begin, end);
        });
        std::vector<double> sums(count, 0.0);
        for (std::size_t i = 0; i < slices.size(); ++i)
            sums[i % count] += slices[i];
        return sums;
    }

    double product(const double *a, const double *b, Team &team) const {
        return products({a}, b, nullptr, team)[0];
    }

    // Computes out = the sum of factors times vectors. `out` may be one of them.
    void combine(const std::vector<const double *> &vectors, const std::vector<double> &factors, double *out,
                 Team &team) const {
        // It goes from the last slice on: of vectors that products() has just read, that one is still in the
        // cache.
        share(team, [&](Index slice, Index, Index) {
            const Index begin = (slice_count() - 1 - slice) * kSlice;
            const Index end = std::min(lines_, begin + kSlice);
            kernels_.combine(CombinationArgs<double>{vectors.data(), factors.data(),
                                                     static_cast<Index>(vectors.size()), out},
                             begin, end);
        });
    }

    // Gives the largest absolute value, infinity if there is NaN.
    double largest(const double *vector, Team &team) const {
        std::vector<double> slices(static_cast<std::size_t>(slice_count()));
        share(team, [&](Index slice, Index begin, Index end) {
            constexpr double kMost = std::numeric_limits<double>::max();
            constexpr double kInfinity = std::numeric_limits<double>::infinity();
            double most[kLanes<double>] = {};
            for (Index i = begin * kLanes<double>; i < end * kLanes<double>; i += kLanes<double>)
                for (int lane = 0; lane < kLanes<double>; ++lane) {
                    const double size = std::abs(vector[i + lane]);
                    most[lane] = size <= most[lane] ? most[lane] : size <= kMost ? size : kInfinity;
                }
            slices[static_cast<std::size_t>(slice)] = *std::max_element(most, most + kLanes<double>);
        });
        return *std::max_element(slices.begin(), slices.end());
    }

  private:
    static constexpr Index kSlice = 256;    // lines
    static constexpr Index kFewSlices = 16; // of which a team would be done no sooner

    Index slice_count() const { return (lines_ + kSlice - 1) / kSlice; }

    template <class Work> void share(Team &team, Work work) const {
        const auto slice = [&](Index i, int) { work(i, i * kSlice, std::min(lines_, (i + 1) * kSlice)); };
        if (slice_count() < kFewSlices)
            for (Index i = 0; i < slice_count(); ++i)
                slice(i, 0);
        else
            team.share(slice_count(), slice);
    }

    Index lines_;
    const Kernels<double> &kernels_;
};

} // namespace densegrad
