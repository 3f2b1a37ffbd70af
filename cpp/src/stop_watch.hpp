// Asks a StopRequest, no more often than is good.
#pragma once

#include "densegrad/data.hpp"

#include <atomic>
#include <chrono>

namespace densegrad {

class StopWatch {
  public:
    explicit StopWatch(StopRequest request) : request_(request) {}

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
    // For the calling thread alone.
    bool ask() {
        if (!request_.asked || stopped())
            return stopped();
        const auto now = std::chrono::steady_clock::now();
        if (now - asked_ < std::chrono::milliseconds(50))
            return false;
        asked_ = now;
        stopped_.store(request_.asked(request_.context), std::memory_order_relaxed);
        return stopped();
    }

  private:
    StopRequest request_;
    std::atomic<bool> stopped_{false};
    std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

} // namespace densegrad
