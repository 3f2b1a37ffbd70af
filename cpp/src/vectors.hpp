// L-BFGS computes with vectors as long as all weights of a network, padding included.
#pragma once

#include "dispatch.hpp"
#include "memory.hpp"
#include "team.hpp"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
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
    // The same lines of all vectors. Few enough for what is done with a slice to find in the nearest cache
    // what was done before.
    class Slice {
      public:
        Slice(const Kernels<double> &kernels, Index begin, Index end)
            : kernels_(kernels), begin_(begin), end_(end) {}

        // Computes out = the sum of factors times vectors. `out` may be one of them.
        void combine(std::initializer_list<const double *> vectors, std::initializer_list<double> factors,
                     double *out) const {
            combine({vectors.begin(), factors.begin(), static_cast<Index>(vectors.size()), out});
        }
        void combine(const CombinationArgs<double> &args) const { kernels_.combine(args, begin_, end_); }
        void products(const ProductsArgs<double> &args) const { kernels_.products(args, begin_, end_); }
        double largest(const double *vector) const { return kernels_.largest(vector, begin_, end_); }

      private:
        const Kernels<double> &kernels_;
        Index begin_, end_;
    };

    VectorMath(Index lines, const Kernels<double> &kernels) : lines_(lines), kernels_(kernels) {}

    // Calls work(slice, number of the slice) for all slices, shared among the team.
    template <class Work> void for_slices(Team &team, Work work) const {
        const auto run = [&](Index i, int) { work(slice(i), i); };
        if (slice_count() < kFewSlices)
            for (Index i = 0; i < slice_count(); ++i)
                run(i, 0);
        else
            team.share(slice_count(), run);
    }

    // Gives the products of `vectors` with a and then, if it is not null, with b.
    std::vector<double> products(const std::vector<const double *> &vectors, const double *a, const double *b,
                                 Team &team) const {
        SlicedSums sums(vectors.size() * (b ? 2 : 1), slice_count());
        for_slices(team, [&](const Slice &part, Index i) {
            part.products({vectors.data(), static_cast<Index>(vectors.size()), {a, b}, sums.of_slice(i)});
        });
        return sums.total();
    }

    double product(const double *a, const double *b, Team &team) const {
        return products({a}, b, nullptr, team)[0];
    }

    // Computes out = the sum of factors times vectors, and gives the products of `others` with it.
    std::vector<double> combine_and_multiply(const std::vector<const double *> &vectors,
                                             const std::vector<double> &factors, double *out,
                                             const std::vector<const double *> &others, Team &team) const {
        SlicedSums sums(others.size(), slice_count());
        for_slices(team, [&](const Slice &, Index from_last) {
            // It goes from the last slice on: of vectors that products() has just read, that one is still in
            // the cache.
            const Index i = slice_count() - 1 - from_last;
            slice(i).combine({vectors.data(), factors.data(), static_cast<Index>(vectors.size()), out});
            slice(i).products(
                {others.data(), static_cast<Index>(others.size()), {out, nullptr}, sums.of_slice(i)});
        });
        return sums.total();
    }

    // Computes out = the sum of factors times vectors. `out` may be one of them.
    void combine(std::initializer_list<const double *> vectors, std::initializer_list<double> factors,
                 double *out, Team &team) const {
        for_slices(team, [&](const Slice &part, Index) { part.combine(vectors, factors, out); });
    }

    // Gives the largest absolute value, infinity if there is NaN.
    double largest(const double *vector, Team &team) const {
        std::vector<double> slices(static_cast<std::size_t>(slice_count()));
        for_slices(team, [&](const Slice &part, Index i) {
            slices[static_cast<std::size_t>(i)] = part.largest(vector);
        });
        return *std::max_element(slices.begin(), slices.end());
    }

  private:
    static constexpr Index kSlice = 256;    // lines
    static constexpr Index kFewSlices = 16; // of which a team would be done no sooner

    // Some sums, with their parts of each slice.
    class SlicedSums {
      public:
        SlicedSums(std::size_t count, Index slices)
            : count_(count), parts_(count * static_cast<std::size_t>(slices)) {}

        double *of_slice(Index slice) { return parts_.data() + slice * static_cast<Index>(count_); }
        std::vector<double> total() const {
            std::vector<double> sums(count_, 0.0);
            for (std::size_t i = 0; i < parts_.size(); ++i)
                sums[i % count_] += parts_[i];
            return sums;
        }

      private:
        std::size_t count_;
        std::vector<double> parts_;
    };

    Index slice_count() const { return (lines_ + kSlice - 1) / kSlice; }
    Slice slice(Index i) const { return {kernels_, i * kSlice, std::min(lines_, (i + 1) * kSlice)}; }

    Index lines_;
    const Kernels<double> &kernels_;
};

} // namespace densegrad
