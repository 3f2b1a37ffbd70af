// Calls from the core into Python, from frames that must be left in order.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>
#include <type_traits>

namespace densegrad {

inline bool interpreter_goes_down() {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing() != 0;
#else
    return _Py_IsFinalizing() != 0;
#endif
}

// Up to Python 3.13, a daemon thread that asks for the GIL while the interpreter ends is unwound. Frames of
// the core must not be: they catch exceptions, and helpers still use what is on the caller's stack. So the
// thread sleeps until the process is gone, as threads of later versions do by themselves.
class Unwinding {
  public:
    Unwinding() {
        if (PyGILState_GetThisThreadState() == nullptr) // the interpreter has ended
            sleep();
    }
    Unwinding(const Unwinding &) = delete;
    Unwinding &operator=(const Unwinding &) = delete;
    ~Unwinding() {
        if (!returned_)
            sleep();
    }
    void returned() { returned_ = true; }

  private:
    [[noreturn]] static void sleep() {
        while (true)
            std::this_thread::sleep_for(std::chrono::hours(1));
    }

    bool returned_ = false;
};

// Calls a function that takes the GIL and throws nothing. Not noexcept: a thread that is unwound must come by
// the destructor above.
template <class... Parameters>
bool call_python(bool (*function)(Parameters...), std::type_identity_t<Parameters>... arguments) {
    Unwinding unwinding;
    const bool result = function(arguments...);
    unwinding.returned();
    return result;
}

// The clock of Python's time.monotonic, to be read without the GIL.
inline double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace densegrad
