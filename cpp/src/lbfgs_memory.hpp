// L-BFGS remembers this of the curvature, and finds its direction from it.
#pragma once

#include "vectors.hpp"

#include <array>
#include <cstddef>
#include <vector>

namespace densegrad {

// Products of a direction with the gradient, which is its slope, and with itself.
struct Direction {
    double slope, square;
};

// It keeps the last pairs of a step s and the difference y of the gradient along it. The inverse of the
// Hessian is the compact form of Byrd, Nocedal and Schnabel (Mathematical Programming 63, 1994), section 3:
//
//     H g = gamma (g - Y u) + S v,    R u = S' g,    R' v = D u + gamma (Y'Y u - Y' g)
//
// R is the upper triangle of S'Y, D its diagonal, and gamma = s'y / y'y of the newest pair.
class LbfgsMemory {
  public:
    static constexpr int kPairs = 10;

    explicit LbfgsMemory(Index lines) : vectors_(lines, 2 * kSlots) {}

    int size() const { return size_; }
    void clear() {
        size_ = 0;
        products_are_due_ = false;
    }

    // Gives pair i; the oldest is 0.
    const double *step(int i) const { return vectors_[slot(i)]; }
    const double *difference(int i) const { return vectors_[kSlots + slot(i)]; }
    double curvature(int i) const { return step_by_difference(i, i); }

    // The next pair is to be written here, which touches no other; add() then counts it.
    double *next_step() { return vectors_[slot(size_)]; }
    double *next_difference() { return vectors_[kSlots + slot(size_)]; }

    // curvature: s'y of the pair that has been written.
    void add(double curvature) {
        if (size_ == kPairs)
            oldest_ = (oldest_ + 1) % kSlots;
        else
            ++size_;
        products_are_due_ = true;
        step_by_difference(size_ - 1, size_ - 1) = curvature;
    }

    // Call it after add() if no direction is asked for before the next add().
    void find_products(const VectorMath &math, Team &team) {
        keep_products(math.products(all(), difference(size_ - 1), nullptr, team).data());
    }

    // Computes next_step() = -H gradient.
    Direction find_direction(const double *gradient, const VectorMath &math, Team &team) {
        double *direction = next_step();
        const auto combine = [&](const std::vector<const double *> &vectors,
                                 const std::vector<double> &factors) {
            const std::vector<double> products =
                math.combine_and_multiply(vectors, factors, direction, {gradient, direction}, team);
            return Direction{products[0], products[1]};
        };
        const std::size_t n = static_cast<std::size_t>(size_);
        if (n == 0)
            return combine({gradient}, {-1.0});
        std::vector<const double *> vectors = all();
        // These are S'g and Y'g, and after a new pair its S'y and Y'y.
        const int newest = size_ - 1;
        const std::vector<double> products =
            math.products(vectors, gradient, products_are_due_ ? difference(newest) : nullptr, team);
        if (products_are_due_)
            keep_products(products.data() + 2 * n);
        const double *step_products = products.data();
        const double *difference_products = products.data() + n;
        const double gamma = curvature(newest) / differences_product(newest, newest);
        std::array<double, kPairs> u{}, v{};
        for (int i = newest; i >= 0; --i) {
            double rest = step_products[i];
            for (int j = i + 1; j < size_; ++j)
                rest -= step_by_difference(i, j) * u[static_cast<std::size_t>(j)];
            u[static_cast<std::size_t>(i)] = rest / curvature(i);
        }
        for (int i = 0; i < size_; ++i) {
            double sum = -difference_products[i];
            for (int j = 0; j < size_; ++j)
                sum += differences_product(i, j) * u[static_cast<std::size_t>(j)];
            double rest = curvature(i) * u[static_cast<std::size_t>(i)] + gamma * sum;
            for (int j = 0; j < i; ++j)
                rest -= step_by_difference(j, i) * v[static_cast<std::size_t>(j)];
            v[static_cast<std::size_t>(i)] = rest / curvature(i);
        }
        std::vector<double> factors;
        factors.reserve(vectors.size() + 1);
        for (int i = 0; i < size_; ++i)
            factors.push_back(-v[static_cast<std::size_t>(i)]);
        for (int i = 0; i < size_; ++i)
            factors.push_back(gamma * u[static_cast<std::size_t>(i)]);
        vectors.push_back(gradient);
        factors.push_back(-gamma);
        return combine(vectors, factors);
    }

  private:
    // Gives all steps, then all differences.
    std::vector<const double *> all() const {
        std::vector<const double *> vectors;
        vectors.reserve(2 * static_cast<std::size_t>(size_));
        for (int i = 0; i < size_; ++i)
            vectors.push_back(step(i));
        for (int i = 0; i < size_; ++i)
            vectors.push_back(difference(i));
        return vectors;
    }

    // products: S'y and Y'y of the newest y.
    void keep_products(const double *products) {
        const int newest = size_ - 1;
        for (int i = 0; i < size_; ++i) {
            if (i < newest)
                step_by_difference(i, newest) = products[i];
            differences_product(i, newest) = differences_product(newest, i) = products[size_ + i];
        }
        products_are_due_ = false;
    }

    static constexpr int kSlots = kPairs + 1; // one for the pair that is being made

    std::size_t slot(int i) const { return static_cast<std::size_t>((oldest_ + i) % kSlots); }
    double &step_by_difference(int i, int j) { return step_by_difference_[slot(i)][slot(j)]; }
    double step_by_difference(int i, int j) const { return step_by_difference_[slot(i)][slot(j)]; }
    double &differences_product(int i, int j) { return differences_product_[slot(i)][slot(j)]; }

    // By slot: all steps, then all differences. In one piece, which the C library keeps for the next fit.
    VectorSet vectors_;
    // By slot: s'y, of which the upper triangle by age is used, and y'y.
    std::array<std::array<double, kSlots>, kSlots> step_by_difference_{}, differences_product_{};
    int size_ = 0;
    int oldest_ = 0; // slot
    bool products_are_due_ = false;
};

} // namespace densegrad
