// Releases the GIL for the lifetime of an object, also where the interpreter exits meanwhile.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

namespace rrm {

// A daemon thread may still be in a kernel when the interpreter exits. Up to Python 3.13 its next attempt to take the
// GIL ends the thread by unwinding the stack, which terminates the process at the first destructor, as pybind11's own
// gil_scoped_release does. Such a thread sleeps here until the process has exited, as Python 3.14 lets it.
class GilRelease {
  public:
    GilRelease() : state_(PyEval_SaveThread()) {}
    ~GilRelease() {
        if (Py_IsInitialized() == 0) { // the interpreter's state has been deleted
            sleep_until_exit();
        }
        try {
            PyEval_RestoreThread(state_);
        } catch (...) { // a C function throws nothing: this is the unwinding, which need not go on
            sleep_until_exit();
        }
    }
    GilRelease(const GilRelease &) = delete;
    GilRelease(GilRelease &&) = delete;
    GilRelease &operator=(const GilRelease &) = delete;
    GilRelease &operator=(GilRelease &&) = delete;

  private:
    [[noreturn]] static void sleep_until_exit() {
        for (;;) {
            std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }

    PyThreadState *state_;
};

} // namespace rrm
